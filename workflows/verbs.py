"""The inputs of a campaign's Updates: short and forgiving, and a mistake shows a right one."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

    from hanwave import words
    from hanwave.ledger.notes import MOST_ACTOR, MOST_REASON
    from hanwave.ledger.overview import View
    from hanwave.rollout.events import Leg
    from hanwave.rollout.policy import Device
    from hanwave.rollout.request import UNKNOWN, Names, RequestError, parse


Who = Annotated[str, AfterValidator(words.printable), Field(min_length=1, max_length=MOST_ACTOR)]
Why = Annotated[str, AfterValidator(words.printable), Field(min_length=1, max_length=MOST_REASON)]


class Verb(BaseModel):
    """An act by somebody, for a reason."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    actor: Who
    """Who acts. It is what they say, unless a signature proves it."""
    reason: Why
    """Why, in words that the audit keeps."""
    key: str | None = Field(default=None, min_length=1, max_length=200)
    """The act's idempotency key: the same again is the same act. The Update's own id where none is given."""
    user_id: Device | None = None
    """For which User ID the actor acts: an act upon another's campaign is refused. Without it, for the campaign's own."""


class Approve(Verb):
    """An approval of a plan, by its digest."""

    reason: Why = "approved"
    """What was looked at, or why."""
    digest: str
    """Of the plan that is approved."""


class Pause(Verb):
    """A pause of one leg, or of both."""

    leg: Literal[Leg.DISTRIBUTE, Leg.ACTIVATE] | None = None
    """distribute or activate; null: both."""


class CancelDevice(Verb):
    """The end of one device's update."""

    device: Device
    """Its EUI-64."""


class Widen(Verb):
    """An act that lets more happen: on the plan that was read, by its digest or the digits of it that the page shows."""

    digest: str
    """Of the plan, whole or as many of its first digits as the page shows."""


class Resume(Widen):
    """The end of every stop, or of one leg's pauses."""

    leg: Literal[Leg.DISTRIBUTE, Leg.ACTIVATE] | None = None
    """Of which the pauses end; null: every stop of the campaign ends."""


class ChangePace(Widen):
    """Another pace, in activations a second, at most the plan's."""

    per_second: float = Field(gt=0, allow_inf_nan=False)
    """Activations a second, over all."""


class RollBack(Widen):
    """A rollback to the first of these releases that a device's model takes."""

    releases: Names = ()
    """By their names; none: the campaign's own fallbacks."""


_EXAMPLES: dict[type[Verb], str] = {
    Approve: '{"actor": "bob", "digest": "3f0c..."}',
    Pause: '{"actor": "ann", "reason": "storm", "leg": "activate"}',
    CancelDevice: '{"actor": "ann", "reason": "a complaint", "device": "00-DB-12-34-56-78-9A-BC"}',
    Widen: '{"actor": "ann", "reason": "checked by hand", "digest": "3f0c..."}',
    Resume: '{"actor": "ann", "reason": "the storm is over", "digest": "3f0c...", "leg": "activate"}',
    ChangePace: '{"actor": "ann", "reason": "a busy hub", "digest": "3f0c...", "per_second": 2.5}',
    RollBack: '{"actor": "ann", "reason": "silence", "digest": "3f0c...", "releases": ["acme-e470-0100"]}',
}
_V = TypeVar("_V", bound=Verb)
_R = TypeVar("_R")
_Handler = Callable[[Any, Any], Awaitable[_R]]
Test = Callable[[View], bool]
Says = Callable[[View], str]


def read(kind: type[_V], raw: Any) -> _V:
    """Read an Update's input; ApplicationError with one sentence that shows a right one."""
    try:
        verb: _V = parse(TypeAdapter(kind), raw, _EXAMPLES[kind])
    except RequestError as error:
        raise ApplicationError(str(error), type="BadInput", non_retryable=True) from error
    return verb


def read_halt(raw: Any) -> Verb:
    """Read a halt's input: whatever is sent, it halts; who and why are kept where they can be read."""
    given = raw if isinstance(raw, dict) else {"reason": raw} if isinstance(raw, str) else {}
    actor, reason, key = (words.printable(str(given.get(name) or "")) for name in ("actor", "reason", "key"))
    return Verb.model_construct(
        actor=words.line(actor, MOST_ACTOR) or UNKNOWN,
        reason=words.line(reason, MOST_REASON) or "no reason given",
        key=key[:200] or None,
    )


def example(kind: type[Verb]) -> str:
    """A right input of that verb."""
    return _EXAMPLES[kind]


def update(handler: _Handler[_R]) -> workflow.UpdateMethodMultiParam[[Any, Any], _R]:
    """An Update that the Web UI shows with its docstring."""
    # The SDK's own types of this decorator leave out that a handler may be asynchronous.
    documented: Any = workflow.update(description=handler.__doc__)
    update: workflow.UpdateMethodMultiParam[[Any, Any], _R] = documented(handler)
    return update
