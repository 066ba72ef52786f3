"""The report of a campaign: its figures are the ledger's, its first page answers eight questions in at most 400 words."""

import json
import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import html
from sqlalchemy import text

from hanwave.ledger import control, judging, planning, waves
from hanwave.ledger.database import LedgerError
from hanwave.ledger.report import Report, gather
from hanwave.ledger.standing import Fact, record
from hanwave.report import answers, page
from hanwave.report.rates import Rates, RatesError, parse
from hanwave.rollout.decide import Outcome
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import Gate, Policy, Wave
from hanwave.rollout.request import CampaignRequest
from tests.support.command import run
from tests.support.ledger import HASH, US, VERSION, World

pytestmark = pytest.mark.ledger
POLICY = Policy(waves=(Wave(count=20), Wave(share=1)), gate=Gate(harm=0.3, silence=0.4, confidence=0.8))
EVIL = "<script>alert(1)</script> & 'quotes' " + "word " * 30
RATES = Rates(service_requests={"11.1": 2.5}, engine_action=0.01, visit=80.0)


@pytest.fixture
def spring(world: World) -> World:
    """A campaign whose first wave has ended: 17 settled, two failed for a reason with markup in it, one needs a visit."""
    world.release_document()
    world.fleet(60)
    request = CampaignRequest(release="r2", policy=POLICY, author="ann", approvals=1)
    with world.engine.begin() as connection:
        planned = planning.freeze(connection, "spring", request, str(US), world.now)
    control.approve(world.engine, "spring", planned.digest, "bob")
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", 1, world.now)
        rows = connection.execute(text("SELECT id FROM campaign_device WHERE wave = 1 ORDER BY id")).scalars()
        ends = [Event(Kind.CLOSED, ended(world), detail=Outcome.FAILED, reason=EVIL)] * 2
        ends += [Event(Kind.CLOSED, ended(world), detail=Outcome.NEEDS_VISIT, reason="no attempt is left")]
        ends += [Event(Kind.SETTLED, ended(world))] * 17
        course = [fact for update_id, end in zip(rows, ends, strict=True) for fact in facts(world, update_id, end)]
        record(connection, course, world.now)
        judging.close_wave(connection, "spring", 1, world.later(days=1))
    return world


def ended(world: World):
    return world.now + timedelta(hours=1)


def facts(world: World, update_id: int, end: Event) -> list[Fact]:
    at = [world.now + timedelta(minutes=10 * n) for n in range(4)]
    said = [
        Event(Kind.SENT, at[0], Leg.DISTRIBUTE, attempt=1),
        Event(Kind.VERIFIED, at[1], Leg.DISTRIBUTE, attempt=1, evidence=Evidence.DEVICE, detail=HASH),
        Event(Kind.SENT, at[1], Leg.ACTIVATE, attempt=1),
        Event(Kind.ACTIVATED, at[2], Leg.ACTIVATE, attempt=1, evidence=Evidence.DEVICE, version=VERSION),
        Event(Kind.VERSION, at[3], Leg.READ, attempt=1, evidence=Evidence.READ_BACK, version=VERSION),
        end,
    ]
    return [Fact(update_id, event) for event in said]


def report(world: World) -> Report:
    with world.engine.begin() as connection:
        return gather(connection, "spring", world.now)


def test_its_figures_are_the_ledgers(spring):
    found = report(spring)
    assert found.outcomes == {"settled": 17, "open": 40, "failed": 2, "needs_visit": 1}
    assert [(cause.outcome, cause.devices) for cause in found.causes] == [("failed", 2), ("needs_visit", 1)]
    assert (found.devices, found.settled) == (60, 17)
    assert (found.homes.settled, found.homes.visits, found.homes.customers) == (17, 1, 0)
    assert found.by_time[-1][1:] == (1, 17)
    assert found.approvers == ["bob"]
    assert {act.verb for act in found.acts} == {"plan", "approve", "open wave", "judge"}
    first, second = found.waves
    assert first.explained
    assert first.explained.equal
    assert second.explained is None


def test_its_first_page_answers_eight_questions_in_plain_words(spring):
    found = report(spring)
    told = answers.answers(found, RATES)
    assert len(told) == 8
    assert answers.count(found.heading, told) <= answers.WORDS
    by = dict(told)
    assert "60 ESMEs in 2 waves" in by["What was planned?"]
    assert "bob" in by["Who approved it?"]
    assert "17 of 60" in by["What was done?"]
    assert "2 failed: look into these first" in by["What did not work, and what is to be done?"]
    assert "was not rehearsed" in by["Did it go as forecast?"]
    assert "17 homes, worth 1,360.00 GBP" in by["What did it cost, and what did it save?"]


def test_a_campaign_that_was_rolled_back_says_so_and_claims_nothing_for_what_was_taken_back(spring):
    restore = json.dumps({"campaigns": ["spring-back-1"], "left_out": {}, "in_flight": 0})
    with spring.engine.begin() as connection:
        rolled_back = "UPDATE campaign SET restored = CAST(:restore AS jsonb) WHERE name = 'spring'"
        connection.execute(text(rolled_back), {"restore": restore})
    found = report(spring)
    told = dict(answers.answers(found, RATES))
    assert "and was rolled back by spring-back-1" in told["What was done?"]
    assert "run the new version" not in told["What was done?"]
    assert "Visits avoided: none, since it was rolled back." in told["What did it cost, and what did it save?"]
    assert answers.count(found.heading, list(told.items())) <= answers.WORDS


def test_a_page_holds_what_people_wrote_as_text_and_needs_nothing_from_elsewhere(spring):
    found = page.render(report(spring), RATES)
    tree = html.fromstring(found)
    assert not tree.xpath("//script | //link | //img | //iframe | //@src")
    assert "<script>alert(1)</script>" in tree.text_content()
    assert len(tree.xpath("//*[local-name()='svg']")) == 2
    assert re.findall(r"https?://(?!www\.w3\.org/|purl\.org/|creativecommons\.org/)[^\s\"<]+", found) == []


def test_every_way_to_end_has_its_advice():
    assert set(answers.ADVICE) == set(Outcome)


def test_a_campaign_that_has_not_begun_has_a_report_that_says_so(world):
    world.release_document()
    world.fleet(3)
    with world.engine.begin() as connection:
        request = CampaignRequest(release="r2", policy=Policy(waves=(Wave(share=1),)), author="ann")
        planning.freeze(connection, "spring", request.model_copy(update={"policy": POLICY_OF_FEW}), str(US), world.now)
    found = report(world)
    told = dict(answers.answers(found, Rates()))
    assert told["Did it do harm?"] == "No wave was judged yet. 0 devices failed, 0 fell silent after activation."
    assert "not priced" in told["What did it cost, and what did it save?"]
    assert "<svg" not in page.render(found, Rates())


POLICY_OF_FEW = Policy(waves=(Wave(share=1),), gate=Gate(harm=0.9, silence=0.9, confidence=0.5))


def test_another_suppliers_campaign_has_no_report(spring):
    with spring.engine.begin() as connection, pytest.raises(LedgerError, match="there is no campaign 'spring'"):
        gather(connection, "spring", spring.now, "90-B3-D5-1F-30-01-00-99")


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        (b"visit: -1", "visit"),
        (b"visit: .inf", "visit"),
        (b"currency: pounds", "currency"),
        (b"service_requests: {11.1: x}", "service_requests"),
        (b"price: 3", "price"),
        (b"- 1", "the whole"),
    ],
)
def test_a_wrong_rate_table_is_refused_by_its_field(table, wrong):
    with pytest.raises(RatesError, match=f"rates.yaml, {wrong}"):
        parse(table, "the rate table rates.yaml")


def test_the_command_writes_the_page_and_the_pdf(spring, ledger_dsn, tmp_path):
    rates = tmp_path / "rates.yaml"
    rates.write_text('service_requests: {"11.1": 2.5}\nvisit: 80\n')
    out, pdf = tmp_path / "spring.html", tmp_path / "spring.pdf"
    given = ["campaign", "report", "spring", "--out", str(out), "--rates", str(rates), "--database", ledger_dsn]
    ran = run(*given, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["report"] == str(out)
    assert "17 of 60" in out.read_text()
    if not shutil.which("chromium"):
        pytest.skip("no Chromium here: the PDF was not tried")
    ran = run(*given, "--pdf", str(pdf))
    assert ran.code == 0, ran.err
    assert pdf.read_bytes().startswith(b"%PDF-")
    if folder := os.environ.get("PICTURES"):
        take_picture(out, Path(folder) / "report.png")


def take_picture(page: Path, picture: Path) -> None:
    """The first sheet, for the README: PICTURES=docs/pictures in the environment asks for it."""
    browser = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1000,1250",
    ]
    subprocess.run([*browser, f"--screenshot={picture.resolve()}", page.as_uri()], check=True, capture_output=True)
