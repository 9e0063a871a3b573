"""The words of the PTX ISA that this project uses, and how PTX spells them.

This is the only module that knows a PTX mnemonic. The protocol declares what a variant does as
`Instruction`s; the build turns choices into C++; `compiled` parses PTX text back into the same
`Instruction`s, so that a declaration and its machine text can be compared for equality.

Source of the syntax: PTX ISA 9.0, the sections named beside each table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Order(StrEnum):
    """Strength and ordering of a memory operation or fence (PTX ISA, "Operation Types")."""

    WEAK = "weak"
    RELAXED = "relaxed"
    VOLATILE = "volatile"
    ACQUIRE = "acquire"
    RELEASE = "release"
    ACQ_REL = "acq_rel"
    SC = "sc"


class Scope(StrEnum):
    """The set of threads that an operation's ordering reaches (PTX ISA, "Scope")."""

    CTA = "cta"
    CLUSTER = "cluster"
    GPU = "gpu"
    SYS = "sys"


class Space(StrEnum):
    """State space of the memory an instruction touches; `ANY` is a generic address."""

    ANY = "any"
    GLOBAL = "global"
    SHARED = "shared"


class Kind(StrEnum):
    """What an ordering-relevant instruction is, without its qualifiers."""

    LOAD = "ld"
    LOAD_NC = "ld.nc"
    STORE = "st"
    ATOM = "atom"
    RED = "red"
    FENCE = "fence"
    PROXY_FENCE = "fence.proxy.async"
    CTA_BARRIER = "barrier.cta"
    CTA_BARRIER_RED = "barrier.cta.red"
    WARP_BARRIER = "bar.warp.sync"
    CLUSTER_ARRIVE = "barrier.cluster.arrive"
    CLUSTER_WAIT = "barrier.cluster.wait"
    BULK_STORE = "cp.async.bulk (store)"
    TENSOR_STORE = "cp.async.bulk.tensor (store)"
    BULK_LOAD = "cp.async.bulk (load)"
    TENSOR_LOAD = "cp.async.bulk.tensor (load)"
    COMMIT_GROUP = "cp.async.bulk.commit_group"
    WAIT_GROUP = "cp.async.bulk.wait_group"
    MBARRIER_INIT = "mbarrier.init"
    MBARRIER_EXPECT = "mbarrier.arrive.expect_tx"
    MBARRIER_ARRIVE = "mbarrier.arrive"
    MBARRIER_WAIT = "mbarrier.try_wait"
    WGMMA = "wgmma.mma_async"
    WGMMA_FENCE = "wgmma.fence"
    WGMMA_COMMIT = "wgmma.commit_group"
    WGMMA_WAIT = "wgmma.wait_group"


class Transfer(StrEnum):
    """Instructions that end a basic block (PTX ISA, "Control Flow Instructions")."""

    BRANCH = "bra"
    RETURN = "ret"
    EXIT = "exit"
    TRAP = "trap"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One ordering-relevant instruction, reduced to what the memory model can see.

    `groups` is the N of `wait_group N`; `source_only` is its `.read`. Fields that an instruction
    does not have are None or False.
    """

    kind: Kind
    order: Order | None = None
    scope: Scope | None = None
    space: Space = Space.ANY
    groups: int | None = None
    source_only: bool = False

    def __str__(self) -> str:
        return spell(self)


class UnknownInstructionError(ValueError):
    """A mnemonic that is not known to be silent and that this vocabulary has no word for."""


# PTX ISA, "cp.async.bulk" and "cp.async.bulk.tensor": direction is read from destination.source.
_STORE_DIRECTION = ("global", "shared::cta")
_LOAD_DESTINATIONS = ("shared::cta", "shared::cluster")

# Opcodes that compute in registers. The list names what is known to be silent and not what is
# known to order: an instruction of a later PTX ISA is then refused, not overlooked. The shuffles
# and votes exchange registers and promise nothing about memory (PTX ISA, "shfl.sync"); a prefetch
# brings lines nearer and promises nothing either (PTX ISA, "prefetch").
_SILENT_OPCODES = """
    abs activemask add addc and bfe bfi bfind brev clz cnot copysign cos cvt cvta div dp2a dp4a
    elect ex2 fma fns isspacep lg2 lop3 mad mad24 madc mapa match max min mov mul mul24 nanosleep
    neg not or pmevent popc prefetch prmt rcp redux rem rsqrt sad selp set setmaxnreg setp shf shfl
    shl shr sin slct sqrt sub subc szext testp vote xor
"""
_SILENT = frozenset(_SILENT_OPCODES.split())

# Other instructions in the clothes of an access: asynchronous, for devices, or over a range.
_NO_PLAIN_ACCESS = {"async", "bulk", "mmio"}

# State spaces that no other thread can write.
_LOCAL_SPACES = ("param", "const", "local")

# `membar` is the older spelling of `fence.sc` (PTX ISA, "membar / fence").
_MEMBAR_SCOPE = {"cta": Scope.CTA, "gl": Scope.GPU, "sys": Scope.SYS}

_SPACE_WORDS = {"global": Space.GLOBAL, "shared": Space.SHARED, "shared::cta": Space.SHARED}
_ORDERS = {order.value: order for order in Order}
_SCOPES = {scope.value: scope for scope in Scope}
_TRANSFERS = {transfer.value: transfer for transfer in Transfer}


def spell(instruction: Instruction) -> str:
    """The instruction as a reader of PTX would write it, without operands and types."""
    words: list[str] = [instruction.kind.value]
    if instruction.order is not None:
        words.append(instruction.order.value)
    if instruction.scope is not None:
        words.append(instruction.scope.value)
    if instruction.space is not Space.ANY:
        words.append(instruction.space.value)
    if instruction.source_only:
        words.append("read")
    text = ".".join(words)
    return text if instruction.groups is None else f"{text} {instruction.groups}"


def parse(mnemonic: str, operands: str = "") -> Instruction | None:
    """Read one PTX mnemonic with its operands; None where it has no part in memory ordering.

    Raises `UnknownInstructionError` for an opcode, a barrier, fence, atomic or asynchronous copy
    that is not known here: an unread ordering instruction must never pass unnoticed.
    """
    head, *qualifiers = mnemonic.split(".")
    if head in _SILENT or transfer(mnemonic) is not None:
        return None
    if (reader := _READERS.get(head)) is None:
        raise UnknownInstructionError(mnemonic)
    return reader(qualifiers, operands)


def transfer(mnemonic: str) -> Transfer | None:
    """Where control goes after this instruction, if it ends a basic block; `bra.uni` is `bra`."""
    return _TRANSFERS.get(mnemonic.removesuffix(".uni"))


def _unknown(words: list[str]) -> UnknownInstructionError:
    return UnknownInstructionError(".".join(words))


def _space(qualifiers: list[str]) -> Space:
    return next((_SPACE_WORDS[word] for word in qualifiers if word in _SPACE_WORDS), Space.ANY)


def _order(qualifiers: list[str], default: Order) -> Order:
    return next((_ORDERS[word] for word in qualifiers if word in _ORDERS), default)


def _scope(qualifiers: list[str], default: Scope | None) -> Scope | None:
    return next((_SCOPES[word] for word in qualifiers if word in _SCOPES), default)


def _refuse_disguised(kind: Kind, qualifiers: list[str]) -> None:
    if not _NO_PLAIN_ACCESS.isdisjoint(qualifiers):
        raise _unknown([kind.value, *qualifiers])


def _access(kind: Kind, qualifiers: list[str]) -> Instruction | None:
    """`ld` and `st`: weak unless qualified; volatile is relaxed at system scope, kept by name."""
    _refuse_disguised(kind, qualifiers)
    if any(word.split("::")[0] in _LOCAL_SPACES for word in qualifiers):
        return None
    if "nc" in qualifiers:
        return Instruction(Kind.LOAD_NC, space=_space(qualifiers))
    order = _order(qualifiers, Order.WEAK)
    default = None if order in {Order.WEAK, Order.VOLATILE} else Scope.SYS
    return Instruction(kind, order, _scope(qualifiers, default), _space(qualifiers))


def _load(qualifiers: list[str], _operands: str) -> Instruction | None:
    return _access(Kind.LOAD, qualifiers)


def _store(qualifiers: list[str], _operands: str) -> Instruction | None:
    return _access(Kind.STORE, qualifiers)


def _atomic(kind: Kind, qualifiers: list[str]) -> Instruction:
    """`atom` and `red`: relaxed at gpu scope when nothing is said (PTX ISA, "atom", "red")."""
    _refuse_disguised(kind, qualifiers)
    order = _order(qualifiers, Order.RELAXED)
    return Instruction(kind, order, _scope(qualifiers, Scope.GPU), _space(qualifiers))


def _fence(qualifiers: list[str], _operands: str) -> Instruction:
    if qualifiers[:1] == ["proxy"]:
        if qualifiers[1:2] != ["async"]:
            raise _unknown(["fence", *qualifiers])
        # `.shared::cluster` is shared memory too, and no global memory.
        shared = any(word.split("::")[0] == "shared" for word in qualifiers[2:])
        return Instruction(
            Kind.PROXY_FENCE, space=Space.SHARED if shared else _space(qualifiers[2:])
        )
    order = _order(qualifiers, Order.ACQ_REL)
    scope = _scope(qualifiers, None)
    special = any(word.startswith(("sync_restrict", "mbarrier_init")) for word in qualifiers)
    if scope is None or special:
        raise _unknown(["fence", *qualifiers])
    return Instruction(Kind.FENCE, order, scope)


def _membar(qualifiers: list[str], _operands: str) -> Instruction:
    if len(qualifiers) != 1 or qualifiers[0] not in _MEMBAR_SCOPE:
        raise _unknown(["membar", *qualifiers])
    return Instruction(Kind.FENCE, Order.SC, _MEMBAR_SCOPE[qualifiers[0]])


def _barrier(qualifiers: list[str], _operands: str) -> Instruction:
    if qualifiers[:1] == ["warp"]:
        return Instruction(Kind.WARP_BARRIER)
    if qualifiers[:1] == ["cluster"]:
        return _cluster_barrier(qualifiers[1:])
    words = qualifiers[1:] if qualifiers[:1] == ["cta"] else qualifiers
    if words[:1] == ["red"]:
        return Instruction(Kind.CTA_BARRIER_RED)
    if words[:1] == ["sync"]:
        return Instruction(Kind.CTA_BARRIER)
    raise _unknown(["barrier", *qualifiers])


def _cluster_barrier(words: list[str]) -> Instruction:
    """Arrive is release and wait is acquire unless said otherwise (PTX ISA, "barrier.cluster")."""
    if words[:1] == ["arrive"]:
        return Instruction(Kind.CLUSTER_ARRIVE, _order(words, Order.RELEASE), Scope.CLUSTER)
    if words[:1] == ["wait"]:
        return Instruction(Kind.CLUSTER_WAIT, _order(words, Order.ACQUIRE), Scope.CLUSTER)
    raise _unknown(["barrier.cluster", *words])


def _async_copy(qualifiers: list[str], operands: str) -> Instruction:
    if qualifiers[:2] != ["async", "bulk"]:
        raise _unknown(["cp", *qualifiers])
    words = qualifiers[2:]
    if words == ["commit_group"]:
        return Instruction(Kind.COMMIT_GROUP)
    if words[:1] == ["wait_group"]:
        return Instruction(
            Kind.WAIT_GROUP, groups=int(operands.strip(), 0), source_only="read" in words
        )
    tensor = words[:1] == ["tensor"]
    ends = tuple(word for word in words if word in {"global", "shared::cta", "shared::cluster"})
    if ends == _STORE_DIRECTION and "bulk_group" in words:
        return Instruction(Kind.TENSOR_STORE if tensor else Kind.BULK_STORE)
    if len(ends) == 2 and ends[0] in _LOAD_DESTINATIONS and ends[1] == "global":  # noqa: PLR2004 - destination and source
        return Instruction(Kind.TENSOR_LOAD if tensor else Kind.BULK_LOAD)
    raise _unknown(["cp", *qualifiers])


def _mbarrier(qualifiers: list[str], _operands: str) -> Instruction:
    if qualifiers[:1] == ["init"]:
        return Instruction(Kind.MBARRIER_INIT)
    if qualifiers[:2] == ["arrive", "expect_tx"]:
        order, scope = _order(qualifiers, Order.RELEASE), _scope(qualifiers, Scope.CTA)
        return Instruction(Kind.MBARRIER_EXPECT, order, scope)
    if qualifiers[:1] == ["arrive"] and qualifiers[1:2] != ["noComplete"]:
        order, scope = _order(qualifiers, Order.RELEASE), _scope(qualifiers, Scope.CTA)
        return Instruction(Kind.MBARRIER_ARRIVE, order, scope)
    if qualifiers[:1] == ["try_wait"]:
        order, scope = _order(qualifiers, Order.ACQUIRE), _scope(qualifiers, Scope.CTA)
        return Instruction(Kind.MBARRIER_WAIT, order, scope)
    raise _unknown(["mbarrier", *qualifiers])


def _stmatrix(qualifiers: list[str], _operands: str) -> Instruction:
    """A weak store of several threads' pieces (PTX ISA, "stmatrix")."""
    return Instruction(Kind.STORE, Order.WEAK, None, _space(qualifiers))


def _wgmma(qualifiers: list[str], operands: str) -> Instruction:
    """Products read shared memory by the async proxy, in groups that a thread waits for."""
    kinds = {kind.value.removeprefix("wgmma."): kind for kind in Kind if "wgmma" in kind.value}
    if not qualifiers or qualifiers[0] not in kinds:
        raise _unknown(["wgmma", *qualifiers])
    kind = kinds[qualifiers[0]]
    return Instruction(kind, groups=int(operands, 0) if kind is Kind.WGMMA_WAIT else None)


_READERS = {
    "ld": _load,
    "st": _store,
    "atom": lambda qualifiers, _operands: _atomic(Kind.ATOM, qualifiers),
    "red": lambda qualifiers, _operands: _atomic(Kind.RED, qualifiers),
    "fence": _fence,
    "membar": _membar,
    "bar": _barrier,
    "barrier": _barrier,
    "cp": _async_copy,
    "mbarrier": _mbarrier,
    "stmatrix": _stmatrix,
    "wgmma": _wgmma,
}
