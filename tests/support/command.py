"""The command line, run in this process as a person would: its exit code and what it said."""

import asyncio
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from hanwave.cli.main import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def run(*arguments: str) -> Ran:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with patch.object(sys, "argv", ["hanwave", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())


async def run_beside(*arguments: str) -> Ran:
    """While the test's own event loop goes on with its workers."""
    return await asyncio.to_thread(run, *arguments)
