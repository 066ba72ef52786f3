"""What the demo says at its end: how each device ended, what was sent, and the emulator's books against the ledger."""

from rich.table import Table
from sqlalchemy import Connection, Engine, text

from hanwave.ledger.database import connect
from infra.demo.books import disagreements
from infra.demo.scenario import BAD
from infra.demo.telling import console, say

_DOES = {
    "11.1": "send an image",
    "11.2": "read the version",
    "11.3": "activate",
    "11.4": "send a display its image",
    "8.2": "read the inventory",
}
_WORDS = {
    "settled": "runs that release",
    "superseded": "was never sent it: the campaign was rolled back before its turn",
}


def tell(ledger: Engine, admin: str) -> list[str]:
    """Print it all; what the books (of the emulator's admin URL) deny of the ledger, a sentence each."""
    with connect(ledger) as connection:
        console.print()
        console.print(_ended(connection))
        console.print()
        console.print(_sent(connection))
        console.print()
        left, denied = _unrestored(connection), disagreements(connection, admin)
    say(f"Devices left on the bad image: {', '.join(f'{eui}: {why}' for eui, why in left.items()) or 'none'}.")
    say(f"The emulator's books against the ledger: {len(denied)} disagreements.")
    return denied


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = column in {"devices", "requests", "POSTs"}
        table.add_column(column, justify="right" if number else "left", no_wrap=not number and column != "why")
    return table


def _ended(connection: Connection) -> Table:
    rows = connection.execute(
        text(
            "SELECT u.campaign, c.release, coalesce(u.outcome, u.state) AS ended, u.reason, count(*) AS n"
            " FROM campaign_device u JOIN campaign c ON c.name = u.campaign GROUP BY 1, 2, 3, 4 ORDER BY 1, 5 DESC"
        )
    )
    table = _table("campaign", "release", "devices", "ended as", "why")
    for row in rows:
        table.add_row(row.campaign, row.release, str(row.n), row.ended, _WORDS.get(row.ended, row.reason))
    return table


def _sent(connection: Connection) -> Table:
    rows = connection.execute(
        text("SELECT service_reference AS sr, count(*) AS n, sum(sends) AS posts FROM outbox GROUP BY 1 ORDER BY 1")
    )
    table = _table("Service Request", "requests", "POSTs", "to")
    for row in rows:
        table.add_row(row.sr, str(row.n), str(row.posts), _DOES[row.sr])
    return table


def _unrestored(connection: Connection) -> dict[str, str]:
    """Devices that the ledger has on the bad version, each with the last word on it."""
    rows = connection.execute(
        text(
            "SELECT d.eui, coalesce((SELECT coalesce(u.outcome, u.state) || ': ' || u.reason FROM campaign_device u"
            " WHERE u.eui = d.eui ORDER BY u.id DESC LIMIT 1), 'never in a rollback') AS why"
            " FROM device d WHERE d.firmware_version = :bad ORDER BY d.eui"
        ),
        {"bad": BAD},
    )
    return {row.eui: row.why for row in rows}
