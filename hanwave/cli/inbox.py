"""`hanwave inbox`: what was refused at the door or not understood, and taking it in after all."""

import sys
from typing import Annotated

import typer
from sqlalchemy import Engine

from hanwave import settings
from hanwave.cli.ledger_option import Database, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit
from hanwave.duis import TrustStore
from hanwave.keys import load_trust
from hanwave.ledger import forwarding, inbox, receipt

app = typer.Typer(no_args_is_help=True, help="Messages that could not be verified or understood.")


@app.command("list", epilog="Example: hanwave inbox list")
def list_(dsn: Database = None, as_json: AsJson = False) -> None:
    """List what waits for a person, with the reason of each; and how many messages wait to be routed and handed on."""
    with open_ledger(dsn) as ledger, ledger.connect() as connection:
        unrouted, age = inbox.lag(connection, now())
        facts = {
            "waiting_to_be_routed": unrouted,
            "oldest_of_them_seconds": round(age, 1),
            "waiting_to_be_handed_on": forwarding.waiting(connection),
            "messages": [
                {
                    "message": each.id,
                    "received": each.received_at,
                    "octets": each.size,
                    "copies": each.copies,
                    "verified": each.verified,
                    "reason": each.reason,
                }
                for each in receipt.refused(connection, user_id=own_user_id())
            ],
        }
    emit(facts, as_json=as_json)


@app.command(epilog="Example: hanwave inbox replay 17 18")
def replay(
    messages: Annotated[
        list[int] | None, typer.Argument(metavar="MESSAGE", help="Which (default: all that `list` shows).")
    ] = None,
    dsn: Database = None,
    as_json: AsJson = False,
) -> None:
    """Judge refused messages again, after the trust store was mended; route those again that were not understood."""
    trust = load_trust(settings.needed(settings.load().trust, "trust"))
    with open_ledger(dsn) as ledger:
        chosen = messages or _waiting(ledger)
        reasons = {number: _replay(ledger, number, trust) for number in chosen}
    refused = {str(number): reason for number, reason in reasons.items() if reason}
    emit({"taken_in": len(reasons) - len(refused), "still_refused": refused}, as_json=as_json)
    if refused:
        sys.stderr.write(f"hanwave: {len(refused)} of {len(reasons)} messages are still refused\n")
        raise typer.Exit(1)


def _waiting(ledger: Engine) -> list[int]:
    with ledger.connect() as connection:
        return [each.id for each in receipt.refused(connection, user_id=own_user_id())]


def _replay(ledger: Engine, number: int, trust: TrustStore) -> str | None:
    # One transaction each: what one message takes does not hang on the next.
    with ledger.begin() as connection:
        return receipt.replay(connection, number, trust, now(), own_user_id())
