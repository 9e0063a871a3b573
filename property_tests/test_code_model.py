"""The model judges the program that was compiled, and says the same of the declared one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mutations import PUBLISHED

from sbo_verify.compiled.conformance import code_reading
from sbo_verify.compiled.extraction import Extracted
from sbo_verify.device.build import build
from sbo_verify.device.combine_build import build_combine
from sbo_verify.device.gemm_build import build_gemm
from sbo_verify.device.gemm_layout import Shape
from sbo_verify.harness.code_model import (
    CodeModel,
    micro_program,
    model_of_code,
    overlap_program,
    with_model,
)
from sbo_verify.model import judge
from sbo_verify.model.hand_over import OLD
from sbo_verify.protocol import Row, Site, Step
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.combine import OVERLAP, combine_steps
from sbo_verify.protocols.signal_publish.gemm import producer_half
from sbo_verify.protocols.signal_publish.sites import (
    Drain,
    Issuers,
    Join,
    Poll,
    Publish,
    Read,
    SignalPublish,
    SignalScope,
    SourceFence,
)
from sbo_verify.protocols.signal_publish.steps import steps
from sbo_verify.verdict import CodeVerdict, ModelVerdict
from sbo_verify.vocabulary import Instruction

PROTOCOL = "signal_publish"
# Small, so that it compiles fast; the hand-over is the same text in all shapes.
SMALL = Shape(block_m=128, block_n=64, stages=3, cluster=1)
RED_RELEASE, DEFERRED = "full_wait-red_release", "deferred-newest_pending-release"
UNJOINED = "hip_port-per_warp_drain-no_barrier"
CTA = SignalScope.CTA


def variant_of(row: str) -> SignalPublish:
    variant = SIGNAL_PUBLISH.row(row).variant
    assert isinstance(variant, SignalPublish)
    return variant


def ptx_of(row: str, cache: Path) -> str:
    return build(SIGNAL_PUBLISH, variant_of(row), cache_in=cache).ptx


def asked(row: str, ptx: str) -> CodeModel:
    return model_of_code(PROTOCOL, variant_of(row), micro_program(ptx))


def said(program: tuple[Step, ...], side: str) -> list[tuple[str, tuple[Instruction, ...]]]:
    """What a site holds, site by site, without the sites that hold nothing."""
    return [
        (step.site, step.instructions)
        for step in program
        if step.side == side and step.instructions and step.site != "fill"
    ]


@pytest.mark.parametrize("row", list(SIGNAL_PUBLISH), ids=lambda row: row.name)
def test_the_compiled_program_of_a_row_is_the_declared_one_and_is_judged_alike(
    row: Row, cache: Path
) -> None:
    artefact = build(SIGNAL_PUBLISH, row.variant, cache_in=cache)
    program = micro_program(artefact.ptx)
    assert program.doubts == ()
    for side in ("producer", "consumer"):
        assert said(program.steps, side) == said(steps(variant_of(row.name)), side)
    model = model_of_code(PROTOCOL, row.variant, program)
    assert model.agrees is True
    assert model.verdict is row.expected
    reading = with_model(code_reading(SIGNAL_PUBLISH, row, artefact), model)
    assert reading.verdict == CodeVerdict.AS_DECLARED.value
    assert (reading.model, reading.model_notes) == (row.expected.value, [])
    assert reading.model_readings == model.declared.readings


@pytest.mark.parametrize("row", list(OVERLAP), ids=lambda row: row.name)
def test_gemm_and_combine_send_are_one_program_that_is_judged_as_the_row_is(
    row: Row, cache: Path
) -> None:
    variant = variant_of(row.name)
    gemm = build_gemm(SMALL, producer_half(variant), cache_in=cache)
    program = overlap_program(gemm.ptx, build_combine(variant, cache_in=cache).ptx)
    assert program.doubts == ()
    assert said(program.steps, "producer") == said(steps(variant), "producer")
    assert said(program.steps, "consumer") == said(combine_steps(variant), "consumer")
    model = model_of_code(PROTOCOL, variant, program)
    assert model.agrees is True
    assert model.verdict is row.expected


# ---- code that is weaker than its declaration -----------------------------------------------


@dataclass(frozen=True)
class Weaker:
    """A change of the PTX text at one site, and the choices of the variant that declares just it.

    Without choices there is no such variant, and the verdict is Allowed.
    """

    row: str
    site: str
    old: str
    new: str
    choices: dict[str, Site] = field(default_factory=dict)

    def apply(self, ptx: str) -> str:
        """The text with the change at every place where the site stands."""
        region = re.compile(rf"// sbo:begin {self.site}\n.*?// sbo:end {self.site}\n", re.DOTALL)
        changed, count = region.subn(lambda m: re.sub(self.old, self.new, m[0]), ptx)
        assert count
        assert changed != ptx
        return changed


BARRIER = r"\tbarrier\.cta\.sync [^;]*;\n"
WAIT = r"cp\.async\.bulk\.wait_group 0;"
WEAKER = (
    Weaker(PUBLISHED, "producer.drain", "wait_group", "wait_group.read", {"drain": Drain.READ}),
    Weaker(PUBLISHED, "producer.drain", WAIT, "", {"drain": Drain.NONE}),
    Weaker(PUBLISHED, "producer.drain", "group 0", "group 1", {"drain": Drain.FULL_BUT_NEWEST}),
    Weaker(
        DEFERRED,
        "producer.drain",
        "wait_group",
        "wait_group.read",
        {"drain": Drain.READ_BUT_NEWEST},
    ),
    Weaker(DEFERRED, "producer.flush", "group 0", "group 1"),
    Weaker(PUBLISHED, "producer.join", BARRIER, "", {"join": Join.NONE}),
    Weaker(PUBLISHED, "producer.source_join", BARRIER, ""),
    Weaker(
        PUBLISHED,
        "producer.source_fence",
        r"fence\.proxy[^;]*;",
        "",
        {"source_fence": SourceFence.NONE},
    ),
    Weaker(PUBLISHED, "producer.store", r"cp\.async\.bulk\.commit_group;", ""),
    Weaker(RED_RELEASE, "producer.publish", "release", "relaxed", {"publish": Publish.RED_RELAXED}),
    Weaker(RED_RELEASE, "producer.publish", r"\.gpu", ".cta", {"publish_scope": CTA}),
    Weaker(PUBLISHED, "producer.publish", "release", "relaxed"),
    Weaker(
        "full_wait-st_release",
        "producer.publish",
        "release",
        "relaxed",
        {"publish": Publish.ST_RELAXED},
    ),
    Weaker(
        "full_wait-fence_acq_rel-red",
        "producer.publish",
        r"fence\.acq_rel\.gpu;",
        "",
        {"publish": Publish.RED_RELAXED},
    ),
    Weaker("full_wait-fence-atomic_add", "producer.publish", r"\t(fence\.sc|membar)[^;]*;", ""),
    Weaker(
        "full_wait-release_by_cluster_peer",
        "producer.join",
        r"arrive\.release",
        "arrive.relaxed",
        {"join": Join.CLUSTER_RELAXED},
    ),
    Weaker(PUBLISHED, "consumer.poll", "acquire", "relaxed", {"poll": Poll.LD_RELAXED}),
    Weaker(PUBLISHED, "consumer.poll", r"\.gpu", ".cta", {"poll_scope": CTA}),
    Weaker(PUBLISHED, "consumer.poll", r"acquire\.gpu", "volatile", {"poll": Poll.LD_VOLATILE}),
    Weaker(
        "poll_relaxed-fence",
        "consumer.poll",
        r"fence\.acq_rel\.gpu;",
        "",
        {"poll": Poll.LD_RELAXED},
    ),
    Weaker(
        "read_tma-proxy_fence", "consumer.read", r"fence\.proxy\.async;", "", {"read": Read.TMA}
    ),
    Weaker(PUBLISHED, "consumer.read", r"ld\.weak\.global", "ld.global.nc", {"read": Read.NC}),
    Weaker("poll_one_thread-cta_barrier", "consumer.fan_out", BARRIER, ""),
)


def named(weaker: Weaker) -> str:
    return f"{weaker.row}-{weaker.site}-{weaker.new or 'nothing'}"


@pytest.mark.parametrize("weaker", WEAKER, ids=named)
def test_code_weaker_than_its_declaration_is_allowed_to_be_stale_with_a_witness(
    weaker: Weaker, cache: Path
) -> None:
    model = asked(weaker.row, weaker.apply(ptx_of(weaker.row, cache)))
    assert model.declared.verdict is ModelVerdict.FORBIDDEN
    assert model.verdict is ModelVerdict.ALLOWED, model.notes
    assert model.agrees is False
    assert model.answer is not None
    assert model.answer.witness
    reads = [step for step in model.answer.witness if step.instruction.split()[1:2] == ["r9,"]]
    assert [step.value for step in reads] == [OLD]
    assert "a stale read is Allowed in the compiled program and Forbidden" in model.notes[0]
    gaps = [f"model, missing in the compiled program: {gap}" for gap in model.answer.missing]
    assert gaps
    assert set(gaps) <= set(model.notes)
    if weaker.choices:
        declared = judge(PROTOCOL, variant_of(weaker.row).with_choices(**weaker.choices))
        assert model.answer.readings == declared.readings
        assert len(model.answer.witness) == len(declared.witness or [])


def test_code_that_differs_for_the_model_is_not_what_was_declared(cache: Path) -> None:
    """A row whose instructions were taken for the declared ones fails by the model alone."""
    row = SIGNAL_PUBLISH.row(PUBLISHED)
    artefact = build(SIGNAL_PUBLISH, row.variant, cache_in=cache)
    model = asked(PUBLISHED, WEAKER[0].apply(artefact.ptx))
    reading = with_model(code_reading(SIGNAL_PUBLISH, row, artefact), model)
    assert reading.verdict == CodeVerdict.DIFFERS.value
    assert reading.model == ModelVerdict.ALLOWED.value
    assert reading.differences == reading.model_notes == model.notes


# ---- a program that cannot be judged --------------------------------------------------------


INIT = "mbarrier.init.b64 [%r1], 1;"
ADD = "red.gpu.global.add.s32 [%rd1], 1;"
UNTOLD = (
    (Weaker(PUBLISHED, "producer.drain", r"\tcp\.async", "\t@%p1 cp.async"), "the predicate @%p1"),
    (
        Weaker(PUBLISHED, "producer.publish", r"\tatom\.[^;]*;", r"\g<0>\g<0>"),
        "2 writes of the signal",
    ),
    (Weaker(PUBLISHED, "producer.publish", r"atom\.", "multimem.red."), "no word for multimem.red"),
    (Weaker(PUBLISHED, "producer.publish", r"\.global", ".shared"), "another state space"),
    (Weaker(PUBLISHED, "producer.publish", r"\tatom", f"\t{INIT}\n\tatom"), "no place"),
    (Weaker(PUBLISHED, "consumer.poll", r"\tld\.acq", "\tbar.sync 0;\n\tld.acq"), "no place"),
    (Weaker(PUBLISHED, "consumer.read", r"ld\.weak\.global", "ld.weak.shared"), "no copy brings"),
    (
        Weaker(PUBLISHED, "producer.join", r"\tbar", "\tbarrier.cluster.arrive;\n\tbar"),
        "the variant has none",
    ),
    (Weaker("readback-full_wait", "producer.drain", r"\tcp", f"\t{ADD}\n\tcp"), "no place"),
)


@pytest.mark.parametrize(("change", "why"), UNTOLD, ids=lambda each: str(each)[-40:])
def test_what_the_model_has_no_program_for_is_not_judged(
    change: Weaker, why: str, cache: Path
) -> None:
    model = asked(change.row, change.apply(ptx_of(change.row, cache)))
    assert model.verdict is ModelVerdict.UNKNOWN
    assert model.agrees is None
    assert why in "; ".join(model.notes)
    row = SIGNAL_PUBLISH.row(change.row)
    artefact = build(SIGNAL_PUBLISH, row.variant, cache_in=cache)
    reading = with_model(code_reading(SIGNAL_PUBLISH, row, artefact), model)
    assert reading.model == ModelVerdict.UNKNOWN.value
    assert reading.model_notes == model.notes
    # The instructions that were compared are another level's matter.
    assert reading.verdict == CodeVerdict.AS_DECLARED.value


def test_the_code_of_another_row_is_refused_or_judged_for_what_it_is(cache: Path) -> None:
    """A deferring program has no place in a row that does not defer; a `.read` wait has."""
    assert "flush stands there 1 times" in asked(PUBLISHED, ptx_of(DEFERRED, cache)).notes[0]
    read = asked(RED_RELEASE, ptx_of("read_wait-release", cache))
    assert (read.verdict, read.agrees) == (ModelVerdict.ALLOWED, False)


def test_text_that_is_no_kernel_is_not_judged() -> None:
    model = asked(PUBLISHED, "")
    assert model.agrees is None
    assert model.notes == [
        "the PTX cannot be read: expected PTX of one kernel, found 0 .entry directives"
    ]


def test_a_program_without_steps_is_not_judged() -> None:
    model = model_of_code(PROTOCOL, variant_of(PUBLISHED), Extracted((), ()))
    assert model.agrees is None
    assert "store stands there 0 times, not 1" in model.notes[0]


def test_who_comes_to_a_site_must_be_whom_the_variant_names(cache: Path) -> None:
    """With one issuer no barrier would be missing: that there are two is read from the PTX."""
    program = micro_program(ptx_of(UNJOINED, cache))
    two = variant_of(UNJOINED)
    one = two.with_choices(issuers=Issuers.ONE)
    assert judge(PROTOCOL, one).verdict is ModelVerdict.FORBIDDEN
    assert model_of_code(PROTOCOL, two, program).verdict is ModelVerdict.ALLOWED
    model = model_of_code(PROTOCOL, one, program)
    assert model.agrees is None
    assert model.notes == [
        "producer.store: threads 0, 32 come there, and with issuers=one threads 0 do",
        "producer.drain: threads 0, 32 come there, and with issuers=one threads 0 do",
    ]


def test_a_signal_of_another_thread_than_the_variants_is_not_judged(cache: Path) -> None:
    other = asked(RED_RELEASE, ptx_of("full_wait-release_by_other_warp", cache))
    assert other.agrees is None
    assert other.notes == [
        "producer.publish: threads 64 come there, and with publisher=issuer threads 0 do"
    ]
    alone = asked("poll_one_thread-reads_alone", ptx_of(PUBLISHED, cache))
    assert alone.notes == []
