"""The gate's judgement on a real PostgreSQL: what it is judged by, what is kept of it, and what comes out again."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from hanwave.cli.main import main
from hanwave.ledger import campaigns, judging, waves
from hanwave.ledger.database import LedgerError
from hanwave.rollout.bounds import Share
from hanwave.rollout.events import Evidence, Kind
from hanwave.rollout.gate import Baseline, Counts, Judgement, Verdict
from hanwave.rollout.policy import Gate, Policy, Proof, Wave
from tests.support.judging import DAY, GATE, activated, begin, close, counts, event, explained, go_quiet, say, settle
from tests.support.ledger import VERSION, World

pytestmark = pytest.mark.ledger


def test_a_wave_that_went_well_passes_and_its_verdict_comes_out_of_its_inputs_again(world):
    settle(world, begin(world, 8))
    assert close(world) == Judgement(Verdict.PASS, "8 of 8 devices with evidence settled")
    found = explained(world)
    assert found.equal
    (stratum,) = found.inputs.strata
    assert str(stratum) == "121D/1111 from 00000001 in South"
    assert stratum.counts == Counts(settled=8)
    assert stratum.seen == {Proof.VERIFIED: 8, Proof.ACTIVATED: 8, Proof.READ_BACK: 8}
    assert found.gate == GATE


def test_the_first_verdict_of_a_wave_stands(world):
    ids = begin(world, 8)
    settle(world, ids[:4])
    first = close(world)
    assert first.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    settle(world, ids[4:])
    assert close(world) == first


def test_every_device_counts_once_and_the_excused_nowhere(world):
    ids = begin(world, 8)
    settle(world, ids[:2])
    go_quiet(world, ids[2:3])
    for update_id, outcome in zip(ids[3:6], ("failed", "not_verified", "left"), strict=True):
        say(world, [update_id], event(Kind.CLOSED, world.now, evidence=Evidence.OURS, detail=outcome))
    close(world)
    assert counts(world) == Counts(settled=2, failed=1, refused=1, silent=1, open=2)


def test_a_visit_that_an_activated_device_needs_is_not_excused(world):
    ids = begin(world, 8)
    say(world, ids[:1], *activated(world))
    say(world, ids[:2], event(Kind.CLOSED, world.now + DAY, evidence=Evidence.OURS, detail="needs_visit"))
    settle(world, ids[2:])
    close(world)
    assert counts(world) == Counts(settled=6, silent=1)


@pytest.mark.parametrize("missing", [Kind.VERIFIED, Kind.ACTIVATED, Kind.VERSION])
def test_a_kind_of_evidence_that_was_lost_whole_never_passes(world, missing):
    settle(world, begin(world, 30), without=missing)
    judged = close(world)
    assert judged.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert f"evidence of the kind '{missing}' came from none of the 30 settled devices" in judged.reason


def test_the_inventorys_word_is_no_read_back(world):
    ids = begin(world, 10)
    settle(world, ids, without=Kind.VERSION)
    say(world, ids, event(Kind.VERSION, world.now + 3 * DAY, evidence=Evidence.DCC, version=VERSION))
    assert "'version' came from none" in close(world).reason


def test_a_failed_verification_at_power_on_during_the_soak_is_harm(world):
    ids = begin(world, 8)
    settle(world, ids)
    with world.engine.begin() as connection:
        for number, reason, at in ((0, "8F1B", DAY), (1, "8F1B", -DAY), (2, "another alarm", DAY)):
            connection.execute(
                text(
                    "INSERT INTO note (at, actor, verb, subject, reason, document) SELECT :at, 'hanwave', 'alarm',"
                    " 'device/' || eui, :reason, '{}' FROM campaign_device WHERE id = :id"
                ),
                {"at": world.now + at, "reason": reason, "id": ids[number]},
            )
    close(world)
    assert counts(world) == Counts(settled=7, failed=1)


def heard(world: World, where: str, **ago: float) -> None:
    with world.engine.begin() as connection:
        statement = text(f"UPDATE device SET last_heard = :at WHERE {where}")
        connection.execute(statement, {"at": world.now - timedelta(**ago)})


def test_silence_is_compared_with_what_it_was_before_and_with_the_not_yet_updated(world):
    world.fleet(60)
    heard(world, "eui < '00-DB-00-00-00-00-00-10'", days=30)  # 16 of the 40 of the wave
    heard(world, "eui >= '00-DB-00-00-00-00-00-10'", days=1)
    heard(world, "eui >= '00-DB-00-00-00-00-00-32'", days=40)  # 10 of the 20 beside it
    with world.engine.begin() as connection:
        euis = list(connection.execute(text("SELECT eui FROM device ORDER BY eui LIMIT 40")).scalars())
    ids = world.campaign(euis, Policy(waves=(Wave(share=1),), gate=GATE))
    with world.engine.begin() as connection:
        waves.open_wave(connection, "spring", 1, world.now)
    heard(world, "eui < '00-DB-00-00-00-00-00-28'", days=0)  # what is heard after it began changes nothing
    settle(world, ids)
    close(world)
    assert explained(world).inputs.baselines == (Baseline("South", Share(16, 40), Share(10, 20)),)
    assert explained(world).inputs.ordinary == 0.02


def test_another_suppliers_devices_and_those_that_run_the_version_are_no_baseline(world):
    ids = begin(world, 20, others=10)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE device SET last_heard = :now"), {"now": world.now})
        connection.execute(text("UPDATE device SET import_supplier = 'another' WHERE eui >= '00-DB-00-00-00-00-00-18'"))
    world.runs(VERSION, ["00-DB-00-00-00-00-00-14"])
    settle(world, ids)
    close(world)
    (baseline,) = explained(world).inputs.baselines
    assert baseline.now == Share(0, 3)


def test_a_fleet_that_was_never_heard_of_is_no_baseline(world):
    settle(world, begin(world, 8, others=5))
    close(world)
    assert explained(world).inputs.baselines == ()


# Explaining.


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["hanwave", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    return caught.value.code or 0, said.out, said.err


def test_explain_shows_each_bound_and_stratum_and_that_the_verdict_is_the_same(world, ledger_dsn, monkeypatch, capsys):
    ids = begin(world, 10)
    settle(world, ids[:9])
    go_quiet(world, ids[9:])
    close(world)
    code, out, _ = run(monkeypatch, capsys, "campaign", "explain", "spring", "--database", ledger_dsn)
    assert code == 0
    for said in (
        "the same from its inputs",
        "harm of 121D/1111 from 00000001 in South",
        "silence, than before the update",
    ):
        assert said in out
    code, out, _ = run(
        monkeypatch, capsys, "campaign", "explain", "spring", "--wave", "1", "--json", "--database", ledger_dsn
    )
    (facts,) = json.loads(out)["waves"]
    assert (code, facts["equal"], facts["stored"]["verdict"]) == (0, True, "pass")
    assert facts["inputs"]["strata"][0]["counts"]["silent"] == 1


def test_a_verdict_that_its_inputs_do_not_give_is_found(world, ledger_dsn, monkeypatch, capsys):
    go_quiet(world, begin(world, 10))
    close(world)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET verdict = 'pass'"))
    code, out, err = run(monkeypatch, capsys, "campaign", "explain", "spring", "--database", ledger_dsn)
    assert code == 1
    assert "but its inputs give not enough evidence" in out
    assert "the kept verdict of wave 1 of spring is not what its inputs give" in err


def test_what_was_not_judged_or_cannot_be_read_is_refused(world):
    begin(world, 2)
    with pytest.raises(LedgerError, match="wave 1 of spring was not judged yet"):
        explained(world)
    with world.engine.begin() as connection, pytest.raises(LedgerError, match="has no wave 7"):
        judging.recompute(connection, "spring", 7)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE wave SET verdict = 'pass', judged = '{\"gate\": {\"harm\": 95}}'"))
    with pytest.raises(LedgerError, match="what wave 1 of spring was judged by cannot be read"):
        explained(world)


def test_the_waves_own_gate_is_the_one_that_judges(world):
    strict = Gate(harm=0.01)
    ids = world.campaign(world.fleet(8), Policy(waves=(Wave(share=1, gate=strict),), gate=GATE))
    settle(world, ids)
    assert close(world).verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert explained(world).gate == strict
    with world.engine.begin() as connection:
        assert campaigns.gate(connection, "spring", 1) == strict
