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
from typing import Annotated

import httpx
import typer
from sqlalchemy import Engine

from hanwave import settings
from hanwave.client import Campaign, Client
from hanwave.credentials import Certificate, load_private_key
from hanwave.errors import HanwaveError
from hanwave.firmware.columns import default_map_text, read_column_map
from hanwave.firmware.cpl import read_cpl
from hanwave.firmware.document import read_release
from hanwave.ledger import database, fleet, releases
from hanwave.ledger.cpl import import_cpl
from infra.demo.scenario import FAULTS, GOOD, ILL, SIGNED
from infra.demo.summary import tell
from infra.demo.telling import Teller, say
from infra.sample_campaigns import CAMPAIGNS
from infra.stack.declared import PROCESSES, SETTINGS
from infra.stack.stack import Stack

_PATIENCE = 480.0  # seconds: three times what an idle machine of two cores takes
_OPERATOR, _APPROVER = "ann", "bob"


class DemoError(HanwaveError):
    """Something did not go as it should."""


def main(
    state: Annotated[Path | None, typer.Option(help="The state folder; else a new one, removed at the end.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, to look around.")] = False,
) -> None:
    """Roll releases out to a fleet of 400, with real parts: three campaigns go well, one is held and rolled back."""
    with ExitStack() as end:
        folder = (state or Path(tempfile.mkdtemp(prefix="hanwave-demo-"))).absolute()
        if not state and not keep:
            end.callback(shutil.rmtree, folder, ignore_errors=True)
        stack = Stack(folder, processes=PROCESSES, settings=SETTINGS)
        say("Starting PostgreSQL, Temporal, the DCC emulator and hanwave's own processes: up to a minute")
        if keep:
            stack.start(tied=False)
            stack.wait_ready()
        else:
            end.enter_context(stack)
        os.environ["HANWAVE_CONFIG"] = str(folder / "hanwave.toml")
        _run(stack, folder / "samples")
        if keep:
            _look_around(stack)


def _look_around(stack: Stack) -> None:
    say(f"Everything still runs. The Temporal Web UI: {stack.ui}")
    say(f"To ask it from a shell: export HANWAVE_CONFIG={stack.folder}/hanwave.toml; hanwave campaign list")
    say(f"To stop it all: hanwave down --state {stack.folder}")


def _run(stack: Stack, samples: Path) -> None:
    began = time.monotonic()
    ledger = database.engine(settings.needed(settings.load().postgres, "postgres").dsn.get_secret_value())
    try:
        say(f"All run. The Temporal Web UI: {stack.ui}")
        _load(ledger, samples)
        admin = f"http://127.0.0.1:{stack.port('emulator_admin')}"
        httpx.post(f"{admin}/faults", json={"faults": FAULTS}).raise_for_status()
        asyncio.run(_campaigns())
        if denied := tell(ledger, admin):
            raise DemoError(f"the books deny what the ledger claims: {'; '.join(denied[:5])}")
        say(
            f"As it should be: three campaigns went well, one was held and rolled back. {time.monotonic() - began:.0f} s."
        )
    finally:
        ledger.dispose()


def _load(ledger: Engine, samples: Path) -> None:
    """The fleet, the CPL and the releases, as an operator's commands import them."""
    now = datetime.now(UTC)
    pki = samples / "pki"
    key = load_private_key((pki / "supplier-gbcs.key").read_bytes(), "the supplier's GBCS key")
    certificate = Certificate.load((pki / "supplier-gbcs.pem").read_bytes(), "the supplier's GBCS certificate")
    with ledger.begin() as connection, (samples / "fleet.csv").open("rb") as file:
        done = fleet.import_fleet(connection, file, samples / "refused.csv", _OPERATOR, now)
    entries = read_cpl((samples / "cpl.csv").read_bytes().splitlines(), read_column_map(default_map_text())).entries
    documents = sorted((samples / "releases").glob("*.json"))
    with ledger.begin() as connection:
        import_cpl(connection, entries, _OPERATOR, now)
        for path in documents:
            releases.import_release(connection, read_release(path.read_bytes()), (), _OPERATOR, now)
        for name in SIGNED:
            releases.sign_release(connection, name, key, certificate, _OPERATOR, now)
    say(f"Imported {done.added} devices, {len(entries)} CPL entries and {len(documents)} releases; signed the images")


async def _campaigns() -> None:
    async with Client.connect() as client:
        for name, request in CAMPAIGNS.items():
            await _begin(client, name, request)
        followed = [_follow(client.campaign(name)) for name in GOOD]
        try:
            await asyncio.wait_for(asyncio.gather(*followed, _hold_and_roll_back(client)), _PATIENCE)
        except TimeoutError as error:
            raise DemoError(
                f"the campaigns are not over after {_PATIENCE:.0f} s: run it again with --keep, and see what each waits for"
                " by `hanwave campaign status NAME`"
            ) from error


async def _begin(client: Client, name: str, request: dict[str, object]) -> None:
    """Plan it, start it, and have another than its author approve the plan that was read."""
    plan = await client.plan(name, request)
    campaign = await client.start(name, request)
    await campaign.approve(digest=plan.digest, actor=_APPROVER)
    waves = ", ".join(str(wave.devices) for wave in plan.waves)
    Teller(name).say(f"{request['release']}, in waves of {waves}; by {request['author']}, approved by {_APPROVER}")


async def _follow(campaign: Campaign) -> None:
    """Tell it to the end; every wave must pass its gate."""
    teller = Teller(campaign.name)
    async for view in campaign.watch():
        teller.see(view)
    wrong = [f"wave {w.number}: {w.verdict}: {w.reason}" for w in view.waves if not w.passed]
    if wrong:
        raise DemoError(f"{campaign.name} should have passed every gate: {'; '.join(wrong)}")
    teller.say("over")


async def _hold_and_roll_back(client: Client) -> None:
    """The bad image: held at its first gate, then rolled back, as an operator does it."""
    campaign, teller = client.campaign(ILL), Teller(ILL)
    async for view in campaign.watch():
        teller.see(view)
        if view.waits_for.startswith("somebody"):
            break
    if view.waves[0].passed or any(w.opened for w in view.waves[1:]):
        raise DemoError(f"{ILL} should have been held at its first gate")
    teller.say("held: its devices reported success, and then did not answer. Rolling it back")
    why = "devices go quiet after they report success"
    restore = await campaign.roll_back(reason=why, actor=_OPERATOR, digest=view.digest)
    teller.say(f"rolls back by {', '.join(restore.campaigns)}; left out: {restore.left_out or 'none'}")
    await asyncio.gather(*(_follow(client.campaign(name)) for name in restore.campaigns))
    await campaign.wait()
    teller.say("over: rolled back")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except HanwaveError as error:
        sys.exit(f"demo: {error}")
