"""`hanwave console`: what turns Temporal's Web UI into the operators' console, where hanwave did not start it."""

from typing import Annotated

import typer

from hanwave import console, settings
from hanwave.cli.output import AsJson, emit

app = typer.Typer(no_args_is_help=True, help="Temporal's Web UI as the operators' console: saved views, settings.")


@app.command(epilog="Example: hanwave console views https://temporal.example.co.uk")
def views(
    ui: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where the Web UI is: https://...")],
    as_json: AsJson = False,
) -> None:
    """Print a link for each of hanwave's views of the list. Opened once, it saves the view in that person's browser."""
    if not ui.startswith(("http://", "https://")):
        raise settings.SettingsError(f"the Web UI's address {ui[:80]!r} should begin with https:// (or http://)")
    namespace = settings.load().temporal.namespace
    links = {view.name: console.save_link(ui, namespace, view) for view in console.VIEWS}
    emit({"views": links, "start a campaign": console.start_link(ui, namespace)}, as_json=as_json)


@app.command("settings", epilog="Example: hanwave console settings")
def settings_(as_json: AsJson = False) -> None:
    """Print the variables with which the Web UI's server takes from operators what goes round hanwave's verbs."""
    variables = {console.variable(each): "true" for each in console.TAKEN}
    if as_json:
        emit(variables, as_json=True)
    else:
        typer.echo("\n".join(f"{name}={value}" for name, value in variables.items()))
