"""`hanwave up`, `down`, `status` and `doctor`: the embedded stack on the command line.

infra.commands names them to hanwave.cli.
"""

import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hanwave import settings
from hanwave.cli.output import AsJson, emit
from hanwave.cli.progress import working
from infra.stack.declared import METRICS_PORTS, PROCESSES, SETTINGS
from infra.stack.ports import HOST
from infra.stack.processes import StackError
from infra.stack.stack import Stack
from infra.stack.state import Row, State

Folder = Annotated[Path | None, typer.Option("--state", help="The state folder (default: the setting `state`).")]
PortBase = Annotated[
    int | None, typer.Option(help="Number the ports from here; otherwise free ones are chosen, and kept.")
]
Foreground = Annotated[bool, typer.Option("--foreground/--detach", help="Stay, and stop everything with Ctrl-C.")]


def up(
    *,
    state: Folder = None,
    port_base: PortBase = None,
    foreground: Foreground = False,
    as_json: AsJson = False,
) -> None:
    """Start the embedded stack, or go on where the last one stopped.

    Example: hanwave up --port-base 7200
    """
    config = settings.load()
    if config.environment is not settings.Environment.EMULATOR:
        raise StackError(
            f"the setting environment is {config.environment}: the embedded stack is for the emulator only"
        )
    stack = Stack(state or config.state, processes=PROCESSES, settings=SETTINGS, port_base=port_base)
    began = time.monotonic()
    stack.start(tied=foreground)
    try:
        if foreground:
            # Both: a shell that puts us in the background has us ignore SIGINT.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
        with working():
            stack.wait_ready()
        emit({**_addresses(stack), "ready_in_s": round(time.monotonic() - began, 1)}, as_json=as_json)
        if foreground:
            stack.wait_ended()
    except KeyboardInterrupt:
        stack.stop()
    except BaseException:
        stack.stop()
        raise


def _addresses(stack: Stack) -> dict[str, str]:
    return {
        "web_ui": stack.ui,
        "temporal": stack.temporal,
        "postgres": stack.dsn,
        **{f"metrics_{job}": f"http://{HOST}:{stack.port(port)}/metrics" for job, port in METRICS_PORTS.items()},
        "lookup": f"http://{HOST}:{stack.port('lookup')}",
        "prometheus": str(stack.folder / "prometheus.yaml"),
        "settings": str(stack.folder / "hanwave.toml"),
        "logs": str(stack.folder / "log"),
        "samples": str(stack.folder / "samples"),
    }


def down(*, state: Folder = None, as_json: AsJson = False) -> None:
    """Stop the embedded stack; leave nothing running, and the data where it is.

    Example: hanwave down
    """
    stack = Stack(_existing(state))
    was_running = stack.state().is_running
    with working():
        forced = stack.stop()
    emit({"was_running": was_running, "ended_by_force": forced}, as_json=as_json)


def status(*, state: Folder = None, as_json: AsJson = False) -> None:
    """Show each process of the embedded stack; exit with 1 unless all are ready.

    Example: hanwave status --json
    """
    folder = _existing(state)
    now = State.read(folder)
    rows = {name: _facts(row) for name, row in now.processes.items()}
    if as_json:
        supervisor = now.supervisor.pid if now.supervisor and now.is_running else None
        emit({"supervisor": supervisor, "ports": now.ports, "processes": rows}, as_json=True)
    else:
        # A narrow terminal wraps; a table that cuts off the log's path helps nobody.
        Console(width=160).print(_table(rows))
    if not now.is_running:
        raise StackError(f"no stack runs in {folder}: `hanwave up` starts it")
    waiting = [name for name, row in now.processes.items() if not row.is_up]
    if waiting:
        raise StackError(f"not ready: {', '.join(waiting)}")


def _facts(row: Row) -> dict[str, Any]:
    alive = row.identity is not None and row.identity.alive
    gone = row.identity is not None and not alive
    return {
        "state": "gone" if gone else row.state,
        "pid": row.identity.pid if row.identity and alive else None,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row.since)),
        "restarts": row.restarts,
        "port": row.port,
        "log": row.log,
        "note": row.note,
    }


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    columns = ("state", "pid", "since", "restarts", "port", "log", "note")
    table = Table("process", *columns, box=None, pad_edge=False)
    for name, facts in rows.items():
        table.add_row(name, *("-" if facts[column] in {None, ""} else str(facts[column]) for column in columns))
    return table


def doctor(*, state: Folder = None, as_json: AsJson = False) -> None:
    """Find what is wrong with this installation, and say what to do; exit with 1 if anything is.

    Example: hanwave doctor
    """
    # Here and not above: the ledger's libraries take half a second that the other commands need not wait.
    from infra.stack.doctor import examine  # noqa: PLC0415

    with working():
        findings = list(examine(state))
    wrong = sum(not finding.is_well for finding in findings)
    if as_json:
        facts = [{"check": f.check, "well": f.is_well, "found": f.found, "remedy": f.remedy} for f in findings]
        emit({"wrong": wrong, "findings": facts}, as_json=True)
    else:
        for f in findings:
            remedy = f"; {f.remedy}" if f.remedy else ""
            typer.echo(f"{'ok' if f.is_well else 'WRONG':7}{f.check}: {f.found}{remedy}")
    if wrong:
        raise typer.Exit(1)


def _existing(given: Path | None) -> Path:
    folder = given or settings.load().state
    if not (folder / "lock").exists():
        raise StackError(f"{folder} is no state folder of a stack: `hanwave up` makes one, --state names another")
    return folder.resolve()
