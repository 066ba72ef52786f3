"""The Web UI's pages: what they offer is right as it stands, and what people wrote is text in them."""

import json
import re
from datetime import UTC, datetime

import pytest

from hanwave.ledger.overview import View, WaveView
from hanwave.ledger.waves import Sweep
from hanwave.rollout.decide import Outcome
from hanwave.rollout.gate import Judgement, Verdict
from workflows import pages, verbs

pytestmark = pytest.mark.unit
DIGEST = "3f0c" * 16
KINDS = {
    "approve": verbs.Approve,
    "pause": verbs.Pause,
    "resume": verbs.Resume,
    "go_on": verbs.Widen,
    "change_pace": verbs.ChangePace,
    "cancel_device": verbs.CancelDevice,
    "roll_back": verbs.RollBack,
}
TO_COME = WaveView(2, 1, opened=False, verdict=None, reason="", passed_by=None)
RUNNING = WaveView(1, 5, opened=True, verdict=None, reason="", passed_by=None)
FAILED = WaveView(1, 5, opened=True, verdict="fail", reason="2 of 5 failed", passed_by=None)


def view(**more) -> View:
    facts = {
        "name": "spring",
        "release": "r2",
        "digest": DIGEST,
        "status": "approved",
        "author": "ann",
        "approvals": 1,
        "approvers": ["bob"],
        "sweep": 1.0,
        "fallbacks": ["r1"],
        "restoring": None,
        "waves": [RUNNING, TO_COME],
    }
    return View(**(facts | more))


def offered(page: str) -> dict[str, str]:
    return dict(re.findall(r"^- `(\w+)` [^`]+: `(.+)`$", page, re.MULTILINE))


@pytest.mark.parametrize(
    ("more", "first"),
    [
        ({"approvers": [], "waves": [TO_COME]}, ["approve", "halt"]),
        ({}, ["roll_back", "pause", "change_pace", "cancel_device", "halt"]),
        ({"stops": ["pause of campaign spring by ann: storm"]}, ["resume", "roll_back"]),
        ({"waves": [FAILED, TO_COME]}, ["go_on", "roll_back"]),
        ({"fallbacks": [], "waves": [FAILED]}, ["roll_back"]),
        ({"restoring": ["spring-back"], "waves": [FAILED, TO_COME], "stops": ["halt"]}, ["halt"]),
        ({"status": "withdrawn"}, ["halt"]),
    ],
)
def test_what_is_offered_is_an_input_that_the_verb_takes(more, first):
    acts = offered(pages.campaign(view(**more), "something"))
    assert [*acts][: len(first)] == first
    for verb, given in acts.items():
        filled = given.replace("YOU", "eve").replace("WHY", "because").replace("EUI-64", "00-DB-12-34-56-78-9A-BC")
        raw = json.loads(filled)
        read = verbs.read_halt(raw) if verb == "halt" else verbs.read(KINDS[verb], raw)
        assert read.actor == "eve"
        if isinstance(read, verbs.Widen):
            assert view().other_plan(read.digest) is None


def test_one_that_is_over_offers_nothing():
    page = pages.campaign(view(), "")
    assert "**Over.**" in page
    assert offered(page) == {}


def test_one_that_was_rolled_back_says_by_what_and_that_nothing_is_to_come():
    page = pages.campaign(view(restoring=["spring-back-1", "spring-back-2"]), "")
    assert "**Over**: rolled back by spring-back-1, spring-back-2." in page
    assert "Wave 1, 5 devices: not judged" in page
    assert "Wave 2, 1 device: never begun" in page


def test_it_says_until_when_and_how_far():
    due = datetime(2026, 11, 23, 7, 5, 9, tzinfo=UTC)
    funnel = {"closed:not_delivered": 1, "activating": 9, "planned": 20, "held:would be sent": 2, "gone": 0}
    page = pages.campaign(view(next_due=due, funnel=funnel), "wave 1 to close")
    assert "**Waits for** wave 1 to close. Something falls due at **07:05:09 UTC on 23 November**." in page
    bars = re.findall(r"^(\S.*?)  (█+) +(\d+)$", page, re.MULTILINE)
    assert [(name.strip(), len(bar), n) for name, bar, n in bars] == [
        ("planned", 20, "20"),
        ("held, would be sent", 2, "2"),
        ("activating", 9, "9"),
        ("not delivered", 1, "1"),
    ]


def test_a_gate_that_a_person_passed_says_who():
    passed = WaveView(1, 1, opened=True, verdict="not enough evidence", reason="1 silent", passed_by="bob")
    assert "- Wave 1, 1 device: **NOT ENOUGH EVIDENCE**, 1 silent. Let on by bob.\n" in pages.campaign(
        view(waves=[passed]), ""
    )


def test_what_people_wrote_is_text():
    wild = "<img src=x> **bold** `code` [a](b) | # ~~x~~ &amp; _y_ \\"
    page = pages.campaign(view(stops=[wild], author=wild, release=wild), wild)
    for mark in "<[`*_|#~&":
        assert re.search(rf"(?<!\\)\{mark}(img|\]|bold|code|a\]|y|amp)", page) is None, mark
    assert page.count("\\<img src=x\\>") == 4


def test_a_waves_page_has_its_verdict_once_it_is_judged():
    sweep = Sweep(open=1, stopped="halt of all by ann: storm", funnel={"settled": 4, "activating": 1})
    assert "**Waits for** 1 device to end." in pages.wave("spring", 1, sweep)
    assert "- halt of all by ann: storm\n" in pages.wave("spring", 1, sweep)
    judged = pages.wave("spring", 1, sweep, Judgement(Verdict.PASS, "5 of 5 settled"))
    assert "**PASS**: 5 of 5 settled." in judged
    assert "Waits for" not in judged


@pytest.mark.parametrize("outcome", Outcome)
def test_a_devices_page_says_how_it_ended_why_and_what_to_do(outcome):
    page = pages.device("spring", "00-DB-12-34-56-78-9A-BC", "closed", outcome, "W12: refused")
    assert f"**Ended as {outcome.replace('_', ' ')}**: W12: refused." in page
    assert "**What to do**: " in page
    assert pages.end("closed", outcome, "W12: refused") == f"{outcome}: W12: refused"


def test_a_device_under_way_says_where_it_stands():
    page = pages.device("spring", "00-DB-12-34-56-78-9A-BC", "activating", None, "")
    assert "**Activating**." in page
    assert pages.end("confirmed", None, "") == "confirmed"
