"""The inputs of a campaign's Updates, and its page: short and forgiving, and a mistake shows a right one."""

from collections.abc import Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

    from hanwave.ledger.overview import View, WaveView
    from hanwave.rollout.events import Leg
    from hanwave.rollout.request import Names, RequestError, parse


class Verb(BaseModel):
    """An act by somebody, for a reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    key: str | None = Field(default=None, min_length=1, max_length=200)
    """The act's idempotency key: the same again is the same act. The Update's own id where none is given."""


class Approve(Verb):
    """An approval of a plan, by its digest."""

    reason: str = "approved"
    digest: str


class Pause(Verb):
    """A pause of one leg, or of both."""

    leg: Leg | None = None


class RollBack(Verb):
    """A rollback to the first of these releases that a device's model takes."""

    releases: Names = ()


_EXAMPLES: dict[type[Verb], str] = {
    Verb: '{"actor": "ann", "reason": "checked by hand"}',
    Approve: '{"actor": "bob", "digest": "3f0c..."}',
    Pause: '{"actor": "ann", "reason": "storm", "leg": "activate"}',
    RollBack: '{"actor": "ann", "reason": "meters fall silent", "releases": ["acme-e470-0100"]}',
}
_V = TypeVar("_V", bound=Verb)
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
    actor, reason = given.get("actor"), given.get("reason")
    key = str(given.get("key") or "")[:200] or None
    return Verb(actor=str(actor or "claimed:unknown")[:200], reason=str(reason or "no reason given")[:1000], key=key)


def example(kind: type[Verb]) -> str:
    """A right input of that verb."""
    return _EXAMPLES[kind]


def page(view: View, waiting: str) -> str:
    """The campaign's page: waves, funnel, what it waits for, what stops it, in Markdown."""
    waves = "".join(f"| {w.number} | {w.size} | {_verdict(w)} |\n" for w in view.waves)
    funnel = "".join(f"| {state} | {n} |\n" for state, n in view.funnel.items())
    stops = "".join(f"- {stop}\n" for stop in view.stops)
    parts = [
        f"## {view.name}: {view.release}\n\nPlan `{view.digest[:16]}`, {view.status}. "
        + (f"**Waits for** {waiting}." if waiting else "**Over.**"),
        f"**Stopped by**\n\n{stops}" if stops else "",
        f"| wave | devices | verdict |\n|---|---|---|\n{waves}",
        f"| state | devices |\n|---|---|\n{funnel}",
        "Updates: `halt`, `pause`, `resume`, `go_on`, `roll_back`, `approve`." if waiting else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _verdict(wave: WaveView) -> str:
    if wave.verdict is None:
        return "running" if wave.opened else "waiting"
    return f"{wave.verdict}: {wave.reason}" + (f" (passed by {wave.passed_by})" if wave.passed_by else "")
