"""A protocol knows its sites, hashes its variants, and refuses what has no meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.protocol import (
    HASH_LENGTH,
    Protocol,
    RefusedVariantError,
    Row,
    Site,
    Step,
    UnknownNameError,
    Variant,
)
from sbo_verify.protocols import PROTOCOLS, protocol_named
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.catalogue import READBACK
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish, refusals
from sbo_verify.verdict import ModelVerdict

PUBLISHED = SignalPublish()
KINDS: list[type[Site]] = list(dict.fromkeys(SITES.values()))
ADVICE = re.compile(r"(\w+)=(\w+)")

# Each combination with what its refusal begins with. The advice in the message is followed below,
# so that every rule has an allowed example too.
REFUSED = [
    (
        {"store": "generic", "source_fence": "none", "drain": "full"},
        "generic stores commit no bulk group",
    ),
    (
        {"store": "generic", "source_fence": "proxy_async", "drain": "none"},
        "generic stores read no shared memory by the async proxy",
    ),
    (
        {"store": "generic", "source_fence": "none", "drain": "none", "issuers": "one"},
        "generic stores are issued by every thread",
    ),
    ({"moment": "early", "drain": "full_but_newest"}, "the early signal is built for one tile"),
    ({"moment": "early", "drain": "read_but_newest"}, "the early signal is built for one tile"),
    ({"publisher": "cluster_peer"}, "a cluster peer can only follow"),
    (
        {"join": "cluster_barrier", "place": "same_sm"},
        "cluster barriers are built for a consumer on another SM",
    ),
    (
        {"join": "cluster_relaxed", "moment": "early"},
        "the early signal is built without a cluster barrier",
    ),
    (
        {"publish": "fence_sc_atomic_add", "publish_scope": "cluster"},
        "CUDA C++ has no cluster scope for __threadfence()",
    ),
    (
        {"publish": "atomic_ref_release", "publish_scope": "cluster"},
        "CUDA C++ has no cluster scope for __threadfence()",
    ),
    (
        {"poll": "atomic_ref_acquire", "poll_scope": "cluster"},
        "CUDA C++ has no cluster scope for cuda::atomic_ref",
    ),
    ({"test": "equal_reused"}, "a flag that is 1 in every round must be stored"),
    ({"publish": "none"}, "a poll without a signal never ends"),
    ({"poll": "none"}, "a signal that nobody polls orders nothing"),
    ({"place": "host", "poll": "ld_relaxed"}, "a CPU thread's loads stay in order"),
    ({"place": "host"}, "a CPU thread is in no scope but the whole system"),
    ({"place": "host"}, "the CPU thread that polls reads the tile itself"),
    ({"place": "host", "read": "nc"}, "a CPU thread reads with plain loads"),
    ({"place": "host", "test": "equal"}, "the reader on the host is built for counters"),
]
REFUSED_READBACKS = [
    ({"place": "other_sm"}, "poll=none reads back in the producing CTA"),
    ({"join": "cluster_barrier"}, "poll=none reads back in one CTA"),
    ({"fan_out": "cta_barrier"}, "poll=none has nothing to hand on"),
    ({"fan_out": "syncwarp"}, "poll=none has nothing to hand on"),
    ({"fan_out": "unordered"}, "poll=none has nothing to hand on"),
    ({"moment": "deferred"}, "poll=none has no signal to move"),
    ({"read": "tma"}, "poll=none reads with loads, not with TMA"),
    ({"read": "tma_after_fence"}, "poll=none reads with loads, not with TMA"),
    ({"publisher": "other_warp"}, "poll=none has no publisher"),
    ({"test": "equal"}, "poll=none tests nothing"),
]


class Colour(Site):
    """A site of a protocol made up here."""

    RED = ("red", "the colour of stop")
    BLUE = ("blue", "another")


class Shape(Site):
    """Another site."""

    ROUND = ("round", "without corners")
    SQUARE = ("square", "with four")


@dataclass(frozen=True, kw_only=True)
class Sign(Variant):
    """Two sites in one order."""

    colour: Colour = Colour.RED
    shape: Shape = Shape.ROUND


@dataclass(frozen=True, kw_only=True)
class TurnedSign(Variant):
    """The same sites in the other order."""

    shape: Shape = Shape.ROUND
    colour: Colour = Colour.RED


def sign(name: str, variant: Variant) -> Row:
    return Row(
        name=name,
        variant=variant,
        expected=ModelVerdict.FORBIDDEN,
        because="it is made up",
        source="here",
    )


def signs(*rows: Row, name: str = "signs") -> Protocol:
    """A protocol in which blue squares have no meaning."""

    def refuse(variant: Variant) -> list[str]:
        blue_square = variant.words() == {"colour": "blue", "shape": "square"}
        return ["no sign is a blue square: choose colour=red"] if blue_square else []

    def no_steps(_variant: Variant) -> tuple[Step, ...]:
        return ()

    return Protocol(
        name=name,
        summary="made up",
        kernel="",
        variant_type=Sign,
        sites={"colour": Colour, "shape": Shape},
        rows=rows,
        refusals=refuse,
        steps=no_steps,
    )


def variant_of(words: dict[str, str], base: SignalPublish = PUBLISHED) -> SignalPublish:
    """`base` with the choices named, not checked."""
    return base.with_choices(**{site: SITES[site].from_word(word) for site, word in words.items()})


any_variant = st.fixed_dictionaries({site: st.sampled_from(list(SITES[site])) for site in SITES})


# ---- sites and variants ---------------------------------------------------------------------


def test_the_sites_are_the_fields_of_the_variant_in_order() -> None:
    assert list(SITES) == list(PUBLISHED.choices())
    for site, choice in PUBLISHED.choices().items():
        assert isinstance(choice, SITES[site])


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_is_found_by_its_word_and_says_what_it_means(kind: type[Site]) -> None:
    words = [choice.word for choice in kind]
    assert len(set(words)) == len(words)
    for choice in kind:
        assert kind.from_word(choice.word) is choice
        assert choice.word.isidentifier()
        assert choice.meaning


def test_an_unknown_choice_is_refused_with_the_choices() -> None:
    with pytest.raises(UnknownNameError) as refused:
        SITES["join"].from_word("hope")
    assert str(refused.value) == (
        "Join has no choice 'hope'; choose one of: "
        "cta_barrier, cluster_barrier, cluster_relaxed, none"
    )


@given(any_variant)
def test_words_and_variants_are_inverse(choices: dict[str, Site]) -> None:
    variant = SignalPublish(**choices)  # type: ignore[arg-type]
    assert variant_of(variant.words()) == variant
    assert variant.differences(variant) == {}
    if not refusals(variant):
        assert SIGNAL_PUBLISH.variant(variant.words()) == variant


def test_differences_name_the_sites_with_both_choices() -> None:
    other = variant_of({"drain": "read", "join": "none"})
    assert PUBLISHED.differences(other) == {
        "drain": (PUBLISHED.drain, other.drain),
        "join": (PUBLISHED.join, other.join),
    }


def test_a_variant_from_words_needs_every_site_and_no_other() -> None:
    words = PUBLISHED.words()
    with pytest.raises(UnknownNameError, match=r"no choice given for the sites drain of signal"):
        SIGNAL_PUBLISH.variant({site: word for site, word in words.items() if site != "drain"})
    with pytest.raises(UnknownNameError, match=r"has no site \['hope'\]; its sites: store, "):
        SIGNAL_PUBLISH.variant(words | {"hope": "none"})
    with pytest.raises(RefusedVariantError, match=r"choose test|choose publish=st_release"):
        SIGNAL_PUBLISH.variant(words | {"test": "equal_reused"})


# ---- the hash -------------------------------------------------------------------------------


@given(any_variant, st.data())
def test_the_hash_changes_with_every_site(choices: dict[str, Site], data: st.DataObject) -> None:
    variant = SignalPublish(**choices)  # type: ignore[arg-type]
    before = SIGNAL_PUBLISH.hash_of(variant)
    assert len(before) == HASH_LENGTH
    assert before == SIGNAL_PUBLISH.hash_of(replace(variant))
    for site, kind in SITES.items():
        others = [choice for choice in kind if choice is not choices[site]]
        other = data.draw(st.sampled_from(others))
        assert SIGNAL_PUBLISH.hash_of(variant.with_choices(**{site: other})) != before


def test_the_hash_does_not_depend_on_the_order_of_sites() -> None:
    protocol = signs()
    for colour in Colour:
        for shape in Shape:
            one = protocol.hash_of(Sign(colour=colour, shape=shape))
            other = protocol.hash_of(TurnedSign(colour=colour, shape=shape))
            assert one == other


def test_the_hash_changes_with_the_protocol() -> None:
    assert signs(name="signs").hash_of(Sign()) != signs(name="marks").hash_of(Sign())


def test_the_hash_of_the_published_variant_is_pinned() -> None:
    """Old records are joined to the catalogue by it."""
    assert SIGNAL_PUBLISH.hash_of(PUBLISHED) == "cc1c1ffa0216"


# ---- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "begins"),
    [
        *((variant_of(words), begins) for words, begins in REFUSED),
        *((variant_of(words, READBACK), begins) for words, begins in REFUSED_READBACKS),
    ],
)
def test_a_refusal_names_a_choice_that_lifts_it(variant: SignalPublish, begins: str) -> None:
    with pytest.raises(RefusedVariantError, match=re.escape(begins)):
        SIGNAL_PUBLISH.check(variant)
    reason = next(each for each in refusals(variant) if each.startswith(begins))
    advice = ADVICE.findall(reason.split("choose ")[1])
    assert advice
    for site, word in advice:
        mended = variant_of({site: word}, variant)
        assert variant.differences(mended), f"{site}={word} is what was refused"
        assert not any(each.startswith(begins) for each in refusals(mended))


def test_every_rule_has_an_example() -> None:
    """All reasons that any two sites can bring about begin as one of the examples above."""
    begins = {begin for _, begin in [*REFUSED, *REFUSED_READBACKS]}
    reasons: set[str] = set()
    for base in (PUBLISHED, READBACK, variant_of({"store": "generic"})):
        for first, kind in SITES.items():
            for second, other in SITES.items():
                for one in kind:
                    for two in other:
                        reasons.update(refusals(base.with_choices(**{first: one, second: two})))
    unknown = [reason for reason in reasons if not any(reason.startswith(b) for b in begins)]
    assert unknown == []
    unused = [b for b in begins if not any(reason.startswith(b) for reason in reasons)]
    assert unused == []


@given(any_variant)
def test_following_the_advice_ends_in_a_variant_with_a_meaning(choices: dict[str, Site]) -> None:
    """No two rules send the reader back and forth."""
    variant = SignalPublish(**choices)  # type: ignore[arg-type]
    for _ in range(len(SITES)):
        reasons = refusals(variant)
        if not reasons:
            return
        site, word = ADVICE.findall(reasons[0].split("choose ")[1])[0]
        variant = variant_of({site: word}, variant)
    pytest.fail(f"still refused: {refusals(variant)}")


# ---- the protocol ---------------------------------------------------------------------------


def test_a_catalogue_with_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^catalogue of signs: the same name twice: stop$"):
        signs(sign("stop", Sign()), sign("stop", Sign(shape=Shape.SQUARE)))


def test_a_catalogue_with_a_variant_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^catalogue of signs: the same variant twice: [0-9a-f]"):
        signs(sign("stop", Sign()), sign("halt", Sign()))


def test_a_catalogue_with_a_meaningless_variant_is_refused() -> None:
    meaningless = Sign(colour=Colour.BLUE, shape=Shape.SQUARE)
    with pytest.raises(RefusedVariantError, match=r"no sign is a blue square: choose colour=red"):
        signs(sign("odd", meaningless))


def test_a_row_is_found_by_its_name_and_by_its_hash() -> None:
    for row in SIGNAL_PUBLISH:
        assert SIGNAL_PUBLISH.row(row.name) is row
        assert SIGNAL_PUBLISH.row(SIGNAL_PUBLISH.hash_of(row.variant)) is row


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("by_peer", "did you mean full_wait-cluster_relaxed-release_by_peer?"),
        ("Full_wait-Atom", "did you mean full_wait-atom_release"),
        ("full_wait-atom_relaese", "did you mean full_wait-atom_release"),
        ("zebra", "see `sbo-verify list`"),
        ("", "see `sbo-verify list`"),
    ],
)
def test_an_unknown_row_is_refused_with_its_neighbours(asked: str, hint: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        SIGNAL_PUBLISH.row(asked)
    assert f"no variant {asked!r} in the catalogue of signal_publish; {hint}" in str(refused.value)


def test_an_unknown_protocol_is_refused_with_those_there_are() -> None:
    assert protocol_named("signal_publish") is SIGNAL_PUBLISH
    with pytest.raises(UnknownNameError, match=r"no protocol 'hope'; choose one of: signal_pub"):
        protocol_named("hope")
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
