"""The words each level answers with, the joint verdict, the one ranking and the exit codes.

Nothing else in the project decides what a combination of answers means.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class ModelVerdict(StrEnum):
    """Does the PTX memory model allow a stale read after the threshold was seen?"""

    FORBIDDEN = "Forbidden"
    ALLOWED = "Allowed"
    UNKNOWN = "unknown"


class CodeVerdict(StrEnum):
    """Are the ordering instructions in the compiled code those that the variant declares?"""

    AS_DECLARED = "as declared"
    DIFFERS = "differs"
    NOT_READ = "not read"


class MachineVerdict(StrEnum):
    """Does the machine code keep, in order, the words of every instruction that the PTX has?

    Said of what ptxas made of its input, and never whether that order suffices.
    """

    KEPT = "kept"
    LOST = "lost"
    CANNOT_TELL = "cannot tell"
    NOT_READ = "not read"


class SiliconVerdict(StrEnum):
    """How often the GPU showed a stale tile."""

    NEVER = "Never"
    SOMETIMES = "Sometimes"
    ALWAYS = "Always"
    NOT_RUN = "did not run"
    THRESHOLD_NEVER_REACHED = "threshold never reached"
    OVERSHOT = "signal overshot"
    UNRELIABLE = "unreliable"


class Joint(StrEnum):
    """What the levels say together."""

    SOUND = "sound"
    SOUND_BY_MODEL = "sound by the model, silicon did not run"
    BROKEN_SHOWN = "broken, shown"
    BROKEN_UNSEEN = "broken, works by luck here"
    BROKEN_BY_MODEL = "broken by the model, silicon did not run"
    ALARM = "ALARM: forbidden but seen"
    CODE_DIFFERS = "code is not what was declared"
    LIVENESS = "liveness failure"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What a gate makes of it. Ranked: fail over unknown over pass."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    UNKNOWN = "unknown"
    FAIL = "fail"


class ExitCode(IntEnum):
    """Process exit codes of every command."""

    PASS = 0
    FAIL = 1
    UNKNOWN = 2
    USAGE = 254
    INTERNAL = 255


_RANK = {Outcome.PASS: 0, Outcome.UNKNOWN: 1, Outcome.FAIL: 2}
_EXIT = {
    Outcome.PASS: ExitCode.PASS,
    Outcome.UNKNOWN: ExitCode.UNKNOWN,
    Outcome.FAIL: ExitCode.FAIL,
}
_LIVENESS = {SiliconVerdict.THRESHOLD_NEVER_REACHED, SiliconVerdict.OVERSHOT}
_SEEN = {SiliconVerdict.SOMETIMES, SiliconVerdict.ALWAYS}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The highest-ranked outcome; of none at all: unknown, since nothing was shown."""
    return max(outcomes, key=_RANK.__getitem__, default=Outcome.UNKNOWN)


def exit_code(outcome: Outcome) -> ExitCode:
    """The process exit code that announces `outcome`."""
    return _EXIT[outcome]


def classify(stale: int, observations: int) -> SiliconVerdict:
    """The silicon word for `stale` stale tiles in `observations` hand-overs.

    Raises `ValueError` when the counts cannot both be true.
    """
    if not 0 <= stale <= observations:
        message = f"{stale} stale tiles in {observations} observations cannot be"
        raise ValueError(message)
    if observations == 0:
        return SiliconVerdict.NOT_RUN
    if stale == 0:
        return SiliconVerdict.NEVER
    return SiliconVerdict.ALWAYS if stale == observations else SiliconVerdict.SOMETIMES


def join(model: ModelVerdict, code: CodeVerdict, silicon: SiliconVerdict) -> Joint:
    """The joint table of the design. A difference in the code comes before everything else.

    The silicon then ran something that was not declared, so its counts speak of no variant.
    """
    if code is CodeVerdict.DIFFERS:
        return Joint.CODE_DIFFERS
    if silicon in _LIVENESS:
        return Joint.LIVENESS
    if model is ModelVerdict.UNKNOWN or silicon is SiliconVerdict.UNRELIABLE:
        return Joint.UNKNOWN
    forbidden = model is ModelVerdict.FORBIDDEN
    if silicon is SiliconVerdict.NOT_RUN:
        return Joint.SOUND_BY_MODEL if forbidden else Joint.BROKEN_BY_MODEL
    if silicon in _SEEN:
        return Joint.ALARM if forbidden else Joint.BROKEN_SHOWN
    return Joint.SOUND if forbidden else Joint.BROKEN_UNSEEN


def judge(
    joint: Joint,
    silicon: SiliconVerdict,
    *,
    sound: bool,
    canary: bool,
    silicon_ran: bool,
) -> Outcome:
    """What a gate makes of one row; `sound` says that the catalogue expects Forbidden.

    A sound row that was seen stale fails, whatever a checker made of it meanwhile.
    A broken row that is no canary is reported and never fails, a hang included: a poll that its
    own cache keeps from ever seeing the signal is a result.
    `silicon_ran` says whether the silicon level took part at all: without a GPU a row is judged
    by the levels that did run; with one, a row that has no observation is unknown. A canary that
    stays unseen is unknown: a detector that did not fire has no right to say pass.
    """
    seen = silicon in _SEEN
    if joint in {Joint.ALARM, Joint.CODE_DIFFERS} or (sound and seen):
        return Outcome.FAIL
    if joint is Joint.LIVENESS:
        if not sound and not canary:
            return Outcome.PASS
        return Outcome.FAIL if silicon is SiliconVerdict.OVERSHOT else Outcome.UNKNOWN
    if joint is Joint.UNKNOWN:
        return Outcome.UNKNOWN
    blind = silicon is SiliconVerdict.NOT_RUN or (canary and not seen)
    return Outcome.UNKNOWN if silicon_ran and blind else Outcome.PASS
