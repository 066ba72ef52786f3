"""`hanwave campaign outcomes` and `retry`: how a campaign's devices ended, and a new run for those that did not end well."""

import csv
import sys
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from hanwave.cli.campaign.options import Name, run
from hanwave.cli.ledger_option import Actor, Database, actor_or_user
from hanwave.cli.output import AsJson, emit, line_of_json
from hanwave.cli.request_option import read_policy
from hanwave.errors import HanwaveError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hanwave.client import Client

Outcomes = Annotated[
    list[str] | None,
    typer.Option("--outcome", metavar="OUTCOME", help="Only these, such as not_delivered. May be given again."),
]


def outcomes(
    name: Name,
    outcome: Outcomes = None,
    file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write there (default: to standard output).")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write how each device's update ended, and why: as CSV, or to standard output with --json as a line of JSON each."""
    wanted = _known(outcome or [])

    async def write(client: "Client") -> int:
        await client.campaign(name).status()  # refused before a file is opened, and emptied
        with _opened(file) as out:
            return await _write(client, name, wanted, out, lines=as_json and not file)

    try:
        written = run(database, write, prints=file is None)
    except OSError as error:
        if not file:
            raise  # `| head` had enough: nothing to tell
        raise HanwaveError(f"{file} cannot be written: {error.strerror}") from error
    if file:
        emit({"campaign": name, "file": str(file), "devices": written}, as_json=as_json)


def _known(outcomes: list[str]) -> set[str]:
    from hanwave.rollout.decide import Outcome  # noqa: PLC0415

    known = ["settled", *Outcome]
    for each in outcomes:
        if each not in known:
            raise HanwaveError(f"there is no outcome {each[:40]!r}; there are {', '.join(known)}")
    return set(outcomes)


def _opened(file: Path | None) -> "AbstractContextManager[TextIO]":
    return file.open("w", encoding="utf-8", newline="") if file else nullcontext(sys.stdout)


async def _write(client: "Client", name: str, wanted: set[str], out: TextIO, *, lines: bool) -> int:
    from hanwave.ledger.progress import DeviceOutcome  # noqa: PLC0415

    table = csv.DictWriter(out, [each.name for each in fields(DeviceOutcome)], lineterminator="\n")
    if not lines:
        table.writeheader()
    written = 0
    async for each in client.campaign(name).outcomes():
        if wanted and each.outcome not in wanted:
            continue
        if lines:
            out.write(line_of_json(asdict(each)) + "\n")
        else:
            table.writerow(asdict(each))
        written += 1
    return written


def retry(
    name: Name,
    outcome: Outcomes = None,
    new: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The new run's name (default: NAME-retry-1, and so on).")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="How it is run, JSON (default: as before, which few devices may be too few for)."
        ),
    ] = None,
    database: Database = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Start a new campaign over the devices that did not end well: the same release and policy. It needs its approvals."""
    who = actor_or_user(actor)
    instead = read_policy(policy) if policy else None

    async def begin(client: "Client") -> dict[str, object]:
        campaign = await client.retry(name, outcomes=outcome or (), name=new, author=who, policy=instead)
        status = await campaign.status()
        return {"campaign": campaign.name, "retry_of": name, "digest": status.digest, "waits_for": status.waits_for}

    emit(run(database, begin), as_json=as_json)
