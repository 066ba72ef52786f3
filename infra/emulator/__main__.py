"""`python -m infra.emulator`: serve; `... fleet` and `... pki` make what it needs.

It answers SIGTERM and SIGINT by stopping, and says in one sentence what is wrong with its settings.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from hanwave.errors import HanwaveError
from infra.emulator.emulator import Emulator
from infra.emulator.fleet import ALL_COLUMNS, write_fleet
from infra.emulator.intake import COLUMNS
from infra.emulator.pki import make_pki
from infra.emulator.settings import load

app = typer.Typer(help="The DCC emulator.", pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Serve, as the HANWAVE_EMULATOR_ variables say."""
    if context.invoked_subcommand is None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")

        asyncio.run(_serve())


async def _serve() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Emulator(load()).run(stop)


@app.command()
def fleet(
    size: Annotated[int, typer.Option(min=1, help="How many devices.")],
    seed: Annotated[str, typer.Option(help="The same seed gives the same fleet.")] = "hanwave",
    out: Annotated[Path | None, typer.Option(help="The file that hanwave imports; else standard output.")] = None,
    emulator: Annotated[Path | None, typer.Option(help="The emulator's: the same devices, two columns more.")] = None,
    second_share: Annotated[float, typer.Option(help="Homes with another gas supplier, 0 to 1.")] = 0.1,
) -> None:
    """Invent a fleet, as the CSV that hanwave imports and as the emulator's own."""
    for path, columns in ((out, COLUMNS), (emulator, ALL_COLUMNS)):
        if path is not None:
            with path.open("w", newline="") as file:
                write_fleet(file, size, seed, second_share, columns=columns)
    if out is None and emulator is None:
        write_fleet(sys.stdout, size, seed, second_share)


@app.command()
def pki(folder: Path) -> None:
    """Make the test PKI in a folder, if it is not there."""
    make_pki(folder)


def main() -> None:
    """Run; a HanwaveError ends with its sentence and code 1."""
    try:
        app()
    except HanwaveError as error:
        sys.stderr.write(f"emulator: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
