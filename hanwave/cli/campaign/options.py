"""What the campaign commands share: their options, and a client for as long as a command runs."""

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hanwave.cli.progress import working

# The ledger's and the engine's libraries take a second, which the help of these commands need not wait for.
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hanwave.client import Client

Name = Annotated[str, typer.Argument(metavar="NAME", help="The campaign.")]
# Not required by typer, so that the refusal is one sentence like every other.
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept, and shown.")]
Leg = Annotated[str | None, typer.Option(help="distribute or activate alone (default: both).")]
Key = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Your name of this act: the same again under it is done once.")
]
Digest = Annotated[
    str,
    typer.Option(metavar="HEX", help="The plan that you have read: its digest, or the 16 digits that status shows."),
]
_T = TypeVar("_T")


def run(database: str | None, act: "Callable[[Client], Awaitable[_T]]", *, prints: bool = False) -> _T:
    """Do something with a client; prints: it writes to the terminal itself, so that nothing else may meanwhile."""
    from hanwave.client import Client  # noqa: PLC0415

    async def inside() -> _T:
        async with Client.connect(dsn=database) as client:
            return await act(client)

    with nullcontext() if prints else working():
        return asyncio.run(inside())
