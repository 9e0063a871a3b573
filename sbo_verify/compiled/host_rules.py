"""What the producers for a reader on the host may do around the sites, as `harness_rules` has it.

The micro-kernel's rules, with what is done at the scope that includes the host.
"""

from __future__ import annotations

from sbo_verify.compiled.harness_rules import MICRO_KERNEL, Harness, HarnessRule
from sbo_verify.vocabulary import Instruction, Kind, Order, Scope, Space

_ATOM = Instruction(Kind.ATOM, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_LOAD_RELAXED_SYS = Instruction(Kind.LOAD, Order.RELAXED, Scope.SYS, Space.GLOBAL)
_RED_SYS = Instruction(Kind.RED, Order.RELAXED, Scope.SYS, Space.GLOBAL)
_BARRIER = Instruction(Kind.CTA_BARRIER)
_FENCE = Instruction(Kind.FENCE, Order.SC, Scope.GPU)
_OF_THE_MICRO_KERNEL = (
    *("harness.reuse", "harness.fill", "harness.patience", "harness.stop"),
    *("harness.fault", "harness.noise"),
)

RULES: dict[str, HarnessRule] = {
    **{label: MICRO_KERNEL.rules[label] for label in _OF_THE_MICRO_KERNEL},
    # Before any round; nothing is loaded by the copy engine, so that no mbarrier is made.
    "harness.setup": HarnessRule(
        MICRO_KERNEL.rules["harness.setup"].allowed, frozenset((_BARRIER, _FENCE))
    ),
    # The wait for the host, relaxed so that it cannot acquire.
    "harness.flow": HarnessRule(
        frozenset(
            (
                _LOAD_RELAXED_SYS,
                _BARRIER,
                Instruction(Kind.STORE, Order.WEAK, None, Space.SHARED),
            )
        ),
        frozenset((_LOAD_RELAXED_SYS, _BARRIER)),
    ),
    "harness.plant": HarnessRule(
        frozenset((_ATOM, _RED_SYS, _LOAD_RELAXED_SYS)), frozenset((_RED_SYS, _LOAD_RELAXED_SYS))
    ),
    "harness.report": HarnessRule(frozenset((_BARRIER, _ATOM)), frozenset((_BARRIER, _ATOM))),
}

HOST = Harness(RULES, MICRO_KERNEL.turns)
