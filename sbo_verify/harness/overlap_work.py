"""What the steps of a schedule launch: a down GEMM with Combine Send, or a whole MoE layer.

Sizes are those of DeepSeek-V3: hidden 7168, an expert's 2048, its gate and up projections in one
GEMM of 4096 columns. Every group is full. A layer leaves out attention, gating and the activation
between the two GEMMs, the same work in every schedule; the down GEMM reads rows of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sbo_verify.device.gemm_inputs import Inputs, random_inputs
from sbo_verify.device.lanes import Step, Work
from sbo_verify.device.overlap_kernels import CombineSend, DispatchReceive, Sending, clear_words
from sbo_verify.device.overlap_tensors import (
    as_received,
    half_of,
    poison,
    rows_of_half,
    same_bits,
)
from sbo_verify.gemm import Plan, check_tensors, launch_plan, m_major, plan_for
from sbo_verify.harness.overlap_schedules import HALVES
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL
from sbo_verify.protocols.signal_publish.sites import SignalPublish

HIDDEN = 7168
UP_COLUMNS = 4096
EXPERT = 2048
# Experts that a token goes to: its rows over all of them are eight times its own.
TOP_K = 8
BYTES_OF_BFLOAT16 = 2
# Between two slots a CTA of Combine Send empties its pipeline; about as long as this many rows.
SLOT_OVERHEAD_ROWS = 6
# Scales are M-major with a pitch of a multiple of four, in halves too; a half has whole tokens.
ROWS_MULTIPLE = 8
EXPERTS_TIMES_ROWS_MULTIPLE = 2 * TOP_K
# Bytes before a check: what was never sent must not look like what was never computed.
POISON, UNSENT = 0xFF, 0xEE
# What schedules make, and by which steps.
ROWS, UP_D, DOWN_D = "the rows received", "D of the up GEMM", "D of the down GEMM"
SHARED_DS = ("D of the shared expert's up GEMM", "D of the shared expert's down GEMM")
DESTINATION = "the destination"
MADE_BY: dict[Work, tuple[str, ...]] = {
    Work.RECEIVE: (ROWS,),
    Work.SHARED: SHARED_DS,
    Work.UP: (UP_D,),
    Work.DOWN: (DOWN_D,),
    Work.DOWN_BY_SIGNALS: (DOWN_D,),
    Work.SEND: (DESTINATION,),
    Work.SEND_BY_SIGNALS: (DESTINATION,),
    Work.CLEAR: (),
}


class Gemm:
    """One GEMM on any number of SMs, and the D that it must make, known from a launch alone."""

    def __init__(self, inputs: Inputs) -> None:
        self.rows = int(inputs.a[0].shape[1])
        self.problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, self.rows)
        self.inputs = replace(inputs, a=(inputs.a[0], _as_copied(inputs, self)))
        self._plans: dict[tuple[SignalPublish, int], Plan] = {}

    def plan(self, sms: int, variant: SignalPublish = NO_SIGNAL) -> Plan:
        """What it is computed with."""
        key = (variant, sms)
        if key not in self._plans:
            self._plans[key] = plan_for(self.problem, self.rows, variant=variant, num_sms=sms)
        return self._plans[key]

    def launch(self, sms: int, stream: int, variant: SignalPublish = NO_SIGNAL) -> None:
        """Put it on a stream; its signals are its inputs'."""
        with_signal = self.inputs.signal if variant != NO_SIGNAL else None
        tensors = (self.inputs.a, self.inputs.b, self.inputs.d, self.inputs.masked_m)
        launch_plan(self.plan(sms, variant), *tensors, signal=with_signal, stream=stream)


def _as_copied(inputs: Inputs, gemm: Gemm) -> Any:  # noqa: ANN401 - a torch tensor
    scales = inputs.a[1]
    return scales if scales.stride()[1] == 1 else m_major(scales, gemm.problem)


class DownAndSend:
    """The down GEMM of some experts and Combine Send of its rows, of a whole batch or a half."""

    def __init__(self, inputs: Inputs, sender: CombineSend, sm_count: int) -> None:
        self.gemm = Gemm(inputs)
        self.sender, self.sm_count = sender, sm_count
        groups, rows, columns = inputs.d.shape
        self.destination = inputs.d.new_empty(inputs.d.shape)
        # Always at the threshold 0, and enough of them for slots of one row.
        self.reached = inputs.signal.new_zeros(groups * rows)
        self.sent_bytes = BYTES_OF_BFLOAT16 * groups * rows * columns

    def launch(self, step: Step, stream: int, variant: SignalPublish) -> None:
        """One of its steps."""
        if step.work is Work.DOWN:
            self.gemm.launch(step.sms, stream)
        elif step.work is Work.DOWN_BY_SIGNALS:
            self.gemm.launch(step.sms, stream, variant)
        elif step.work is Work.CLEAR:
            self.clear(stream)
        else:
            by_signals = step.work is Work.SEND_BY_SIGNALS
            plan = self.gemm.plan(self.sm_count - step.sms, variant) if by_signals else None
            self.sender.launch(self.sending(step.sms, plan), step.sms, stream)

    def clear(self, stream: int) -> None:
        """Zero the signals."""
        signal = self.gemm.inputs.signal
        clear_words(signal.data_ptr(), signal.numel(), stream)

    def sending(self, ctas: int, plan: Plan | None) -> Sending:
        """What Combine Send sends, behind the signals of a plan or, without one, at once."""
        inputs = self.gemm.inputs
        groups, rows, columns = inputs.d.shape
        block_m = plan.shape.block_m if plan else rows_of_slot(groups, rows, ctas)
        return Sending(
            d=inputs.d.data_ptr(),
            destination=self.destination.data_ptr(),
            received=inputs.masked_m.data_ptr(),
            signals=(inputs.signal if plan else self.reached).data_ptr(),
            groups=groups,
            m=rows,
            row_bytes=BYTES_OF_BFLOAT16 * columns,
            block_m=block_m,
            threshold=plan.threshold if plan else 0,
        )


def rows_of_slot(groups: int, rows: int, ctas: int) -> int:
    """Rows of one slot with which that many CTAs send soonest where there is nothing to wait for.

    Slots are dealt out in turn, so that the CTA with the most decides.
    """

    def longest(block_m: int) -> int:
        slots = groups * -(-rows // block_m)
        return -(-slots // ctas) * (min(block_m, rows) + SLOT_OVERHEAD_ROWS)

    return min(range(1, rows + 1), key=longest)


class PairWork:
    """A down GEMM and Combine Send."""

    def __init__(self, experts: int, rows: int, seed: int, sender: CombineSend, sms: int) -> None:
        inputs = random_inputs((experts, rows, HIDDEN, EXPERT), [rows] * experts, seed)
        self.whole = DownAndSend(inputs, sender, sms)
        self.expected = _made_alone(self.whole.gemm, sms)

    def launcher(self, variant: SignalPublish) -> Callable[[Step, Any], None]:
        """Launches steps, the signalling GEMM with this variant."""
        return lambda step, stream: self.whole.launch(step, stream.cuda_stream, variant)

    def before(self, stream: Any) -> None:  # noqa: ANN401 - torch's stream
        """Zero the signals, as nobody in the schedule does."""
        self.whole.clear(stream.cuda_stream)

    def spoil(self) -> None:
        """Overwrite all that a schedule makes."""
        poison([self.whole.gemm.inputs.d], POISON)
        poison([self.whole.destination], UNSENT)

    def complaints(self, steps: list[Step]) -> list[str]:
        """What a schedule has not made to the last bit."""
        d = self.whole.gemm.inputs.d
        pairs = {DOWN_D: (d, self.expected), DESTINATION: (self.whole.destination, d)}
        made = {name for step in steps for name in MADE_BY[step.work]}
        return [name for name, both in pairs.items() if name in made and not same_bits(*both)]


@dataclass(frozen=True)
class LayerInputs:
    """What the GEMMs of a layer read and write: the experts' two, and the shared expert's two."""

    up: Inputs
    down: Inputs
    shared_up: Inputs
    shared_down: Inputs

    def half(self, half: int) -> LayerInputs:
        """The first or second half of all rows."""
        each = (self.up, self.down, self.shared_up, self.shared_down)
        return LayerInputs(*(half_of(inputs, half) for inputs in each))


class LayerPart:
    """One MoE layer's steps for a whole batch or a half."""

    def __init__(self, inputs: LayerInputs, sender: CombineSend, sm_count: int) -> None:
        up, self.received = as_received(inputs.up)
        self.up = Gemm(up)
        self.shared = [Gemm(inputs.shared_up), Gemm(inputs.shared_down)]
        self.down = DownAndSend(inputs.down, sender, sm_count)

    def launch(
        self, step: Step, stream: int, variant: SignalPublish, receiver: DispatchReceive
    ) -> None:
        """One of its steps; the shared expert's two GEMMs are one."""
        if step.work is Work.RECEIVE:
            arrived, storage = self.received.arrived, self.received.storage
            size = self.received.size
            receiver.launch(arrived.data_ptr(), storage.data_ptr(), size, step.sms, stream)
        elif step.work is Work.SHARED:
            for gemm in self.shared:
                gemm.launch(step.sms, stream)
        elif step.work is Work.UP:
            self.up.launch(step.sms, stream)
        else:
            self.down.launch(step, stream, variant)

    def gemms(self) -> dict[str, Gemm]:
        """All, by what their outputs are called."""
        first, second = SHARED_DS
        return {
            UP_D: self.up,
            first: self.shared[0],
            second: self.shared[1],
            DOWN_D: self.down.gemm,
        }


class LayerWork:
    """An MoE layer of some experts, as a whole batch and as two halves of each group's rows."""

    def __init__(
        self,
        experts: int,
        rows: int,
        seed: int,
        kernels: tuple[CombineSend, DispatchReceive],
        sms: int,
    ) -> None:
        self.sender, self.receiver = kernels
        self.sms = sms
        own = experts * rows // TOP_K
        self.inputs = LayerInputs(
            random_inputs((experts, rows, UP_COLUMNS, HIDDEN), [rows] * experts, seed),
            random_inputs((experts, rows, HIDDEN, EXPERT), [rows] * experts, seed + 1),
            random_inputs((1, own, UP_COLUMNS, HIDDEN), [own], seed + 2),
            random_inputs((1, own, HIDDEN, EXPERT), [own], seed + 3),
        )
        self.whole = LayerPart(self.inputs, self.sender, sms)
        self.expected = {name: _made_alone(gemm, sms) for name, gemm in self.whole.gemms().items()}

    @cached_property
    def halves(self) -> dict[int, LayerPart]:
        """The halves, whose B's are the whole batch's."""
        return {half: LayerPart(self.inputs.half(half), self.sender, self.sms) for half in HALVES}

    def part(self, part: int) -> LayerPart:
        """The whole batch (0) or a half."""
        return self.whole if part == 0 else self.halves[part]

    def launcher(self, variant: SignalPublish) -> Callable[[Step, Any], None]:
        """Launches steps, the signalling GEMM with this variant."""

        def launch(step: Step, stream: Any) -> None:  # noqa: ANN401 - torch's stream
            self.part(step.part).launch(step, stream.cuda_stream, variant, self.receiver)

        return launch

    def before(self, stream: Any) -> None:  # noqa: ANN401 - torch's stream
        """Nothing: a schedule of layers zeroes its signals itself."""

    def spoil(self) -> None:
        """Overwrite all that a schedule makes."""
        for number in (0, *HALVES):
            part = self.part(number)
            poison(
                [part.received.storage, *(gemm.inputs.d for gemm in part.gemms().values())], POISON
            )
            poison([part.down.destination], UNSENT)

    def complaints(self, steps: list[Step]) -> list[str]:
        """What a schedule has not made to the last bit."""
        found = []
        for number in sorted({step.part for step in steps}):
            part = self.part(number)
            made = {name for s in steps if s.part == number for name in MADE_BY[s.work]}
            pairs = {
                name: (gemm.inputs.d, rows_of_half(self.expected[name], number))
                for name, gemm in part.gemms().items()
            }
            pairs[ROWS] = (part.received.storage, part.received.arrived)
            pairs[DESTINATION] = (part.down.destination, part.down.gemm.inputs.d)
            of_half = f" of half {number}" if number else ""
            found += [
                f"{name}{of_half}"
                for name, both in pairs.items()
                if name in made and not same_bits(*both)
            ]
        return found


def _made_alone(gemm: Gemm, sms: int) -> Any:  # noqa: ANN401 - a torch tensor
    """D as one launch on an idle GPU makes it."""
    gemm.launch(sms, 0)
    return gemm.inputs.d.clone()
