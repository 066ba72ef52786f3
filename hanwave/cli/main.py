"""The `hanwave` command: gathers the groups, and turns every refusal into one sentence and an exit code."""

import json
import sys
from importlib.metadata import entry_points

import typer

from hanwave.cli import audit, cpl, duis, fleet, gbcs, hold, image, inbox, release
from hanwave.errors import HanwaveError

app = typer.Typer(
    name="hanwave",
    help="Roll firmware out to Great Britain's smart-meter devices, in waves, with proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(duis.app, name="duis")
app.add_typer(gbcs.app, name="gbcs")
app.add_typer(image.app, name="image")
app.add_typer(cpl.app, name="cpl")
app.add_typer(release.app, name="release")
app.add_typer(fleet.app, name="fleet")
app.add_typer(hold.app, name="hold")
app.add_typer(audit.app, name="audit")
app.add_typer(inbox.app, name="inbox")


def main() -> None:
    """Run the command line; a HanwaveError ends with its sentence and code 1."""
    try:
        for command in entry_points(group="hanwave.commands"):
            command.load()(app)
        app()
    except HanwaveError as error:
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        sys.stderr.write(f"hanwave: {error}\n")
        sys.exit(1)
