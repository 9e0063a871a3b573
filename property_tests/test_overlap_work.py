"""What steps launch: which GEMM on how many SMs, and what Combine Send waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from sbo_verify.device.gemm_inputs import Inputs
from sbo_verify.device.gemm_layout import Shape
from sbo_verify.device.lanes import Lane, Step, Work
from sbo_verify.device.overlap_kernels import Sending
from sbo_verify.gemm import chosen_variant
from sbo_verify.gemm.masked import PUBLISHED
from sbo_verify.harness import overlap_work
from sbo_verify.harness.overlap_work import DownAndSend, LayerPart, rows_of_slot
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL
from sbo_verify.protocols.signal_publish.sites import SignalPublish

SMS, STREAM = 132, 7
GROUPS, ROWS, COLUMNS = 4, 40, 256
VARIANT = chosen_variant(PUBLISHED)


@dataclass
class FakeTensor:
    """A tensor with a shape and an address and no memory."""

    shape: tuple[int, ...]
    address: int = 0

    def data_ptr(self) -> int:
        return self.address

    def numel(self) -> int:
        return self.shape[0]

    def new_empty(self, shape: tuple[int, ...]) -> FakeTensor:
        return FakeTensor(shape, 100)

    def new_zeros(self, count: int) -> FakeTensor:
        return FakeTensor((count,), 200)


@dataclass
class FakeGemm:
    """Notes its launches; on few SMs its tile is another."""

    inputs: Inputs
    launched: list[tuple[int, int, SignalPublish]] = field(default_factory=list)

    def launch(self, sms: int, stream: int, variant: SignalPublish = NO_SIGNAL) -> None:
        self.launched.append((sms, stream, variant))

    def plan(self, sms: int, variant: SignalPublish) -> SimpleNamespace:
        assert variant == VARIANT
        return SimpleNamespace(shape=Shape(sms, 64, 1, 1), threshold=sms + 1)


@dataclass
class FakeSender:
    """Notes what is sent."""

    sent: list[tuple[Sending, int, int]] = field(default_factory=list)

    def launch(self, sending: Sending, ctas: int, stream: int) -> None:
        self.sent.append((sending, ctas, stream))


def fake_inputs() -> Inputs:
    d, masked, signal = (
        FakeTensor((GROUPS, ROWS, COLUMNS), 1),
        FakeTensor((4,), 2),
        FakeTensor((4,), 3),
    )
    return Inputs((None, None), (None, None), d, masked, signal)


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> DownAndSend:
    monkeypatch.setattr(overlap_work, "Gemm", FakeGemm)
    sender: Any = FakeSender()
    return DownAndSend(fake_inputs(), sender, SMS)


def launch(down: DownAndSend, work: Work, sms: int) -> tuple[Any, Any]:
    """What a step puts on the stream: launches of the GEMM, and of Combine Send."""
    down.launch(Step(work, Lane.LINK, sms), STREAM, VARIANT)
    gemm: Any = down.gemm
    sender: Any = down.sender
    return gemm.launched, sender.sent


def test_the_gemm_signals_where_combine_send_follows_its_signals(down: DownAndSend) -> None:
    assert launch(down, Work.DOWN, 132)[0] == [(132, STREAM, NO_SIGNAL)]
    assert launch(down, Work.DOWN_BY_SIGNALS, 129)[0][1:] == [(129, STREAM, VARIANT)]


def test_combine_send_waits_for_what_the_gemm_on_the_other_sms_announces(
    down: DownAndSend,
) -> None:
    _, ((sending, ctas, stream),) = launch(down, Work.SEND_BY_SIGNALS, 3)
    assert (ctas, stream) == (3, STREAM)
    assert (sending.block_m, sending.threshold) == (SMS - 3, SMS - 3 + 1)
    assert (sending.d, sending.destination, sending.received, sending.signals) == (1, 100, 2, 3)
    assert (sending.groups, sending.m, sending.row_bytes) == (GROUPS, ROWS, 2 * COLUMNS)


def test_combine_send_in_turn_waits_for_nothing_and_cuts_rows_as_its_ctas_want(
    down: DownAndSend,
) -> None:
    _, ((sending, _, _),) = launch(down, Work.SEND, 16)
    assert (sending.signals, sending.threshold) == (200, 0)
    assert sending.block_m == rows_of_slot(GROUPS, ROWS, 16)
    assert down.sent_bytes == 2 * GROUPS * ROWS * COLUMNS


def test_clearing_zeroes_every_signal(down: DownAndSend, monkeypatch: pytest.MonkeyPatch) -> None:
    cleared = []
    monkeypatch.setattr(overlap_work, "clear_words", lambda *words: cleared.append(words))
    launch(down, Work.CLEAR, 0)
    assert cleared == [(3, 4, STREAM)]


def test_a_layers_steps_reach_their_own_gemms(down: DownAndSend) -> None:
    part = object.__new__(LayerPart)
    gemms: list[Any] = [FakeGemm(fake_inputs()) for _ in range(3)]
    part.up, part.shared, part.down = gemms[0], gemms[1:], down
    tensors = {"arrived": FakeTensor((8,), 11), "storage": FakeTensor((8,), 22)}
    part.received = SimpleNamespace(**tensors, size=8)  # type: ignore[assignment]  # a fake
    received: list[tuple[int, ...]] = []
    receiver: Any = SimpleNamespace(launch=lambda *words: received.append(words))
    for work, sms in ((Work.RECEIVE, 3), (Work.SHARED, 129), (Work.UP, 132), (Work.DOWN, 131)):
        part.launch(Step(work, Lane.COMPUTE, sms), STREAM, VARIANT, receiver)
    assert received == [(11, 22, 8, 3, STREAM)]
    up, *shared = (gemm.launched for gemm in gemms)
    assert (up, shared) == ([(132, STREAM, NO_SIGNAL)], [[(129, STREAM, NO_SIGNAL)]] * 2)
    own: Any = down.gemm
    assert own.launched == [(131, STREAM, NO_SIGNAL)]
