import io
import json
import sys
from dataclasses import dataclass

import pytest

from hanwave.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What a person gets from a command: its exit code, and what stands on both outputs."""

    code: int
    out: str
    err: str

    @property
    def facts(self):
        return json.loads(self.out)


@pytest.fixture
def hanwave(monkeypatch, capsys, tmp_path):
    """Runs `hanwave ...` in an empty folder, as a person does."""
    monkeypatch.chdir(tmp_path)

    def run(*words, given: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["hanwave", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = 0
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        return Outcome(code, *capsys.readouterr())

    return run
