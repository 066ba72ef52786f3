"""Run the demo: `python -m infra.demo [--state FOLDER] [--keep]`. Ends 0 if all went as it should, else 1, saying what."""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from hanwave import settings
from hanwave.client import Campaign, Client
from hanwave.credentials import Certificate, load_private_key
from hanwave.errors import HanwaveError
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.document import read_release
from hanwave.ledger import database, fleet, releases
from hanwave.ledger.cpl import import_cpl
from hanwave.ledger.progress import Progress
from infra.demo.books import disagreements
from infra.demo.scenario import CAMPAIGNS, FAULTS, GOOD, ILL, SIGNED
from infra.stack.declared import PROCESSES, SETTINGS
from infra.stack.stack import Stack

_PATIENCE = 280.0
_console = Console(highlight=False)


class DemoError(HanwaveError):
    """Something did not go as it should."""


def main(
    state: Annotated[Path | None, typer.Option(help="The state folder; else a new one, removed at the end.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, to look around.")] = False,
) -> None:
    """Roll releases out to a fleet of 400, with real parts: three campaigns go well, one is held and rolled back."""
    with ExitStack() as end:
        folder = state or Path(tempfile.mkdtemp(prefix="hanwave-demo-"))
        if not state and not keep:
            end.callback(shutil.rmtree, folder, ignore_errors=True)
        stack = Stack(folder, processes=PROCESSES, settings=SETTINGS)
        if keep:
            stack.start(tied=False)
            stack.wait_ready()
        else:
            end.enter_context(stack)
        os.environ["HANWAVE_CONFIG"] = str(folder / "hanwave.toml")
        _run(stack, folder / "samples")
        if keep:
            _say(f"Everything still runs: hanwave status --state {folder}; hanwave down --state {folder}")


def _run(stack: Stack, samples: Path) -> None:
    began = time.monotonic()
    ledger = database.engine(settings.needed(settings.load().postgres, "postgres").dsn.get_secret_value())
    try:
        _say(f"The Temporal Web UI is at {stack.ui}/namespaces/default/workflows")
        _load(ledger, samples)
        admin = f"http://127.0.0.1:{stack.port('emulator_admin')}"
        httpx.post(f"{admin}/faults", json={"faults": FAULTS}).raise_for_status()
        asyncio.run(_campaigns())
        _summary(ledger, admin, time.monotonic() - began)
    finally:
        ledger.dispose()


def _load(ledger: Engine, samples: Path) -> None:
    """The fleet, the CPL and the releases, as an operator's commands import them."""
    now = datetime.now(UTC)
    pki = samples / "pki"
    key = load_private_key((pki / "supplier-gbcs.key").read_bytes(), "the supplier's GBCS key")
    certificate = Certificate.load((pki / "supplier-gbcs.pem").read_bytes(), "the supplier's GBCS certificate")
    with ledger.begin() as connection, (samples / "fleet.csv").open("rb") as file:
        done = fleet.import_fleet(connection, file, samples / "refused.csv", "demo", now)
    entries = read_cpl((samples / "cpl.csv").read_bytes().splitlines(), read_column_map(default_map_text())).entries
    with ledger.begin() as connection:
        import_cpl(connection, entries, "demo", now)
        for path in sorted((samples / "releases").glob("*.json")):
            releases.import_release(connection, read_release(path.read_bytes()), (), "demo", now)
        for name in SIGNED:
            releases.sign_release(connection, name, key, certificate, "demo", now)
    _say(
        f"Imported {done.added} devices, {len(entries)} CPL entries and {len(CAMPAIGNS) + 2} releases, and signed them"
    )


async def _campaigns() -> None:
    async with Client.connect() as client:
        for name, request in CAMPAIGNS.items():
            draft = await client.plan(name, {**request, "author": "demo"})
            _say(f"{name}: {request['release']} in waves of {', '.join(str(wave.devices) for wave in draft.waves)}")
            await client.start(name, {**request, "author": "demo"})
        followed = [_follow(client.campaign(name)) for name in GOOD]
        await asyncio.wait_for(asyncio.gather(*followed, _hold_and_roll_back(client)), _PATIENCE)


async def _follow(campaign: Campaign) -> None:
    """Print what changes, to the end; every wave must pass its gate."""
    said = ""
    async for view in campaign.watch():
        line = _line(campaign, view)
        if line != said:
            said = line
            _say(line)
    wrong = [f"wave {w.number}: {w.verdict}: {w.reason}" for w in view.waves if not w.passed]
    if wrong:
        raise DemoError(f"{campaign.name} should have passed every gate: {'; '.join(wrong)}")


async def _hold_and_roll_back(client: Client) -> None:
    """The bad image: held at its first gate, then rolled back, as an operator does it."""
    campaign = client.campaign(ILL)
    async for view in campaign.watch():
        _say(_line(campaign, view))
        if view.waits_for.startswith("somebody"):
            break
    held = view.waves[0]
    if held.passed or any(w.opened for w in view.waves[1:]):
        raise DemoError(f"{ILL} should have been held at its first gate")
    _say(f"{ILL}: HELD. Wave 1 says {held.verdict}: {held.reason}")
    why = "devices go quiet after they report success"
    restore = await campaign.roll_back(reason=why, actor="demo-operator", digest=view.digest)
    _say(f"{ILL}: rolls back by {', '.join(restore.campaigns)}; left out: {restore.left_out or 'none'}")
    await asyncio.gather(*(_follow(client.campaign(name)) for name in restore.campaigns))
    await campaign.wait()


def _line(campaign: Campaign, view: Progress) -> str:
    funnel = ", ".join(f"{n} {state}" for state, n in view.funnel.items())
    return f"{campaign.name}: {funnel}" + (f"; waits for {view.waits_for}" if view.waits_for else "")


def _say(sentence: str) -> None:
    _console.print(f"[dim]{datetime.now(UTC):%H:%M:%S}[/dim] {sentence}", soft_wrap=True)


def _summary(ledger: Engine, admin: str, seconds: float) -> None:
    with ledger.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT campaign, coalesce(outcome, state) AS ended, reason, count(*) AS n FROM campaign_device"
                " GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC"
            )
        ).all()
        sent = connection.execute(
            text("SELECT service_reference, count(*) AS n, sum(sends) AS posts FROM outbox GROUP BY 1 ORDER BY 1")
        ).all()
        denied = disagreements(connection, admin)
        left = _unrestored(connection)
    table = Table("campaign", "ended as", "devices", "why", box=None)
    for row in rows:
        table.add_row(row.campaign, row.ended, str(row.n), "" if row.ended in ("settled", "superseded") else row.reason)
    _console.print(table)
    _say("Requests: " + ", ".join(f"{row.n} x SR {row.service_reference} ({row.posts} POSTs)" for row in sent))
    _say(f"Devices left on the bad image: {', '.join(f'{eui}: {why}' for eui, why in left.items()) or 'none'}")
    _say(f"The emulator's books against the ledger: {len(denied)} disagreements. {seconds:.0f} s in all.")
    if denied:
        raise DemoError(f"the books deny what the ledger claims: {'; '.join(denied[:5])}")


def _unrestored(connection: Any) -> dict[str, str]:
    """Devices that the ledger has on the bad version, each with the last word on it."""
    rows = connection.execute(
        text(
            "SELECT d.eui, coalesce((SELECT coalesce(u.outcome, u.state) || ': ' || u.reason FROM campaign_device u"
            " WHERE u.eui = d.eui ORDER BY u.id DESC LIMIT 1), 'never in a rollback') AS why"
            " FROM device d WHERE d.firmware_version = '01040000' ORDER BY d.eui"
        )
    )
    return {row.eui: row.why for row in rows}


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except HanwaveError as error:
        sys.exit(f"demo: {error}")
