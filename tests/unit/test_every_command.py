"""What every command has in common: help with an example that it takes, --json, exit codes, completion, colours, progress."""

import io
import os
import pty
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hanwave.cli import main, output, progress
from infra.stack import commands as stack_commands
from tests.support.command import run

pytestmark = pytest.mark.unit
GUIDE = Path(__file__).parents[2] / "docs" / "sdk.md"
EXAMPLE = "Example: hanwave "


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from walk(command.get_command(None, name), (*path, name))


@pytest.fixture(scope="module")
def commands() -> dict[tuple[str, ...], Any]:
    return dict(walk(get_command(main.app)))


def test_every_command_has_help_an_example_that_it_takes_and_json(commands):
    assert len(commands) > 70
    wrong = []
    for path, command in commands.items():
        options = {name for each in command.params for name in each.opts}
        if not command.help:
            wrong.append((path, "no help"))
        if "--json" not in options:
            wrong.append((path, "no --json"))
        if not (command.epilog or "").startswith(EXAMPLE):
            wrong.append((path, "no example"))
            continue
        words = [words for words in lines(command.epilog) if tuple(words[: len(path)]) == path]
        if not words:
            wrong.append((path, "an example of something else"))
            continue
        try:
            command.make_context("hanwave", words[0][len(path) :])
        except Exception as error:  # noqa: BLE001 - whatever a person who copies it would be told
            wrong.append((path, f"an example that it does not take: {error}"))
    assert wrong == []


def lines(epilog: str) -> list[list[str]]:
    """The command lines of an example, without what a shell makes of them."""
    text = re.sub(r"\$\([^)]*\)", "X", epilog.removeprefix("Example: "))
    return [shlex.split(line.partition(">")[0])[1:] for line in text.split("&&")]


def test_a_commands_own_line_in_the_list_is_where_its_help_begins():
    shown = run("--help").out
    assert re.sub(r"\W+", " ", "Tell one device's whole story") in re.sub(r"\W+", " ", shown)


@pytest.mark.parametrize("line", ["", "campaign halt", "campaign start", "inbox replay", "up"])
def test_help_shows_a_flag_without_a_value_and_what_may_be_left_out_in_one_pair_of_brackets(line):
    shown = run(*line.split(), "--help").out
    assert not re.search(r"<bool>|\[\[|\.\.\.\]", shown)
    assert re.search(r"--(json|version) {2}", shown)


def test_a_list_is_a_line_an_item_for_a_person(capsys):
    at = datetime(2026, 11, 23, 10, 0, 0, 123456, UTC)
    held = [
        {"id": 9, "reason": "storm \x1b[2J", "lifted_at": None, "placed_at": at, "used": {"forward": 1}},
        {"id": 10, "reason": "x" * 200, "lifted_at": None, "placed_at": at, "used": {"forward": 2}},
    ]
    output.emit({"holds": held}, as_json=False)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.split() == ["id", "reason", "placed", "at", "forward"]
    assert [line.split()[0] for line in lines] == ["9", "10"]
    assert r"storm \x1b[2J" in lines[0]
    assert "2026-11-23 10:00:00Z" in lines[0]
    assert "x" * 200 in lines[1]
    output.emit({"waiting": 3, "messages": held, "behind": [{"of": held}]}, as_json=False)
    said = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert said[0].split() == ["waiting", "3"]
    assert said.index("messages") > said.index("behind")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("fleet columns", 0),
        ("fleet --help", 0),
        ("image inspect nothing.ota", 1),
        ("image inspect nothing.ota --json", 1),
        ("image inspect", 2),
        ("image inspect a --nonsense", 2),
        ("nonsense", 2),
    ],
)
def test_exit_codes_are_as_they_are_documented(line, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run(*line.split())
    assert ran.code == code
    assert (ran.err.startswith("hanwave: ")) == (code == 1)
    assert (ran.out.startswith('{"error": ')) == (code == 1 and "--json" in line)


def test_the_codes_are_in_the_help_and_in_the_guide():
    for text in (run("--help").out, GUIDE.read_text()):
        assert re.search(
            r"0\W+done.*1\W+refused.*2\W+the.*130\W+interrupted", " ".join(re.sub(r"[│\s|]+", " ", text).split())
        )


def test_who_interrupts_a_command_is_told_nothing_more_and_the_code_says_so(monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hanwave.cli.fleet.emit", interrupted)
    assert run("fleet", "columns").code == 130


@pytest.mark.parametrize(
    ("typed", "among"),
    [
        ("hanwave camp", "campaign"),
        ("hanwave campaign roll", "roll-back"),
        ("hanwave webhook ", "resend"),
        ("hanwave campaign plan --fall", "--fallback"),
        ("hanwave device --js", "--json"),
        ("hanwave doc", "doctor"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options_of_every_table(typed, among, shell, monkeypatch):
    words = typed.split(" ")
    monkeypatch.setenv("_HANWAVE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", typed)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert re.search(rf"(^|[\s\"]){among}([\s\":]|$)", run().out), run().out


def test_colours_are_for_a_terminal_alone(monkeypatch):
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for line in (["--help"], ["fleet", "columns"], ["fleet", "--help"], ["image", "inspect"]):
        ran = run(*line)
        assert "\x1b" not in ran.out + ran.err
    monkeypatch.setenv("TERM", "xterm-256color")
    assert b"\x1b[" in on_a_terminal(monkeypatch, "fleet", "columns")
    monkeypatch.setenv("NO_COLOR", "1")
    assert b"\x1b[3" not in on_a_terminal(monkeypatch, "fleet", "columns")


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *line: str) -> bytes:
    """What a command prints there."""
    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "w") as terminal,
        os.fdopen(ours, "rb", buffering=0) as screen,
        monkeypatch.context() as here,
    ):
        here.setattr(sys, "argv", ["hanwave", *line])
        here.setattr(sys, "stdout", terminal)
        main.app(standalone_mode=False)
        terminal.write("<end>")
        terminal.flush()
        return until_end(screen, b"")


def until_end(screen: io.RawIOBase, said: bytes) -> bytes:
    while not said.endswith(b"<end>"):
        said += screen.read(4096) or b""
    return said


def test_what_takes_long_is_shown_on_a_terminals_standard_error_and_is_gone_before_anything_is_printed(
    monkeypatch, tmp_path, capsys
):
    (tmp_path / "big").write_bytes(b"x" * 1000)
    ours, theirs = pty.openpty()
    monkeypatch.setattr(progress, "AFTER_SECONDS", 0.01)
    monkeypatch.setattr(sys, "argv", ["hanwave", "fleet", "import", "big"])
    monkeypatch.setenv("TERM", "xterm-256color")
    with (
        os.fdopen(theirs, "w") as terminal,
        os.fdopen(ours, "rb", buffering=0) as screen,
        (tmp_path / "big").open("rb") as file,
    ):
        monkeypatch.setattr(sys, "stderr", terminal)
        file.read(420)
        with progress.reading(file):
            shown = b""
            while b"42%" not in shown:
                shown += screen.read(4096)
            assert b"fleet import" in shown
            progress.quiet()
            assert not progress._working
            terminal.write("<end>")
            terminal.flush()
            shown = until_end(screen, shown)
        # Its line was erased, and the cursor is there again.
        assert shown.rindex(b"\x1b[2K") > shown.rindex(b"42%")
        assert b"\x1b[?25h" in shown
        monkeypatch.undo()
    assert capsys.readouterr().out == ""


def test_the_doctor_shows_that_it_is_at_work(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    at_work: list[int] = []
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("infra.stack.doctor.examine", lambda _: at_work.append(len(progress._working)) or [])
    stack_commands.doctor()
    assert (at_work, progress._working) == ([1], [])


def test_where_nobody_sees_a_screen_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(progress, "AFTER_SECONDS", 0)
    with progress.working():
        assert not progress._working
    assert capsys.readouterr() == ("", "")
