"""`hanwave lookup`: what was done to a home's devices, in a customer's words; and `--hold`, which keeps updates away."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit

if TYPE_CHECKING:
    from hanwave.ledger.lookup import Home, HomeUpdate


def lookup(
    key: Annotated[
        str, typer.Argument(metavar="MPxN|EUI|HOME", help="An MPAN or MPRN, a device's EUI-64, or your own key.")
    ],
    hold: Annotated[
        str | None, typer.Option(metavar="REASON", help="Keep every update away from this home for 30 days.")
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Tell what was done to a home, when, and what comes next, in a customer's words. Each look is audited.

    Example: hanwave lookup 1200023305967
    """
    from hanwave.ledger import lookup as homes  # noqa: PLC0415
    from hanwave.ledger.database import connect  # noqa: PLC0415

    who = actor_or_user(actor)
    with open_ledger(database) as ledger, connect(ledger) as connection:
        if hold is not None:
            homes.hold_home(connection, key, hold, who, now(), own_user_id())
        found = homes.look(connection, key, who, now(), own_user_id())
    emit(asdict(found) if as_json else _told(found), as_json=as_json)


def _told(home: "Home") -> dict[str, Any]:
    held = [device.called for device in home.devices if device.held]
    away = "this home" if home.held else f"its {', its '.join(held)}"
    told: dict[str, Any] = {"updates": f"kept away from {away} by a hold" if held else "may go to this home"}
    for device in home.devices:
        updates = [_line(update) for update in device.updates] or ["No update was ever planned for it."]
        told[f"{device.called} {device.eui}"] = {"runs": device.version, "": updates[0]}
        told[f"{device.called} {device.eui}"] |= {"before " + str(n): line for n, line in enumerate(updates[1:], 1)}
    return told


def _line(update: "HomeUpdate") -> str:
    when = update.done_at or update.changed_at or update.sent_at
    dated = f"{when:%d %B %Y}: " if when else ""
    then = f" Next: {update.next}" if not update.done_at or update.next != "Nothing: it is done." else ""
    by = f" (by {update.next_at:%d %B %Y %H:%M} UTC)" if update.next_at else ""
    return f"{dated}{update.said} Version {update.version}.{then}{by}"
