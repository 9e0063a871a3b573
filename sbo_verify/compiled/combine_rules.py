"""What Combine Send's own code may do around the consumer's sites, as `harness_rules` has it."""

from __future__ import annotations

from sbo_verify.compiled.harness_rules import Harness, HarnessRule
from sbo_verify.vocabulary import Instruction, Kind, Order, Scope, Space

_ATOM = Instruction(Kind.ATOM, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_ATOM_SHARED = Instruction(Kind.ATOM, Order.RELAXED, Scope.GPU, Space.SHARED)
_LOAD = Instruction(Kind.LOAD, Order.WEAK, None, Space.GLOBAL)
_LOAD_NC = Instruction(Kind.LOAD_NC, space=Space.GLOBAL)
_LOAD_RELAXED = Instruction(Kind.LOAD, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_LOAD_SHARED = Instruction(Kind.LOAD, Order.WEAK, None, Space.SHARED)
_LOAD_SHARED_VOLATILE = Instruction(Kind.LOAD, Order.VOLATILE, None, Space.SHARED)
_STORE = Instruction(Kind.STORE, Order.WEAK, None, Space.GLOBAL)
_STORE_RELAXED = Instruction(Kind.STORE, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_STORE_SHARED = Instruction(Kind.STORE, Order.WEAK, None, Space.SHARED)
_STORE_SHARED_VOLATILE = Instruction(Kind.STORE, Order.VOLATILE, None, Space.SHARED)
_BARRIER = Instruction(Kind.CTA_BARRIER)

RULES: dict[str, HarnessRule] = {
    # Before any slot: nobody spins before all CTAs run.
    "harness.setup": HarnessRule(
        frozenset(
            (
                *(_ATOM, _LOAD_RELAXED, _LOAD_SHARED, _STORE_SHARED, _BARRIER),
                Instruction(Kind.MBARRIER_INIT),
                Instruction(Kind.PROXY_FENCE, space=Space.SHARED),
            )
        ),
        frozenset((_BARRIER, Instruction(Kind.MBARRIER_INIT))),
    ),
    "harness.slots": HarnessRule(frozenset((_LOAD_NC,)), frozenset((_LOAD_NC,))),
    "harness.prime": HarnessRule(frozenset((_LOAD, _STORE_SHARED_VOLATILE)), frozenset((_LOAD,))),
    "harness.patience": HarnessRule(frozenset((_LOAD_RELAXED,)), frozenset((_LOAD_RELAXED,))),
    "harness.stop": HarnessRule(frozenset((_STORE_RELAXED,)), frozenset((_STORE_RELAXED,))),
    "harness.fault": HarnessRule(frozenset((_ATOM, _STORE)), frozenset((_ATOM,))),
    # Inside `consumer.read`, on the path of a stale word: nothing in it may order.
    "harness.count": HarnessRule(
        frozenset((_ATOM, _ATOM_SHARED, _STORE, _LOAD_SHARED_VOLATILE)),
        frozenset((_ATOM, _ATOM_SHARED)),
    ),
    # Behind the reading of a piece: it goes to its destination, by the copy engine once all lanes
    # of the warp have read it.
    "harness.send": HarnessRule(
        frozenset(
            (
                _STORE,
                Instruction(Kind.WARP_BARRIER),
                Instruction(Kind.BULK_STORE),
                Instruction(Kind.COMMIT_GROUP),
            )
        )
    ),
    # Stages are filled again, and outlive the copy engine's reading of them.
    "harness.reuse": HarnessRule(
        frozenset(
            Instruction(Kind.WAIT_GROUP, groups=groups, source_only=True) for groups in (0, 1)
        )
    ),
    # All threads of the CTA have read the slot.
    "harness.done": HarnessRule(
        frozenset((Instruction(Kind.CTA_BARRIER_RED),)),
        frozenset((Instruction(Kind.CTA_BARRIER_RED),)),
    ),
    "harness.report": HarnessRule(
        frozenset((_LOAD_SHARED, _BARRIER, _ATOM)), frozenset((_BARRIER, _ATOM))
    ),
}

COMBINE = Harness(RULES, frozenset())
