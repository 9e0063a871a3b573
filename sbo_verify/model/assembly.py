"""One builder for every instruction of the litmus format: the instruction with its text.

Programs that are not read from a file are written with these, so that a witness shows the same
text and `litmus.write_text` can write the program down.
"""

from __future__ import annotations

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
    Label,
    Load,
    MbarrierArrive,
    MbarrierWait,
    ProxyFence,
    Require,
    Store,
    Value,
    WaitGroup,
)
from sbo_verify.model.program import (
    Instruction as Assembled,
)
from sbo_verify.vocabulary import Instruction, Kind, Order, Scope, Space

_SPACE_WORD = {Space.ANY: "", Space.GLOBAL: ".global", Space.SHARED: ".shared::cta"}
_JUMPS = {"==": "beq", "!=": "bne", ">=": "bge", "<=": "ble", ">": "bgt", "<": "blt"}


def _qualified(name: str, order: Order, scope: Scope | None) -> str:
    scoped = scope is not None and order not in {Order.WEAK, Order.VOLATILE}
    return f"{name}.{order.value}.{scope.value}" if scoped and scope else f"{name}.{order.value}"


def load(
    register: str, address: str, order: Order = Order.WEAK, scope: Scope | None = None
) -> Load:
    """`ld`."""
    text = f"{_qualified('ld', order, scope)} {register}, {address}"
    return Load(register=register, address=address, order=order, scope=scope, text=text)


def load_nc(register: str, address: str) -> Load:
    """`ld.global.nc`, outside the model."""
    return Load(
        register=register,
        address=address,
        proxy=Proxy.NON_COHERENT,
        text=f"ld.nc {register}, {address}",
    )


def store(
    address: str, value: Value, order: Order = Order.WEAK, scope: Scope | None = None
) -> Store:
    """`st`."""
    text = f"{_qualified('st', order, scope)} {address}, {value}"
    return Store(address=address, value=value, order=order, scope=scope, text=text)


def add(
    address: str,
    operand: Value,
    order: Order,
    scope: Scope,
    register: str | None = None,
) -> Atomic:
    """`red.add`, or `atom.add` with a register."""
    name = "red" if register is None else "atom"
    target = address if register is None else f"{register}, {address}"
    return Atomic(
        operation="add",
        address=address,
        operands=(operand,),
        register=register,
        order=order,
        scope=scope,
        text=f"{_qualified(name, order, scope)}.add {target}, {operand}",
    )


def fence(order: Order, scope: Scope) -> Fence:
    """`fence`."""
    return Fence(order=order, scope=scope, text=_qualified("fence", order, scope))


def fence_proxy_async(space: Space = Space.ANY) -> ProxyFence:
    """`fence.proxy.async`, of one state space where one is named."""
    text = f"fence.proxy.async{_SPACE_WORD[space]}"
    return ProxyFence(proxy=Proxy.ASYNC, space=space, text=text)


def cta_barrier(resource: int, count: int | None = None) -> Barrier:
    """`bar.cta.sync` on the barrier `resource`."""
    tail = "" if count is None else f", {resource}, {count}"
    text = f"bar.cta.sync {resource}{tail}"
    return Barrier(unit="cta", arrival=SYNC, resource=resource, count=count, text=text)


def warp_barrier() -> Barrier:
    """`bar.warp.sync`."""
    return Barrier(unit="warp", arrival=SYNC, text="bar.warp.sync")


def cluster_arrive(order: Order = Order.RELEASE) -> Barrier:
    """`barrier.cluster.arrive`, release or relaxed."""
    text = f"barrier.cluster.arrive.{order.value}"
    return Barrier(unit="cluster", arrival=ARRIVE, ordered=order is not Order.RELAXED, text=text)


def cluster_wait() -> Barrier:
    """`barrier.cluster.wait`, acquire."""
    return Barrier(unit="cluster", arrival=WAIT, text="barrier.cluster.wait.acquire")


def bulk_store(pairs: tuple[tuple[str, str], ...], *, tensor: bool = False) -> BulkCopy:
    """A bulk copy from shared to global memory, completing by bulk groups."""
    name = "cp.async.bulk.tensor" if tensor else "cp.async.bulk"
    text = f"{name}.global.shared::cta.bulk_group {_operands(pairs)}"
    return BulkCopy(pairs=pairs, text=text)


def bulk_load(
    pairs: tuple[tuple[str, str], ...], mbarrier: str, *, tensor: bool = False
) -> BulkCopy:
    """A bulk copy from global to shared memory, completing on an mbarrier."""
    name = "cp.async.bulk.tensor" if tensor else "cp.async.bulk"
    text = f"{name}.shared::cta.global.mbarrier::complete_tx::bytes {_operands(pairs)}, {mbarrier}"
    return BulkCopy(pairs=pairs, mbarrier=mbarrier, text=text)


def commit_group() -> CommitGroup:
    """`cp.async.bulk.commit_group`."""
    return CommitGroup(text="cp.async.bulk.commit_group")


def wait_group(groups: int, *, source_only: bool = False) -> WaitGroup:
    """`cp.async.bulk.wait_group`, with `.read` where only sources are waited for."""
    text = f"cp.async.bulk.wait_group{'.read' if source_only else ''} {groups}"
    return WaitGroup(groups=groups, source_only=source_only, text=text)


def mbarrier_arrive(
    mbarrier: str, order: Order = Order.RELEASE, scope: Scope = Scope.CTA
) -> MbarrierArrive:
    """`mbarrier.arrive.expect_tx`."""
    text = f"{_qualified('mbarrier.arrive.expect_tx', order, scope)} {mbarrier}"
    return MbarrierArrive(mbarrier=mbarrier, expects=True, order=order, scope=scope, text=text)


def mbarrier_wait(
    mbarrier: str, order: Order = Order.ACQUIRE, scope: Scope = Scope.CTA
) -> MbarrierWait:
    """The `mbarrier.try_wait` that succeeds."""
    text = f"{_qualified('mbarrier.try_wait', order, scope)} {mbarrier}"
    return MbarrierWait(mbarrier=mbarrier, order=order, scope=scope, text=text)


def jump_if(comparison: str, left: Value, right: Value, target: str) -> Branch:
    """A conditional branch."""
    text = f"{_JUMPS[comparison]} {left}, {right}, {target}"
    return Branch(label=target, comparison=comparison, left=left, right=right, text=text)


def label(name: str) -> Label:
    """A label."""
    return Label(name=name, text=f"{name}:")


def require(comparison: str, left: Value, right: Value) -> Require:
    """The successful exit of a spin loop."""
    text = f"(the poll passes: {left} {comparison} {right})"
    return Require(comparison=comparison, left=left, right=right, text=text)


def plain(declared: Instruction) -> Assembled:
    """An instruction that needs nothing but its words; `KeyError` for one with operands."""
    order, scope = declared.order or Order.WEAK, declared.scope or Scope.SYS
    table: dict[Kind, Assembled] = {
        Kind.FENCE: fence(order, scope),
        Kind.PROXY_FENCE: fence_proxy_async(declared.space),
        Kind.WAIT_GROUP: wait_group(declared.groups or 0, source_only=declared.source_only),
        Kind.WARP_BARRIER: warp_barrier(),
        Kind.CLUSTER_ARRIVE: cluster_arrive(order),
        Kind.CLUSTER_WAIT: cluster_wait(),
    }
    return table[declared.kind]


def _operands(pairs: tuple[tuple[str, str], ...]) -> str:
    if len(pairs) == 1:
        return f"{pairs[0][0]}, {pairs[0][1]}"
    destinations = " ".join(destination for destination, _ in pairs)
    sources = " ".join(source for _, source in pairs)
    return f"[{destinations}], [{sources}]"
