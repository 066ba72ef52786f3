"""The published JSON Schemas: locked, met by what hanwave itself shows as examples, and refusing what it would refuse."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from hanwave.cli.output import line_of_json
from hanwave.ledger.overview import WaveView
from hanwave.ledger.progress import DeviceOutcome, Progress, TimeLeft
from hanwave.rollout.request import EXAMPLE
from infra.sample_campaigns import CAMPAIGNS
from tests.support.command import run
from workers import schemas
from workflows import verbs

pytestmark = pytest.mark.unit
PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


# Of what comes out. What goes in may be shorter than ISO 8601 has it: "20s".
FORMATS = FormatChecker(())


def _format(name: str, pattern: str) -> None:
    # A format is of strings: what may be null as well is not held against it.
    FORMATS.checks(name)(lambda value: not isinstance(value, str) or re.fullmatch(pattern, value))


_format("date-time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_format("duration", r"P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")


def errors(name: str, value: object) -> list[str]:
    formats = FORMATS if name in schemas.RESULTS else None
    return [
        error.message for error in Draft202012Validator(schemas.schema(name), format_checker=formats).iter_errors(value)
    ]


@pytest.mark.parametrize("name", schemas.NAMES)
def test_a_schema_is_as_it_was_published(name):
    """A change is a change for whoever speaks to hanwave: publish it by `hanwave schema --to docs/schemas`."""
    Draft202012Validator.check_schema(schemas.schema(name))
    assert (PUBLISHED / f"{name}.json").read_bytes() == schemas.written(name)


def test_nothing_else_is_published():
    assert {path.stem for path in PUBLISHED.iterdir()} == set(schemas.NAMES)


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_sample_campaign_meets_its_schema(name):
    assert errors("campaign", CAMPAIGNS[name]) == []


def test_the_examples_that_refusals_show_meet_theirs():
    assert errors("campaign", json.loads(EXAMPLE)) == []
    for name, kind in schemas.INPUTS.items():
        if name not in {"campaign", "policy", "halt"}:
            assert errors(name, json.loads(verbs.example(kind))) == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("campaign", {}),
        ("campaign", {"release": "r2", "colour": "red"}),
        ("campaign", {"release": "r2", "approvals": 9}),
        ("approve", {"actor": "bob"}),
        ("change_pace", {"actor": "a", "reason": "b", "digest": "c", "per_second": 0}),
        ("pause", {"actor": "a", "reason": "b", "leg": "read"}),
    ],
)
def test_what_would_be_refused_does_not_meet_it(name, wrong):
    assert errors(name, wrong)


def test_what_comes_out_meets_its_schema():
    outcome = DeviceOutcome(1, "00-DB-00-00-00-00-00-00", 1, "settled", "", "00000002", NOW)
    assert errors("outcome", json.loads(line_of_json(asdict(outcome)))) == []
    wave = WaveView(number=1, size=5, opened=True, verdict=None, reason="", passed_by=None)
    view = Progress(
        **dict.fromkeys(("name", "release", "digest", "status", "author"), "x"),
        approvals=1,
        approvers=["bob"],
        sweep=2.0,
        fallbacks=[],
        restoring=None,
        waves=[wave],
        funnel={"settled": 3},
        time_left=TimeLeft(
            wave=1, open=2, ended=3, per_hour=4.5, quiet=timedelta(seconds=9), left=timedelta(minutes=3)
        ),
    )
    assert errors("progress", json.loads(line_of_json(asdict(view)))) == []


def test_a_property_is_described_by_the_words_under_its_attribute_inherited_or_not():
    told = schemas.schema("progress")["properties"]
    assert told["waits_for"]["description"] == "A sentence; empty once it is over."
    assert told["held"]["description"].startswith("Why devices whose turn")
    assert schemas.schema("campaign")["$defs"]["Gate"]["properties"]["harm"]["description"]


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_property_is_described(name):
    made = schemas.schema(name)
    objects = {name: made, **made.get("$defs", {})}
    properties = [
        (kind, each, told) for kind, held in objects.items() for each, told in held.get("properties", {}).items()
    ]
    assert properties
    assert [(kind, each) for kind, each, told in properties if not told.get("description")] == []


def test_the_command_lists_prints_and_refuses():
    assert "roll_back" in run("schema").out
    assert json.loads(run("schema", "approve").out) == schemas.schema("approve")
    refused = run("schema", "aprove")
    assert (refused.code, refused.err.startswith("hanwave: there is no schema 'aprove'")) == (1, True)
