"""The supplier's own queries, on a real PostgreSQL: what is unknown, fails or takes too long is *not now*."""

import pytest
from sqlalchemy import text

from hanwave.errors import HanwaveError
from hanwave.ledger import permit, planning, queries
from hanwave.ledger.checks import CREDIT_AGAIN
from hanwave.rollout.events import Leg
from hanwave.rollout.policy import Policy, Wave
from hanwave.rollout.request import CampaignRequest
from hanwave.rollout.windows import Windows
from tests.ledger.test_windows import ask, hold_image
from tests.support.ledger import US, World

pytestmark = pytest.mark.ledger
POLICY = Policy(waves=(Wave(share=1),), windows=Windows(prepayment_check="credit"))


@pytest.fixture
def installed(world, ledger_dsn, tmp_path, monkeypatch):
    """An installation whose file of queries a test writes; all devices but the first pay beforehand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    numbers = iter(range(100))

    def install(*lines: str) -> None:
        path = tmp_path / f"queries{next(numbers)}.yaml"
        path.write_text("\n".join(["queries:", *(f"  {line}" for line in lines)]))
        monkeypatch.setenv("HANWAVE_QUERIES", str(path))

    return install


def prepaid(world: World, size: int) -> list[int]:
    ids = hold_image(world, size, POLICY)
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE device SET payment_mode = 'prepayment' WHERE eui <> (SELECT min(eui) FROM device)")
        )
    return ids


def sql(statement: str, timeout: str = "1s") -> tuple[str, ...]:
    return "credit:", f"  sql: {statement!r}", f"  timeout: {timeout}"


def activate(world: World, update_id: int) -> permit.Permit:
    return ask(world, Leg.ACTIVATE, [update_id])


def test_a_home_is_left_alone_unless_the_supplier_says_that_it_is_well(world, installed):
    # Two rows of one device that do not agree are no yes.
    installed(
        *sql(
            "SELECT eui, n <> 2 AND (n <> 4 OR half) AS ok, 'no credit' AS reason FROM"
            " (SELECT eui, row_number() OVER (ORDER BY eui) AS n FROM device) d, (VALUES (true), (false)) h(half)"
            " WHERE eui = ANY(:euis)"
        )
    )
    credit, broke, well, disputed, unknown = prepaid(world, 5)
    assert activate(world, credit).granted == (credit,)
    refused = activate(world, broke).refused[broke]
    assert (refused.reason, refused.until) == ("credit: no credit", world.now + CREDIT_AGAIN)
    assert activate(world, well).granted == (well,)
    assert activate(world, disputed).refused[disputed].reason == "credit: no credit"
    installed(*sql("SELECT eui, true AS ok, '' AS reason FROM device WHERE eui = ANY(:euis) AND false"))
    assert activate(world, unknown).refused[unknown].reason == "the query 'credit' does not know it"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("another:", "  sql: SELECT :euis"), "there is no query 'credit', the installation has another"),
        (sql("SELECT eui, ok FROM nowhere WHERE eui = ANY(:euis)"), "the query 'credit' failed: relation"),
        (sql("SELECT eui FROM device WHERE eui = ANY(:euis)"), "gives no column ok, it should give eui, ok and reason"),
        (sql("SELECT eui, null AS ok, null AS reason FROM device WHERE eui = ANY(:euis)"), "credit: not ok"),
        (sql("SELECT eui, 1 AS ok, '' AS reason FROM device WHERE eui = ANY(:euis)"), "credit: not ok"),
        (
            sql("SELECT eui, true AS ok, pg_sleep(5)::text AS reason FROM device WHERE eui = ANY(:euis)", "50ms"),
            "the query 'credit' failed: canceling statement due to statement timeout",
        ),
        (
            sql("UPDATE device SET region = 'x' WHERE eui = ANY(:euis) RETURNING eui, true AS ok, '' AS reason"),
            "cannot execute UPDATE in a read-only transaction",
        ),
        (sql("SELECT 1"), "queries.credit"),
        (("credit: 5",), "queries.credit"),
        (("credit: [",), "is not plain YAML"),
        (sql("SELECT :euis", "3s"), "queries.credit"),
    ],
)
def test_a_query_that_gives_no_answer_is_not_now(world, installed, lines, says):
    _, home = prepaid(world, 2)
    installed(*(line.replace("50ms", "0.05s") for line in lines))
    found = activate(world, home)
    assert found.granted == ()
    assert says in found.refused[home].reason
    assert len(found.refused[home].reason) <= 240
    assert world.count("outbox", "leg = 'activate'") == 0
    assert world.count("device", "region = 'x'") == 0


def test_without_a_file_of_queries_nothing_is_known(world, installed, monkeypatch, tmp_path):
    _, home = prepaid(world, 2)
    assert "no queries are installed" in activate(world, home).refused[home].reason
    monkeypatch.setenv("HANWAVE_QUERIES", str(tmp_path / "gone.yaml"))
    assert "cannot be read" in activate(world, home).refused[home].reason


def test_a_plan_that_names_no_query_of_the_installation_is_refused(world, installed):
    world.release_document()
    world.fleet(1)
    installed("another:", "  sql: SELECT :euis")
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE release SET stage = 'general'"))
    request = CampaignRequest(release="r2", author="ann", policy=POLICY)
    with pytest.raises(HanwaveError, match="there is no query 'credit'"), world.engine.begin() as connection:
        planning.freeze(connection, "spring", request, US, world.now)
    assert world.count("campaign") == 0


def test_the_query_is_asked_of_those_who_pay_beforehand_alone(world, installed):
    installed(*sql("SELECT eui, true AS ok, '' AS reason FROM device WHERE eui = ANY(:euis)"))
    credit, home = prepaid(world, 2)
    with world.engine.connect() as connection:
        euis = list(connection.execute(text("SELECT eui FROM device ORDER BY eui")).scalars())
    assert queries.check("credit", [euis[1]]) == {}
    assert [activate(world, each).granted for each in (credit, home)] == [(credit,), (home,)]
