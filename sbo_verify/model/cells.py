"""One instruction of a litmus file, as the model's `Instruction`.

The public format, and its extension for asynchronous copies, clusters and warps; the extension is
described in `property_tests/litmus/bulk/README.md`.
"""

from __future__ import annotations

from collections.abc import Callable

from sbo_verify.model.events import Proxy
from sbo_verify.model.program import (
    ARRIVE,
    SYNC,
    WAIT,
    Atomic,
    Barrier,
    Branch,
    BulkCopy,
    CommitGroup,
    Fence,
    Instruction,
    Label,
    Load,
    Local,
    MbarrierArrive,
    MbarrierWait,
    ProxyFence,
    Store,
    Value,
    WaitGroup,
)
from sbo_verify.model.scanner import Scanner
from sbo_verify.vocabulary import Order, Scope, Space

ADDRESS = r"[A-Za-z_][A-Za-z0-9_]*"
REGISTER = r"r[0-9]+\b"
LABEL = r"LC[0-9]+\b"
MNEMONIC = r"[a-z][a-z0-9_]*(?:(?:\.|::)[a-z0-9_]+)*"
COMPARISONS = {"beq": "==", "bne": "!=", "bge": ">=", "ble": "<=", "bgt": ">", "blt": "<"}
ARITHMETIC = {"add", "sub", "mul", "div", "and", "or", "xor", "min", "max"}
LOADS = {
    "ld": Proxy.GENERIC,
    "suld": Proxy.SURFACE,
    "tld": Proxy.TEXTURE,
    "cold": Proxy.CONSTANT,
}
STORES = {"st": Proxy.GENERIC, "sust": Proxy.SURFACE}
ATOMICS = {
    "atom": Proxy.GENERIC,
    "suatom": Proxy.SURFACE,
    "red": Proxy.GENERIC,
    "sured": Proxy.SURFACE,
}
MEMBAR = {"cta": Scope.CTA, "gl": Scope.GPU, "sys": Scope.SYS}
READ_ORDERS = {Order.WEAK, Order.RELAXED, Order.ACQUIRE, Order.VOLATILE}
WRITE_ORDERS = {Order.WEAK, Order.RELAXED, Order.RELEASE, Order.VOLATILE}
ATOMIC_ORDERS = {Order.RELAXED, Order.ACQUIRE, Order.RELEASE, Order.ACQ_REL}
FENCE_ORDERS = {Order.ACQUIRE, Order.RELEASE, Order.ACQ_REL, Order.SC}
SPACES = {"shared::cta": Space.SHARED, "shared": Space.SHARED, "global": Space.GLOBAL}


class Cell:
    """One instruction while it is read: its words, its operands, where it stands."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        scanner.skip_blank()
        self.start = scanner.position
        self.text = " ".join(scanner.text[self.start : scanner.end].split())
        self.mnemonic = scanner.expect(MNEMONIC, "an instruction or a label")
        self.words = self.mnemonic.split(".")

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


def read_cell(scanner: Scanner) -> Instruction | None:
    """The instruction in one cell of a litmus file; None where it is empty.

    Raises `LitmusError` with the place of what is not understood.
    """
    if scanner.at_end():
        return None
    label = scanner.accept(rf"{LABEL}\s*:")
    if label is not None:
        scanner.finish("the end of the cell behind a label")
        name = label.rstrip(": \t")
        return Label(name=name, text=f"{name}:")
    cell = Cell(scanner)
    reader = _READERS.get(cell.words[0])
    if reader is None:
        scanner.fail("an instruction of the format", cell.start)
    instruction = reader(cell)
    scanner.finish("the end of the instruction")
    return instruction


def _words(orders: set[Order], *more: str) -> set[str]:
    return {order.value for order in orders} | set(Scope) | set(more)


def _load(cell: Cell) -> Instruction:
    if len(cell.words) == 1 and cell.words[0] == "ld":
        register = cell.register()
        cell.comma()
        return Local(register=register, left=cell.value(), text=cell.text)
    cell.check_words(_words(READ_ORDERS, "nc"))
    outside = "nc" in cell.words
    order = cell.order(READ_ORDERS, Order.WEAK if outside else None)
    scope = cell.scope(order)
    register = cell.register()
    cell.comma()
    return Load(
        register=register,
        address=cell.address(),
        order=order,
        scope=scope,
        proxy=Proxy.NON_COHERENT if outside else LOADS[cell.words[0]],
        text=cell.text,
    )


def _store(cell: Cell) -> Instruction:
    cell.check_words(_words(WRITE_ORDERS))
    order = cell.order(WRITE_ORDERS)
    scope = cell.scope(order)
    address = cell.address()
    cell.comma()
    return Store(
        address=address,
        value=cell.value(),
        order=order,
        scope=scope,
        proxy=STORES[cell.words[0]],
        text=cell.text,
    )


def _atomic(cell: Cell) -> Instruction:
    operations = ARITHMETIC | {"exch", "cas"}
    cell.check_words(_words(ATOMIC_ORDERS) | operations)
    order = cell.order(ATOMIC_ORDERS, Order.RELAXED)
    scope = cell.scope(order, Scope.GPU)
    operation = next((word for word in cell.words[1:] if word in operations), None)
    if operation is None or scope is None:
        cell.scanner.fail(f"an operation in {cell.mnemonic!r}", cell.start)
    register = None
    if cell.words[0] in {"atom", "suatom"}:
        register = cell.register()
        cell.comma()
    address = cell.address()
    cell.comma()
    operands = [cell.value()]
    if operation == "cas":
        cell.comma()
        operands.append(cell.value())
    return Atomic(
        operation=operation,
        address=address,
        operands=tuple(operands),
        register=register,
        order=order,
        scope=scope,
        proxy=ATOMICS[cell.words[0]],
        text=cell.text,
    )


def _fence(cell: Cell) -> Instruction:
    if cell.words[1:2] == ["proxy"]:
        return _proxy_fence(cell)
    cell.check_words(_words(FENCE_ORDERS))
    order = cell.order(FENCE_ORDERS, Order.ACQ_REL)
    scope = cell.scope(order)
    if scope is None:
        cell.scanner.fail("a scope", cell.start)
    return Fence(order=order, scope=scope, text=cell.text)


def _proxy_fence(cell: Cell) -> Instruction:
    name = ".".join(cell.words[2:])
    proxy, _, space = name.partition(".")
    kinds = {"alias", "surface", "texture", "constant", "async"}
    narrowed = proxy == "async" and space in SPACES
    if proxy not in kinds or (space and not narrowed):
        expected = f"fence.proxy with one of {', '.join(sorted(kinds))} (async: and a state space)"
        cell.scanner.fail(expected, cell.start)
    return ProxyFence(proxy=Proxy(proxy), space=SPACES.get(space, Space.ANY), text=cell.text)


def _membar(cell: Cell) -> Instruction:
    scope = MEMBAR.get(".".join(cell.words[1:]))
    if scope is None:
        cell.scanner.fail("membar.cta, membar.gl or membar.sys", cell.start)
    return Fence(order=Order.SC, scope=scope, text=cell.text)


def _barrier(cell: Cell) -> Instruction:
    words = [word for word in cell.words[1:] if word != "aligned"]
    if words == ["warp", "sync"]:
        return Barrier(unit="warp", arrival=SYNC, text=cell.text)
    if words[:1] == ["cluster"] and words[1:2] in (["arrive"], ["wait"]):
        return _cluster_barrier(cell, words[1:])
    if words not in (["cta", "sync"], ["cta", "arrive"], ["sync"], ["arrive"]):
        expected = "bar.cta.sync, bar.cta.arrive, bar.warp.sync or barrier.cluster.arrive / .wait"
        cell.scanner.fail(expected, cell.start)
    resource: Value = cell.scanner.integer("the number of the barrier")
    count = None
    # The public format numbers the instruction first; the barrier's own number may follow.
    if cell.scanner.accept(","):
        resource = cell.value()
        if cell.scanner.accept(","):
            count = cell.value()
    arrival = ARRIVE if words[-1] == "arrive" else SYNC
    return Barrier(unit="cta", arrival=arrival, resource=resource, count=count, text=cell.text)


def _cluster_barrier(cell: Cell, words: list[str]) -> Instruction:
    allowed = {"arrive": (["release"], ["relaxed"]), "wait": (["acquire"],)}[words[0]]
    if words[1:] and words[1:] not in allowed:
        expected = f"barrier.cluster.{words[0]} with {' or '.join(w for [w] in allowed)}"
        cell.scanner.fail(expected, cell.start)
    arrival = ARRIVE if words[0] == "arrive" else WAIT
    ordered = words[1:] != ["relaxed"]
    return Barrier(unit="cluster", arrival=arrival, ordered=ordered, text=cell.text)


def _async_copy(cell: Cell) -> Instruction:
    words = cell.words[1:]
    reduces = words[:1] == ["reduce"]
    words = words[1:] if reduces else words
    if words[:2] != ["async", "bulk"]:
        cell.scanner.fail("cp.async.bulk or cp.reduce.async.bulk", cell.start)
    words = words[2:]
    if words == ["commit_group"]:
        return CommitGroup(text=cell.text)
    if words in (["wait_group"], ["wait_group", "read"]):
        groups = cell.scanner.integer("the number of groups that may stay pending")
        return WaitGroup(groups=groups, source_only="read" in words, text=cell.text)
    words = words[1:] if words[:1] == ["tensor"] else words
    operation = words[3] if reduces and words[3:] and words[3] in ARITHMETIC else None
    by_group = words[2:3] == ["bulk_group"]
    by_mbarrier = words[2:3] == ["mbarrier::complete_tx::bytes"]
    ends = words[:2] in (["global", "shared::cta"], ["shared::cta", "global"])
    if not ends or not (by_group or by_mbarrier) or (reduces and operation is None):
        expected = (
            "cp.async.bulk[.tensor].global.shared::cta.bulk_group, "
            ".shared::cta.global.mbarrier::complete_tx::bytes, .commit_group or .wait_group[.read]"
        )
        cell.scanner.fail(expected, cell.start)
    place = cell.scanner.position
    destinations = cell.addresses()
    cell.comma()
    sources = cell.addresses()
    if len(destinations) != len(sources):
        cell.scanner.fail("as many sources as destinations", place)
    mbarrier = None
    if by_mbarrier:
        cell.comma()
        mbarrier = cell.address()
    pairs = tuple(zip(destinations, sources, strict=True))
    return BulkCopy(pairs=pairs, mbarrier=mbarrier, operation=operation, text=cell.text)


def _mbarrier(cell: Cell) -> Instruction:
    action = ".".join(word for word in cell.words[1:] if word not in _words(ATOMIC_ORDERS))
    if action in {"arrive", "arrive.expect_tx"}:
        order = cell.order({Order.RELEASE, Order.RELAXED}, Order.RELEASE)
        scope = cell.scope(order, Scope.CTA) or Scope.CTA
        return MbarrierArrive(
            mbarrier=cell.address(),
            expects=action.endswith("expect_tx"),
            order=order,
            scope=scope,
            text=cell.text,
        )
    if action in {"try_wait", "test_wait"}:
        order = cell.order({Order.ACQUIRE, Order.RELAXED}, Order.ACQUIRE)
        scope = cell.scope(order, Scope.CTA) or Scope.CTA
        return MbarrierWait(mbarrier=cell.address(), order=order, scope=scope, text=cell.text)
    expected = "mbarrier.arrive, mbarrier.arrive.expect_tx or mbarrier.try_wait"
    return cell.scanner.fail(expected, cell.start)


def _branch(cell: Cell) -> Instruction:
    left = cell.value()
    cell.comma()
    right = cell.value()
    cell.comma()
    comparison = COMPARISONS[cell.words[0]]
    return Branch(label=cell.label(), comparison=comparison, left=left, right=right, text=cell.text)


def _goto(cell: Cell) -> Instruction:
    return Branch(label=cell.label(), text=cell.text)


def _arithmetic(cell: Cell) -> Instruction:
    register = cell.register()
    cell.comma()
    left = cell.value()
    cell.comma()
    return Local(
        register=register,
        left=left,
        operation=cell.words[0],
        right=cell.value(),
        text=cell.text,
    )


_READERS: dict[str, Callable[[Cell], Instruction]] = {
    **dict.fromkeys(LOADS, _load),
    **dict.fromkeys(STORES, _store),
    **dict.fromkeys(ATOMICS, _atomic),
    **dict.fromkeys(COMPARISONS, _branch),
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    "goto": _goto,
    "fence": _fence,
    "membar": _membar,
    "bar": _barrier,
    "barrier": _barrier,
    "cp": _async_copy,
    "mbarrier": _mbarrier,
}
