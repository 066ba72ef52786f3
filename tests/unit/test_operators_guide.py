"""The operators' guide has exactly the steps that are followed in a browser, and names what is there."""

import re
from pathlib import Path

import pytest

from hanwave import console

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Read, not imported: all that a running stack needs would be imported with it.
STEPS = re.findall(r'^@step\("(.+)"\)$', (ROOT / "tests/stack/scenarios/console.py").read_text(), re.MULTILINE)
GUIDE = (DOCS / "operators-guide.md").read_text()


def test_its_sections_are_the_steps_in_their_order():
    assert re.findall("^## (.+)$", GUIDE, re.MULTILINE) == [*STEPS, "To production"]


def test_each_picture_is_there_and_each_that_is_there_is_shown():
    shown = re.findall(r"\(pictures/(console-[a-z-]+\.png)\)", GUIDE)
    assert sorted(shown) == sorted(path.name for path in (DOCS / "pictures").glob("console-*.png"))


def test_it_names_each_view_and_the_settings_as_the_commands_print_them():
    plain = " ".join(GUIDE.split())
    assert [view.name for view in console.VIEWS if f"*{view.name}*" not in plain] == []
    settings = re.findall("^    (TEMPORAL_.+)=true$", GUIDE, re.MULTILINE)
    assert settings == [console.variable(each) for each in console.TAKEN]
