"""The `hanwave` command: gathers the groups, and turns every refusal into one sentence and an exit code."""

import json
import sys

import typer

from hanwave.errors import HanwaveError

app = typer.Typer(
    name="hanwave",
    help="Roll firmware out to Great Britain's smart-meter devices, in waves, with proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; a HanwaveError ends with its sentence and code 1."""
    try:
        app()
    except HanwaveError as error:
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        sys.stderr.write(f"hanwave: {error}\n")
        sys.exit(1)
