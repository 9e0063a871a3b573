"""One instruction of a litmus file while it is read: its words, its operands, where it stands."""

from __future__ import annotations

from sbo_verify.model.program import Value
from sbo_verify.model.scanner import Scanner
from sbo_verify.vocabulary import Order, Scope

ADDRESS = r"[A-Za-z_][A-Za-z0-9_]*"
REGISTER = r"r[0-9]+\b"
LABEL = r"LC[0-9]+\b"
MNEMONIC = r"[a-z][a-z0-9_]*(?:(?:\.|::)[a-z0-9_]+)*"
# State spaces and types that PTX spells out; a location is one element and knows its own space.
SPELLED_OUT = {"global", "shared", "shared::cta", "shared::cluster"} | {
    f"{kind}{bits}" for kind in "busf" for bits in (8, 16, 32, 64)
}


class Cell:
    """One instruction while it is read."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        scanner.skip_blank()
        self.start = scanner.position
        self.text = " ".join(scanner.text[self.start : scanner.end].split())
        self.mnemonic = scanner.expect(MNEMONIC, "an instruction or a label")
        self.words = self.mnemonic.split(".")

    def without(self, spelled_out: set[str]) -> None:
        """Forget the qualifiers that mean nothing here."""
        self.words = [word for word in self.words if word not in spelled_out]

    def order(self, allowed: set[Order], default: Order | None = None) -> Order:
        """The ordering qualifier; weak forms carry no scope."""
        for word in self.words[1:]:
            for order in allowed:
                if word == order.value:
                    return order
        if default is None:
            names = ", ".join(sorted(order.value for order in allowed))
            self.scanner.fail(f"one of .{names} in {self.mnemonic!r}", self.start)
        return default

    def scope(self, order: Order, default: Scope | None = None) -> Scope | None:
        """The scope qualifier, which weak and volatile accesses do not have."""
        scopes = [Scope(word) for word in self.words[1:] if word in set(Scope)]
        if order in {Order.WEAK, Order.VOLATILE}:
            if scopes:
                self.scanner.fail(f"no scope on a {order.value} access", self.start)
            return None
        if not scopes and default is None:
            self.scanner.fail(
                f"a scope (.cta, .cluster, .gpu or .sys) in {self.mnemonic!r}", self.start
            )
        return scopes[0] if scopes else default

    def check_words(self, known: set[str]) -> None:
        """Complain about a qualifier that this instruction does not have."""
        for word in self.words[1:]:
            if word not in known:
                self.scanner.fail(
                    f"a qualifier of {self.words[0]!r} in place of .{word}", self.start
                )

    def comma(self) -> None:
        """The comma between two operands."""
        self.scanner.expect(",", "a comma")

    def address(self) -> str:
        """A location operand, with or without brackets."""
        bracket = self.scanner.accept(r"\[")
        name = self.scanner.expect(rf"(?!{REGISTER}){ADDRESS}", "a location")
        if bracket:
            self.scanner.expect(r"\]", "a closing bracket")
        return name

    def addresses(self) -> list[str]:
        """One location, or several of one bulk copy between brackets."""
        if not self.scanner.accept(r"\["):
            return [self.address()]
        names = []
        while not self.scanner.accept(r"\]"):
            names.append(self.scanner.expect(rf"(?!{REGISTER}){ADDRESS}", "a location or ]"))
        return names

    def register(self) -> str:
        """A register operand."""
        return self.scanner.expect(REGISTER, "a register (r0, r1, ...)")

    def value(self) -> Value:
        """A register or a constant."""
        register = self.scanner.accept(REGISTER)
        return register or self.scanner.integer("a register or a constant")

    def label(self) -> str:
        """The name of a label."""
        return self.scanner.expect(LABEL, "a label (LC00, LC01, ...)")
