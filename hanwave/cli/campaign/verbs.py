"""The verbs that steer a campaign: each leaves a note of who asked for it, and why."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hanwave.cli.campaign.options import Digest, Key, Leg, Name, Reason, run
from hanwave.cli.ledger_option import Actor, Database, actor_or_user, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit
from hanwave.errors import HanwaveError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hanwave.client import Campaign, Halted

_T = TypeVar("_T")


def _verb(database: str | None, name: str, act: "Callable[[Campaign], Awaitable[_T]]") -> _T:
    return run(database, lambda client: act(client.campaign(name)))


def approve(
    name: Name,
    digest: Annotated[str, typer.Option(help="The digest of the plan that you have read.")] = "",
    reason: Reason = "approved",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Approve a campaign's plan. Its author cannot, and another plan's digest is refused."""
    who = actor_or_user(actor)
    n = _verb(database, name, lambda campaign: campaign.approve(digest=digest, actor=who, reason=reason, key=key))
    emit({"campaign": name, "approved_by": who, "approvals": n}, as_json=as_json)


def pause(
    name: Name,
    leg: Leg = None,
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Stop a campaign's distribution, activation, or both, for a while. Works with Temporal down."""
    who = actor_or_user(actor)
    paused = _verb(database, name, lambda campaign: campaign.pause(reason=reason, actor=who, leg=leg, key=key))
    emit({"campaign": name, "paused": leg or "both legs", **asdict(paused)}, as_json=as_json)


def cancel_device(
    name: Name,
    eui: Annotated[str, typer.Argument(metavar="EUI", help="The device, by its EUI-64.")],
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End one device's update in a campaign. What was sent is seen through; nothing more is. Works with Temporal down."""
    who = actor_or_user(actor)
    done = _verb(database, name, lambda campaign: campaign.cancel_device(eui, reason=reason, actor=who, key=key))
    emit({"campaign": name, **asdict(done)}, as_json=as_json)


def resume(
    name: Name,
    digest: Digest = "",
    leg: Leg = None,
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Lift a campaign's own halts, pauses and breakers, or the pauses of one leg."""
    who = actor_or_user(actor)
    lifted = _verb(
        database,
        name,
        lambda campaign: campaign.resume(reason=reason, actor=who, digest=digest, leg=leg, key=key),
    )
    emit({"campaign": name, "lifted": lifted}, as_json=as_json)


def go_on(
    name: Name,
    digest: Digest = "",
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Let the next wave begin although the gate of the last one did not pass."""
    who = actor_or_user(actor)
    done = _verb(database, name, lambda campaign: campaign.go_on(reason=reason, actor=who, digest=digest, key=key))
    emit({"campaign": name, "done": done}, as_json=as_json)


def change_pace(
    name: Name,
    per_second: Annotated[float, typer.Argument(metavar="RATE", help="Activations a second, at most the plan's.")],
    digest: Digest = "",
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Slow a campaign's activations down, or let them go as fast as its plan says again."""
    who = actor_or_user(actor)
    done = _verb(
        database,
        name,
        lambda campaign: campaign.change_pace(per_second, reason=reason, actor=who, digest=digest, key=key),
    )
    emit({"campaign": name, "done": done}, as_json=as_json)


def roll_back(
    name: Name,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="RELEASE", help="Where to; each device takes the first that its model does. Again: more."),
    ] = None,
    digest: Digest = "",
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End a campaign, and take its devices back. Without --to: to the fallbacks that its request named."""
    who = actor_or_user(actor)
    done = _verb(
        database,
        name,
        lambda campaign: campaign.roll_back(reason=reason, actor=who, digest=digest, releases=to or (), key=key),
    )
    emit({"campaign": name, **asdict(done)}, as_json=as_json)


def halt(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The campaign.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything, of everybody.")] = False,
    user: Annotated[str | None, typer.Option(metavar="EUI", help="All that goes out under one User ID.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help='One model, as in "121D/1111".')] = None,
    campaign: Annotated[str | None, typer.Option(metavar="NAME", help="One campaign.")] = None,
    wave: Annotated[str | None, typer.Option(metavar="NAME/N", help="One wave, as in spring-e470/2.")] = None,
    reason: Reason = "no reason given",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Stop everything forward there at once, and list what is beyond recall. Needs neither Temporal nor a worker."""
    named = {"user": user, "model": model, "campaign": campaign or name, "wave": wave}
    scopes = [(kind, value) for kind, value in named.items() if value] + ([("all", "")] if everything else [])
    if len(scopes) != 1 or (campaign and name):
        raise HanwaveError("say once what to halt: a campaign's name, or --all, --user, --model or --wave")
    who = actor_or_user(actor)
    halted = run(database, lambda client: client.halt(*scopes[0], reason=reason, actor=who, key=key))
    emit(_halt_facts(halted, " ".join(scopes[0]).strip(), as_json=as_json), as_json=as_json)


def _halt_facts(halted: "Halted", scope: str, *, as_json: bool) -> dict[str, object]:
    facts: dict[str, object] = {"halted": scope, **asdict(halted)}
    if as_json:
        return facts
    quiet = halted.quiet_at or "not yet: a request may still be under way; it is waited for 60 s at most"
    beyond = [f"{each.eui} of {each.campaign}: {each.why}" for each in halted.beyond_recall]
    told = "yes" if halted.engine_told else "no: it did not answer, and its pages show the halt later; the halt holds"
    return facts | {
        "quiet_at": quiet,
        "beyond_recall": {str(number): each for number, each in enumerate(beyond, 1)} or "nothing",
        "engine_told": told,
    }


def lift(
    stop: Annotated[int | None, typer.Argument(metavar="ID", help="The halt's number (default: list them).")] = None,
    reason: Reason = "",
    key: Key = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Lift a halt of all, of a User ID or of a model; without a number list those that stand. A campaign's own: resume."""
    if stop is None:
        with open_ledger(database) as ledger, ledger.connect() as connection:
            from hanwave.ledger import lifting  # noqa: PLC0415

            found = lifting.standing(connection, own_user_id())
        emit({"stops": [asdict(each) for each in found]}, as_json=as_json)
        return
    who = actor_or_user(actor)
    lifted = run(database, lambda client: client.lift(stop, reason=reason, actor=who, key=key))
    emit({"stop": stop, "lifted": lifted}, as_json=as_json)
