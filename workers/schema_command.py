"""`hanwave schema`: publish the JSON Schemas of a campaign's inputs and results."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli.output import AsJson, emit, write_file
from hanwave.errors import HanwaveError


def schema(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them (default: list them).")] = None,
    to: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write all of them there.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schemas of a campaign's inputs and results: one, or all into a folder.

    Example: hanwave schema campaign > campaign.schema.json
    """
    from workers import schemas  # noqa: PLC0415 - the engine's libraries take a second, which a command's help need not wait for

    if to:
        for each in schemas.NAMES:
            write_file(to / f"{each}.json", schemas.written(each), "the schema")
        emit({"folder": str(to), "schemas": list(schemas.NAMES)}, as_json=as_json)
    elif name is None:
        emit({"inputs": list(schemas.INPUTS), "results": list(schemas.RESULTS)}, as_json=as_json)
    elif name in schemas.NAMES:
        sys.stdout.write(schemas.written(name).decode())
    else:
        raise HanwaveError(f"there is no schema {name[:40]!r}: it should be one of {', '.join(schemas.NAMES)}")
