"""`hanwave webhook`: which of the supplier's own systems are told of campaigns, and what of it they did not take."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from hanwave.cli.ledger_option import Actor, Database, actor_or_user, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit
from hanwave.ledger import webhooks
from hanwave.ledger.database import connect

app = typer.Typer(no_args_is_help=True, help="Tell the supplier's own systems of campaigns, by signed HTTPS requests.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.")]
_LONGEST = 4_000
"""Characters of an address that is read from standard input."""


@app.command(epilog="Example: hanwave webhook add billing https://events.example.com/hanwave")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A short name: a-z, 0-9 and '-'. Its secret's file has it.")
    ],
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="Where events are posted to: https://..., or - for a line of standard input (a secret)."
        ),
    ],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Have a system told of what happens from now on, signed with the secret in the file that is printed (made if need be)."""
    # Here and not above: a command's help need not wait for them.
    from hanwave import settings, webhook_secrets  # noqa: PLC0415

    if url == "-":
        url = sys.stdin.readline(_LONGEST).strip()
    webhooks.check(name, url)
    secret = webhook_secrets.ensure(settings.needed(settings.load().webhooks, "webhooks").secrets, name)
    with open_ledger(database) as ledger, connect(ledger) as connection:
        webhooks.add(connection, name, url, actor_or_user(actor), now(), own_user_id())
    emit({"name": name, "url": url, "secret": str(secret)}, as_json=as_json)


@app.command("list", epilog="Example: hanwave webhook list --json")
def list_(database: Database = None, as_json: AsJson = False) -> None:
    """List the webhooks: of the setting user_id, if any; and of which campaigns each has events yet to take, and why."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        found = webhooks.listed(connection, own_user_id())
    hooks = [asdict(hook) for hook in found]
    if as_json:
        emit({"webhooks": hooks}, as_json=True)
        return
    behind = [{"webhook": hook["name"], **told} for hook in hooks for told in hook.pop("behind")]
    emit({"webhooks": hooks, "behind": behind}, as_json=False)


@app.command(epilog="Example: hanwave webhook remove billing --reason 'that system is gone'")
def remove(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why.")],
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Tell a system no more, and forget how far it was told; its secret's file is left where it is."""
    with open_ledger(database) as ledger, connect(ledger) as connection:
        webhooks.remove(connection, name, reason, actor_or_user(actor), now(), own_user_id())
    emit({"name": name, "removed": True}, as_json=as_json)


@app.command(epilog="Example: hanwave webhook resend billing --campaign spring --after start")
def resend(
    name: Name,
    campaign: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of that campaign (default: of each in which an event failed).")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="All after the event with that webhook-id, or start (default: from the one that failed)."
        ),
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Send again: from the event that failed or was given up, or everything of a campaign after another event."""
    what = webhooks.Again(actor_or_user(actor), campaign, after)
    with open_ledger(database) as ledger, connect(ledger) as connection:
        done = webhooks.resend(connection, name, what, now(), own_user_id())
    emit({"name": name, "campaigns": done}, as_json=as_json)
