"""`hanwave budget`: the anomaly-detection thresholds, and what is used of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hanwave import settings
from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit, read_file
from hanwave.errors import HanwaveError
from hanwave.ledger import budget_file, budgets, lost_use

if TYPE_CHECKING:
    from hanwave.ledger.budgets import Level

app = typer.Typer(no_args_is_help=True, help="Service Requests against the supplier's anomaly-detection thresholds.")


@app.command("import", epilog="Example: hanwave budget import thresholds.yaml")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="YAML (a list) or CSV: user_id, variant, period (24h), limit, reserve, others, per_device, warn.",
        ),
    ],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Put a table in the place of all thresholds of the User IDs that it names. A wrong row refuses the file."""
    table = budget_file.read_thresholds(read_file(file, "the thresholds"), file.name)
    with open_ledger(database) as ledger, ledger.begin() as connection:
        users = budgets.import_thresholds(connection, table, actor_or_user(actor), now())
    emit({"file": str(file), "thresholds": len(table), "user_ids": users}, as_json=as_json)


@app.command(epilog="Example: hanwave budget others tariffs-today.csv")
def others(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV: user_id, variant, at (with its zone), units sent until then.")
    ],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Count what the supplier's other systems sent. The same time again replaces its figure."""
    rows = budget_file.read_others(read_file(file, "what others sent"), file.name)
    with open_ledger(database) as ledger, ledger.begin() as connection:
        kept = budgets.feed_others(connection, rows)
    emit({"file": str(file), "figures": kept}, as_json=as_json)


@app.command(epilog="Example: hanwave budget show --json")
def show(
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show how much of each threshold is used, by whom, and what forward requests may still use: of the setting user_id, if any."""
    with open_ledger(database) as ledger, ledger.connect() as connection:
        found = budgets.levels(connection, now(), own_user_id())
    emit({"thresholds": [_facts(level) for level in found]}, as_json=as_json)


@app.command(epilog='Example: hanwave budget restate 11.3 --sent 120 --reason "the DCC\'s own count, ticket 4711"')
def restate(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="Of which Service Request: 11.1, 11.3, 11.4.")],
    *,
    sent: Annotated[int, typer.Option(min=0, help="How many were sent in the time that the ledger has lost.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="How that is known; it is kept, and shown.")],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """After a restore all that thresholds left room for counts as sent: say what was, by the DCC's figures, of the setting user_id."""
    if not reason.strip():
        raise HanwaveError("--reason is empty: it should say how that is known")
    user_id = str(settings.needed(settings.load().user_id, "user_id"))
    with open_ledger(database) as ledger, ledger.begin() as connection:
        counted = lost_use.restate(connection, user_id, variant, sent, (actor_or_user(actor), reason), now())
    emit({"user_id": user_id, "variant": variant, "counted": counted, "sent": sent}, as_json=as_json)


def _facts(level: "Level") -> dict[str, object]:
    used = level.used
    return {
        "user_id": level.threshold.user_id,
        "variant": level.threshold.variant,
        "period": str(level.threshold.period),
        "limit": level.threshold.limit,
        "used": {
            "forward": used.forward,
            "withdraw": used.withdraw,
            "observe": used.observe,
            "others": used.others,
        },
        "share": round(level.share, 4),
        "room": level.room,
        "warning": level.warning,
    }
