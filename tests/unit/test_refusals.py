"""Every refusal is one line that a person can read: what it held, what it should hold, what to do.

`refusals.txt` beside this file holds them all, so that a new or changed one is read by whoever reviews it. To renew it:
`python -m tests.unit.test_refusals`.
"""

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer import Context
from typer.main import get_command

from hanwave.cli.main import app
from hanwave.errors import LONGEST, HanwaveError, fitted
from tests.support.refusals import ROOT, WORD, longest, refusals, sources, template

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).with_name("refusals.txt")
RENEW = "read the difference, then renew it: python -m tests.unit.test_refusals"
# What is raised and never reaches a person as it is.
CAUGHT = {
    "ApplicationError": "the engine's own form; its sentences are collected, and what it passes on is fitted",
    "AssertionError": "a defect, not a refusal",
    "AttributeError": "Python's protocol of a module's lazy names",
    "BadParameter": "typer's word for a wrong command line: exit code 2",
    "DeliveryError": "zigpy's word for a frame that nobody acknowledged: it retries, or tells the update",
    "DisconnectionError": "the pool's protocol: take another connection",
    "Exit": "a command's exit code, after its report",
    "IndexError": "the emulated stick's own: it answers a command that is too short as a real one does",
    "OSError": "caught where a file is read",
    "Refused": "an answer of the emulator's to a request",
    "ValueError": "a model's validator; a HanwaveError carries it",
    "YAMLError": "caught where YAML is read",
    "_CellError": "a cell of the fleet's file; its row's Refusal carries it",
}
COMMAND = re.compile(r"`hanwave ([a-z ]+)")


def written() -> str:
    """The golden file's text."""
    return "".join(f"{refusal}\n" for refusal in refusals())


def test_every_refusal_is_in_the_golden_file():
    held, found = GOLDEN.read_text().splitlines(), written().splitlines()
    new, gone = sorted(set(found) - set(held)), sorted(set(held) - set(found))
    assert not new, f"{GOLDEN.name} lacks {new}; {RENEW}"
    assert not gone, f"{GOLDEN.name} holds what is said no more: {gone}; {RENEW}"
    assert held == found, f"{GOLDEN.name} is not in order; {RENEW}"


def test_every_refusal_leaves_room_for_what_is_put_into_it():
    found = refusals()
    assert len(found) > 500
    assert not [(each.longest, str(each)) for each in found if each.longest > LONGEST]


def test_every_command_that_a_refusal_names_exists():
    program = get_command(app)
    named = {command.strip() for each in refusals() for command in COMMAND.findall(each.template)}
    assert "campaign status" in named
    assert not [command for command in named if not leads_somewhere(program, command.split())]


def leads_somewhere(command: Any, words: list[str]) -> bool:
    """Whether those words name a command, and no word is left over."""
    for word in words:
        command = command.get_command(Context(command), word) if hasattr(command, "get_command") else None
    return command is not None


def test_nothing_is_raised_but_what_becomes_one_sentence():
    trees = {str(path.relative_to(ROOT)): tree for path, tree in sources().items()}
    ours = errors_of_ours(trees.values())
    raised = {(path, name) for path, tree in trees.items() for name in raises(tree)}
    strangers = [(path, name) for path, name in sorted(raised) if name not in ours | set(CAUGHT)]
    assert not strangers, f"{strangers} should be HanwaveErrors, or say in CAUGHT what becomes of them"
    assert set(CAUGHT) <= {name for _, name in raised}, "CAUGHT names what nobody raises"


def errors_of_ours(trees: Iterable[ast.Module]) -> set[str]:
    """HanwaveError and all that are derived of it, by name."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {HanwaveError.__name__}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return found


def raises(tree: ast.Module) -> set[str]:
    """The classes that a module raises, by name; a variable's or a function's lower-case name says nothing."""
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    called = [node.func if isinstance(node, ast.Call) else node for node in raised]
    names = {ast.unparse(node).rpartition(".")[2] for node in called}
    return {name for name in names if name.lstrip("_")[:1].isupper()}


@given(st.text(max_size=2000))
@example("a" * 5000)
@example("a b " * 500)
@example("\x1b[2J" + "\n" * 300 + "x")
def test_a_refusal_is_one_printable_line_of_bounded_length_whatever_is_put_into_it(text):
    said = str(HanwaveError(text))
    assert len(said) <= LONGEST
    assert said.isprintable()
    if len(text) <= LONGEST and text.isprintable():
        assert said == text.strip()
    assert fitted(said) == said


def test_a_long_path_loses_its_middle_and_what_to_do_is_kept():
    path = "/srv/" + "deep/" * 100 + "fleet.csv"
    said = str(HanwaveError(f"{path} cannot be read: it should be a CSV file in UTF-8"))
    assert len(said) == LONGEST
    assert said.startswith("/srv/deep/")
    assert said.endswith("fleet.csv cannot be read: it should be a CSV file in UTF-8")


@pytest.mark.parametrize(
    ("source", "characters"),
    [
        ("'no room'", 7),
        ("'a' + f'b{x!r:.50}'", 54),
        ("f'{x[:30]!r} is none'", 40),
        ("f'{x[-60:]}'", 60),
        ("f'{a if b else 1}'", WORD),
        ('f\'{"long" if b else "longer"}\'', 6),
        ("f'{at:%Y-%m-%d}'", 10),
        ("f'{error}: {str(error)[:100]}'", 182),
        ("f'{something}'", WORD),
    ],
)
def test_how_long_a_sentence_can_become(source, characters):
    assert longest(ast.parse(source, mode="eval").body) == characters


def test_how_a_template_reads():
    node = ast.parse("f'{name[:9]!r} is {n:.1%}, ' 'not' + f' {{x}}'", mode="eval").body
    assert template(node) == "{name[:9]!r} is {n:.1%}, not {x}"


if __name__ == "__main__":
    GOLDEN.write_text(written())
    sys.stdout.write(f"{GOLDEN.name} holds {len(refusals())} refusals\n")
