"""The commands of budgets, quarantine, outcomes and retries: what they print and keep, and one sentence for what is wrong."""

import csv
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from hanwave.ledger import budgets, retrying
from hanwave.ledger.database import LedgerError
from hanwave.ledger.standing import Fact, record
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.policy import Policy, Wave
from hanwave.rollout.request import CampaignRequest
from tests.ledger.test_permit_and_outbox import activate, hold_image, say, send
from tests.support import command
from tests.support.ledger import US, World, eui

pytestmark = pytest.mark.ledger
HEAD = "user_id,variant,period,limit,reserve"
GOOD = f"{HEAD}\n{US},11.3,24h,1000,50\n{US},11.1,24h,5000,0\n"
YAML = f"- {{user_id: {US}, variant: 11.3, period: 24h, limit: 1000, reserve: 50, per_device: true, warn: 0.5}}\n"


@pytest.fixture
def run(monkeypatch, tmp_path, ledger_dsn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    return command.run


def done(run, *arguments: str):
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_table_is_imported_from_either_form_and_shown_with_what_is_used(run, tmp_path, ledger):
    (tmp_path / "t.csv").write_text(GOOD)
    (tmp_path / "t.yaml").write_text(YAML)
    assert done(run, "budget", "import", "t.csv")["thresholds"] == 2
    assert done(run, "budget", "import", "t.yaml")["user_ids"] == [US]
    (tmp_path / "o.csv").write_text(f"user_id,variant,at,units\n{US},11.3,{datetime.now(UTC).isoformat()},600\n")
    assert done(run, "budget", "others", "o.csv")["figures"] == 1
    (shown,) = done(run, "budget", "show")["thresholds"]
    assert (shown["limit"], shown["used"]["others"], shown["room"], shown["warning"]) == (1000, 600, 350, True)
    assert run("budget", "show")[0] == 0


@pytest.mark.parametrize(
    ("command", "name", "held", "said"),
    [
        ("import", "t.csv", f"{HEAD}\n{US},11.3,24h,1000,50\n{US},11.9,24h,many,0\n", "row 2, variant"),
        ("import", "t.csv", f"{HEAD}\n{US},11.3,24h,many,0\n", "row 1, limit"),
        ("import", "t.csv", f"{HEAD}\n{US},11.3,24h,,0\n", "row 1, limit: Field required"),
        ("import", "t.csv", f"{HEAD},hue\n{US},11.3,24h,9,0,red\n", "row 1, hue"),
        ("import", "t.csv", f"{HEAD}\n{US},11.3,24h,9,0,red\n", "row 1, None"),
        ("import", "t.csv", f"{HEAD}\nus,11.3,24h,9,0\nus,11.3,24h,9,0\n", "2 rows are wrong"),
        ("import", "t.csv", GOOD + f"{US},11.3,24h,7,0\n", "twice: one threshold a period"),
        ("import", "t.csv", HEAD, "holds no row"),
        ("import", "t.csv", "\xff\xfe", "no CSV in UTF-8"),
        ("import", "t.yaml", "limit: 5", "should hold a list"),
        ("import", "t.yaml", "- [", "not plain YAML"),
        ("import", "t.yaml", "- 5", "row 1, the row"),
        ("import", "absent.csv", None, "cannot be read"),
        ("others", "o.csv", f"user_id,variant,at,units\n{US},11.3,2026-01-01T00:00:00,6\n", "row 1, at"),
        ("others", "o.csv", f"user_id,variant,at,units\n{US},11.3,1767225600,6\n", "row 1, at"),
        ("others", "o.csv", f"user_id,variant,at,units\n{US},11.3,2026-01-01T00:00:00Z,-6\n", "row 1, units"),
        ("others", "o.csv", "user_id,variant,at,units\n" + 2 * f"{US},11.3,2026-01-01T00:00:00Z,6\n", "twice"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence_and_nothing_is_kept(  # noqa: PLR0917 - a table
    run, tmp_path, ledger, command, name, held, said
):
    if held is not None:
        (tmp_path / name).write_bytes(held.encode("latin-1"))
    code, _, err = run("budget", command, name)
    assert (code, err.count("\n")) == (1, 1)
    assert said in err
    assert len(err) <= 240 + len("hanwave: \n")
    with ledger.connect() as connection:
        assert budgets.thresholds(connection) == []
        assert connection.execute(text("SELECT count(*) FROM others_use")).scalar_one() == 0


def test_a_quarantined_request_is_listed_and_resolved_with_its_evidence(run, world, monkeypatch):
    (update_id,) = hold_image(world)
    send(world, activate(world, update_id).outbox_id)
    say(world, update_id, Kind.QUARANTINED, Leg.ACTIVATE)
    (held,) = done(run, "quarantine", "list")["held"]
    assert (held["service"], held["campaign"], held["devices"]) == ("11.3", "spring/wave/1", 1)
    assert datetime.fromisoformat(held["since"]) == world.now
    request = held["request"]
    for wrong, said in (
        ([], "one of --released and --deleted"),
        (["--released", "--deleted"], "one of --released and --deleted"),
        (["--deleted", "--reason", "late"], "the evidence"),
        (["--deleted", "--evidence", "INC1"], "needs a reason"),
    ):
        code, _, err = run("quarantine", "resolve", request, *wrong)
        assert code == 1
        assert said in err
    monkeypatch.setenv("HANWAVE_USER_ID", eui(99))
    assert done(run, "quarantine", "list")["held"] == []
    another = run("quarantine", "resolve", request, "--deleted", "--reason", "late", "--evidence", "INC1")
    assert "not in quarantine" in another[2]
    monkeypatch.delenv("HANWAVE_USER_ID")
    say_so = ["--deleted", "--reason", "late", "--evidence", "INC1", "--actor", "ann"]
    assert done(run, "quarantine", "resolve", request, *say_so)["devices"] == 1
    assert done(run, "quarantine", "list")["held"] == []
    assert world.count("note", "verb = 'deleted' AND actor = 'ann' AND document ->> 'evidence' = 'INC1'") == 1
    assert world.count("device_event", "kind = 'deleted'") == 1
    assert "not in quarantine" in run("quarantine", "resolve", request, *say_so)[2]


def end(world: World, update_id: int, outcome: str) -> None:
    event = Event(Kind.CLOSED, world.now, evidence=Evidence.OURS, detail=outcome, reason=f"it is {outcome}")
    with world.engine.begin() as connection:
        record(connection, [Fact(update_id, event)], world.now)


def campaign(world: World, policy: Policy, outcomes: list[str]) -> None:
    ids = world.campaign(world.fleet(len(outcomes)), policy)
    request = CampaignRequest(release="r2", policy=policy, author="ann", approvals=2).model_dump_json(
        exclude={"policy"}
    )
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET request = CAST(:request AS jsonb)"), {"request": request})
    for update_id, outcome in zip(ids, outcomes, strict=True):
        if outcome:
            end(world, update_id, outcome)


ENDS = ["not_delivered", "needs_visit", "quiet", "left", "customer_action", ""]


def test_outcomes_are_written_as_a_table_or_as_lines(run, world, tmp_path):
    campaign(world, Policy(waves=(Wave(share=1),)), ENDS)
    assert done(run, "campaign", "outcomes", "spring", "--csv", "all.csv")["devices"] == 5
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["eui"]: row["outcome"] for row in rows} == {eui(n): end for n, end in enumerate(ENDS) if end}
    assert rows[1]["reason"] == "it is needs_visit"
    out = run("campaign", "outcomes", "spring", "--outcome", "needs_visit", "--json")[1]
    assert [json.loads(line)["eui"] for line in out.splitlines()] == [eui(1)]
    kept = (tmp_path / "all.csv").read_text()
    for wrong, says in (
        (("summer", "--csv", "all.csv"), "no campaign"),
        (
            ("spring", "--outcome", "silly", "--csv", "all.csv"),
            "there is no outcome 'silly'; there are settled, failed",
        ),
    ):
        code, out, err = run("campaign", "outcomes", *wrong)
        assert (code, out) == (1, "")
        assert says in err
        assert (tmp_path / "all.csv").read_text() == kept
    assert "cannot be written" in run("campaign", "outcomes", "spring", "--csv", "absent/all.csv")[2]


def test_a_new_run_takes_up_what_did_not_end_well_with_its_lineage(world):
    policy = Policy(waves=(Wave(devices=(eui(0),)), Wave(share=0.5), Wave(share=1)), exposure_cap=7)
    campaign(world, policy, ENDS)
    with world.engine.connect() as connection:
        request = retrying.request_for(connection, "spring", (), "bob")
        assert request.cohort.devices == (eui(0), eui(2))
        assert (request.author, request.approvals, request.lineage) == ("bob", 2, ("retry", "spring"))
        assert request.policy.waves == (Wave(share=0.5), Wave(share=1))
        assert request.policy.exposure_cap == 7
        by_name = retrying.request_for(connection, "spring", ["needs_visit", "customer_action"], "bob")
        assert by_name.cohort.devices == (eui(1), eui(4))
        assert retrying.next_name(connection, "spring") == "spring-retry-1"


def test_there_is_nothing_to_retry_of_what_a_later_update_has(world):
    campaign(world, Policy(waves=(Wave(share=1),)), ["quiet", "failed"])
    world.campaign([eui(0)], name="spring-retry-1")
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET kind = 'retry', of = 'spring' WHERE name = 'spring-retry-1'"))
        assert retrying.request_for(connection, "spring", (), "bob").cohort.devices == (eui(1),)
        assert retrying.next_name(connection, "spring") == "spring-retry-2"
        for wrong, outcomes, said in (
            ("summer", (), "there is no campaign"),
            ("spring", ["quiet"], "nothing to retry"),
            ("spring", ["sad"], "is no outcome"),
        ):
            with pytest.raises(LedgerError, match=said) as caught:
                retrying.request_for(connection, wrong, outcomes, "bob")
            assert len(str(caught.value)) <= 240
