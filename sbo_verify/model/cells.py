"""One instruction of a litmus file, as the model's `Instruction`.

The public format, and its extension for clusters and warps, described with that for asynchronous
copies (`copy_cells`) in `property_tests/litmus/bulk/README.md`. A qualifier of PTX that names a
state space or a type means nothing here and is passed over.
"""

from __future__ import annotations

from collections.abc import Callable

from sbo_verify.model.cell import ADDRESS, LABEL, REGISTER, SPELLED_OUT, Cell
from sbo_verify.model.copy_cells import async_copy, mbarrier
from sbo_verify.model.events import Proxy
from sbo_verify.model.program import (
    ARRIVE,
    SYNC,
    WAIT,
    Atomic,
    Barrier,
    Branch,
    Fence,
    Instruction,
    Label,
    Load,
    Local,
    ProxyFence,
    Store,
    Value,
)
from sbo_verify.model.scanner import Scanner
from sbo_verify.vocabulary import Order, Scope, Space

COMPARISONS = {"beq": "==", "bne": "!=", "bge": ">=", "ble": "<=", "bgt": ">", "blt": "<"}
ARITHMETIC = {"add", "sub", "mul", "div", "rem", "and", "or", "xor", "shl", "shr", "min", "max"}
ATOMIC_OPERATIONS = {"add", "sub", "and", "or", "xor", "min", "max", "inc", "dec", "exch", "cas"}
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
SPACES = {
    "shared::cta": Space.SHARED,
    "shared::cluster": Space.SHARED,
    "shared": Space.SHARED,
    "global": Space.GLOBAL,
}


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
    bare = len(cell.words) == 1
    cell.without(SPELLED_OUT)
    if bare and cell.words[0] == "ld":
        register = cell.register()
        cell.comma()
        if cell.scanner.peek(rf"\[|(?!{REGISTER}){ADDRESS}") is None:
            # The public format moves a constant or a register with a plain `ld`.
            return Local(register=register, left=cell.value(), text=cell.text)
        return Load(register=register, address=cell.address(), text=cell.text)
    cell.check_words(_words(READ_ORDERS, "nc"))
    outside = "nc" in cell.words
    order = cell.order(READ_ORDERS, Order.WEAK)
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
    cell.without(SPELLED_OUT)
    cell.check_words(_words(WRITE_ORDERS))
    order = cell.order(WRITE_ORDERS, Order.WEAK)
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
    cell.without(SPELLED_OUT)
    cell.check_words(_words(ATOMIC_ORDERS) | ATOMIC_OPERATIONS)
    order = cell.order(ATOMIC_ORDERS, Order.RELAXED)
    scope = cell.scope(order, Scope.GPU)
    operation = next((word for word in cell.words[1:] if word in ATOMIC_OPERATIONS), None)
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


def _branch(cell: Cell) -> Instruction:
    left = cell.value()
    cell.comma()
    right = cell.value()
    cell.comma()
    comparison = COMPARISONS[cell.words[0]]
    return Branch(label=cell.label(), comparison=comparison, left=left, right=right, text=cell.text)


def _goto(cell: Cell) -> Instruction:
    return Branch(label=cell.label(), text=cell.text)


def _move(cell: Cell) -> Instruction:
    register = cell.register()
    cell.comma()
    return Local(register=register, left=cell.value(), text=cell.text)


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
    "bra": _goto,
    "mov": _move,
    "fence": _fence,
    "membar": _membar,
    "bar": _barrier,
    "barrier": _barrier,
    "cp": async_copy,
    "mbarrier": mbarrier,
}
