"""Whatever is wrong with an input, the command ends with 1 and one sentence, and the ledger is what it was."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlmodel import SQLModel

from hanwave.firmware.document import release_to_dict
from tests.ledger.test_ledger_commands import files  # noqa: F401 - a fixture: good and bad files, by name
from tests.support.command import Ran, run, run_beside
from tests.support.dcc import quiet
from tests.support.fleet import fleet, row
from tests.support.ledger import US, World, eui
from tests.unit.firmware.making import release
from tests.workflow.test_campaign import FAST, running

pytestmark = pytest.mark.fault
LONGEST = 240
"""Characters of a sentence: what fits a line of a log, and is read."""


def contents(ledger: Engine) -> dict[str, tuple[int, str]]:
    """Every table: how many rows it has, and a digest of all that stands in them."""
    found = {}
    with ledger.connect() as connection:
        for table in SQLModel.metadata.tables:
            statement = text(
                f"SELECT count(*), md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {table} t"
            )
            found[table] = tuple(connection.execute(statement).one())
    return found


def refused(ran: Ran, sentence: str) -> None:
    assert ran.code == 1, (ran.code, ran.out, ran.err)
    assert ran.err.startswith("hanwave: ")
    assert ran.err.count("\n") == 1, ran.err
    assert sentence in ran.err
    assert len(ran.err.removeprefix("hanwave: ").strip()) <= LONGEST, ran.err


@pytest.fixture
def spring(world: World, ledger_dsn: str, tmp_path, monkeypatch) -> World:
    """Five meters, a release for them and one for PPMIDs, a planned campaign and one that is over; no Temporal."""
    world.release_document()
    world.device_type = "PPMID"
    world.release_document("p2")
    world.device_type = "ESME"
    world.fleet(5)
    world.campaign([eui(0)])
    world.campaign([eui(1)], name="over")
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE campaign SET closed_at = now(), status = 'closed' WHERE name = 'over'"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_TEMPORAL__ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("HANWAVE_USER_ID", US)
    return world


@dataclass(frozen=True)
class Case:
    """A command, what its sentence says, files that it reads, settings that differ, and what was done before."""

    command: str
    sentence: str
    files: dict[str, Any] | None = None
    settings: dict[str, str] | None = None
    before: tuple[str, ...] = ()


def asking(sentence: str, **request: Any) -> Case:
    """A start by a file with that request."""
    return Case("campaign start autumn ask.json", sentence, {"ask.json": {"release": "r2"} | request})


def running_by(sentence: str, **policy: Any) -> Case:
    """A start by a file with that policy."""
    return asking(sentence, policy=policy)


BAD_ROW = fleet(row(7, hub=""), row(8, device_type="IHD")).getvalue()
CPL = ("cpl import cpl.csv",)
OTHER_CPL = ("cpl import cpl_other_hash.csv",)
IMPORTED = ("cpl import cpl.csv", "release import release_unsigned.json")

CASES = {
    # What is brought in.
    "a fleet of bad rows alone": Case("fleet import bad.csv", "2 of 2 rows are refused", {"bad.csv": BAD_ROW}),
    "a fleet without a column": Case("fleet import fleet_no_hub.csv", "hub"),
    "a fleet with a column that nobody knows": Case("fleet import fleet_colour.csv", "colour"),
    "an empty fleet": Case("fleet import empty", "empty"),
    "a fleet that is not there": Case("fleet import nowhere.csv", "nowhere.csv cannot be read"),
    "a CPL of bad rows alone": Case("cpl import cpl_bad.csv", "1 rows are refused"),
    "a CPL that is empty": Case("cpl import empty", "empty"),
    "a CPL that is not there": Case("cpl import nowhere.csv", "nowhere.csv cannot be read"),
    "a release that is not JSON": Case("release import rubbish.json", "JSON"),
    "a release that names a field twice": Case("release import release_twice.json", "twice"),
    "a release whose hash is not the CPL's": Case("release import release_unsigned.json", "hash", before=OTHER_CPL),
    "a release that is not on the CPL": Case("release import release_unsigned.json", "CPL"),
    "a release without an image": Case(
        "release import bare.json", "without an image", {"bare.json": release_to_dict(release())}
    ),
    "an image of something else": Case(
        "release import release.json --image image_other.ota", "Image's length", before=CPL
    ),
    "an image that is not there": Case("release import release.json --image nowhere.ota", "nowhere.ota cannot be read"),
    "an expired certificate": Case(
        "release sign unsigned --key expired.key --cert expired.pem", "not at 20", before=IMPORTED
    ),
    "a certificate of another key": Case(
        "release sign unsigned --key key.pem --cert other.pem", "certif", before=IMPORTED
    ),
    "a key that is a certificate": Case(
        "release sign unsigned --key other.pem --cert other.pem", "key", before=IMPORTED
    ),
    "signing an unknown release": Case("release sign nothing --key key.pem --cert certificate.pem", "no release"),
    "showing an unknown release": Case("release show nothing", "there is no release 'nothing'; the ledger has p2, r2"),
    # Holds.
    "a hold without a reason": Case("hold place device 00-DB-00-00-00-00-00-01 --reason _", "needs a reason"),
    "a hold upon an unknown region": Case("hold place region Atlantis --reason why", "Atlantis"),
    "a hold that is over": Case("hold place region South --reason why --until 2001-01-01T00:00:00Z", "later than now"),
    "a hold until a time without a zone": Case("hold place region South --reason why --until 2031-01-01", "zone"),
    "lifting a hold that is not there": Case("hold lift 99 --reason why", "no hold 99"),
    # Which campaign.
    "an unknown release": asking("there is no release 'r9'; the ledger has p2, r2", release="r9"),
    "no release": Case("campaign start autumn", "name a file with the request, or a release"),
    "a request by a file and by options": Case("campaign start autumn ask.json --release r2", "not by both"),
    "a request that is not there": Case("campaign start autumn ask.json", "ask.json cannot be read"),
    "a request that is not JSON": Case("campaign start autumn ask.json", "not JSON", {"ask.json": b"{release: r2}"}),
    "a request that is a list": Case("campaign start autumn ask.json", "JSON object", {"ask.json": []}),
    "a field that nobody knows": asking("surprise", surprise=1),
    "an empty cohort": asking("the cohort is empty", cohort={"regions": ["Atlantis"]}),
    "a cohort of another type": asking("the cohort is empty", release="p2"),
    "a User ID that is none": asking("is not an EUI-64", user_id="us"),
    "a User ID of somebody else": asking("is not the User ID of this client", user_id="90B3D51F30020000"),
    "nine approvals": asking("approvals", approvals=9),
    "a name that no path can hold": Case("campaign start Spring/2 --release r2", "the campaign name 'Spring/2'"),
    "a name that is too long": Case(f"campaign start {'a' * 64} --release r2", "at most 63 long"),
    "a name taken": Case("campaign start spring --release r2", "'spring' is taken by another request"),
    "no User ID": Case("campaign start autumn --release r2", "user_id", settings={"HANWAVE_USER_ID": ""}),
    "a start without Temporal": running_by("Temporal at 127.0.0.1:1 cannot be reached", gate=FAST["gate"]),
    # How it is run.
    "a wave of 0 %": running_by("greater than 0", waves=[{"share": 0}]),
    "a wave of 150 %": running_by("less than or equal to 1", waves=[{"share": 1.5}]),
    "a wave of half a device": running_by("policy.waves.0.count", waves=[{"count": 0.5}]),
    "a wave of nothing": running_by("one of share, count or devices", waves=[{}]),
    "a wave of a share and a count": running_by("one of share, count or devices", waves=[{"share": 1, "count": 1}]),
    "no wave": running_by("waves is empty", waves=[]),
    "a wave that names no EUI-64": running_by("is not an EUI-64", waves=[{"devices": ["kitchen"]}]),
    "a wave that names a stranger": running_by("not in the cohort", waves=[{"devices": [eui(99)]}, {"share": 1}]),
    "a device in two waves": running_by("2 times", waves=[{"devices": [eui(1)]}, {"devices": [eui(1)]}]),
    "a soak without a unit": running_by("not a bare number", soak=2),
    "a soak of a word": running_by("is no duration", soak="soon"),
    "a soak of centuries": running_by("policy.soak", soak="99999w"),
    "a gate above 100 %": running_by("policy.gate.harm", gate={"harm": 95}),
    "a gate that nothing passes": running_by("policy.gate.harm", gate={"harm": 0.0}),
    "a gate that asks for what is no evidence": running_by("policy.gate.expects", gate={"expects": ["hope"]}),
    "a batch that DUIS does not take": running_by("50000", batch=50_001),
    "an infinite pace": Case(
        "campaign start autumn ask.json",
        "finite",
        {"ask.json": b'{"release":"r2","policy":{"pace":{"overall":1e999}}}'},
    ),
    "a policy that is not there": Case(
        "campaign plan --release r2 --policy nowhere.json", "nowhere.json cannot be read"
    ),
    "a policy with a mistake": Case(
        "campaign plan --release r2 --policy p.json", "p.json: policy.sweep", {"p.json": {"sweep": "?"}}
    ),
    # Steering what is not there, or not so.
    "the status of nothing": Case("campaign status autumn", "there is no campaign 'autumn'; the ledger has"),
    "watching nothing": Case("campaign watch autumn", "there is no campaign 'autumn'"),
    "a halt of an unknown campaign": Case("campaign halt autumn", "there is no campaign 'autumn'"),
    "a halt of an unknown wave": Case("campaign halt --wave spring/7", "has no wave 7: its waves are 1 to 1"),
    "a halt of a wave without its number": Case("campaign halt --wave spring", "campaign/number"),
    "a halt of an unknown model": Case(
        "campaign halt --model 9999/9999", "no device of the fleet is of model 9999/9999"
    ),
    "a halt of a model by a trade name": Case("campaign halt --model E470", "should be a model"),
    "a halt of a user by name": Case("campaign halt --user us", "is not an EUI-64"),
    "a halt of nothing in particular": Case("campaign halt", "say once what to halt"),
    "a halt of two things": Case("campaign halt spring --all", "say once what to halt"),
    "a pause of an unknown campaign": Case("campaign pause autumn --reason storm", "there is no campaign 'autumn'"),
    "a pause without a reason": Case("campaign pause spring", "a pause needs a reason"),
    "a pause of an unknown leg": Case("campaign pause spring --leg third --reason storm", "no leg 'third'"),
    "a pause of what is over": Case("campaign pause over --reason storm", "is over"),
    "a resume without a reason": Case("campaign resume spring", "resuming needs a reason"),
    "going on without a reason": Case("campaign go-on spring", "going on needs a reason"),
    "a rollback without a reason": Case("campaign roll-back spring --to r2", "a rollback needs a reason"),
    "an approval without Temporal": Case("campaign approve spring --digest 0", "cannot be reached"),
    "recovering nothing in particular": Case("recover", "name one campaign, or give --all"),
    "recovering without Temporal": Case("recover --all", "Temporal at 127.0.0.1:1 cannot be reached"),
    "an unknown device": Case("device 00-DB-FF-FF-FF-FF-FF-FF", "in no campaign, and not in the fleet"),
    "a device that is no EUI-64": Case("device kitchen", "'kitchen' is not an EUI-64"),
    "a device that is not in that campaign": Case(f"device {eui(3)} --campaign spring", "is not in campaign 'spring'"),
    # Settings.
    "a ledger that is no PostgreSQL": Case("campaign list --database sqlite://", "should begin with postgresql://"),
    "a ledger that is down": Case(
        "campaign list --database postgresql://a@127.0.0.1:1/b", "the ledger refused or was lost"
    ),
    "a setting that nobody knows": Case(
        "campaign list", "HANWAVE_SURPRISE is no setting", settings={"HANWAVE_SURPRISE": "1"}
    ),
    "a certificate of the engine's that is not there": Case(
        "campaign list", "nowhere.pem cannot be read", settings={"HANWAVE_TEMPORAL__CA": "nowhere.pem"}
    ),
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_is_one_sentence_and_changes_nothing(spring, tmp_path, monkeypatch, name):
    case = CASES[name]
    for file, content in (case.files or {}).items():
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    for command in case.before:
        assert run(*command.split()).code == 0
    for setting, value in (case.settings or {}).items():
        monkeypatch.setenv(setting, value) if value else monkeypatch.delenv(setting)
    held = contents(spring.engine)
    refused(run(*("" if word == "_" else word for word in case.command.split())), case.sentence)
    assert contents(spring.engine) == held


UNAPPROVED = {
    "approving one's own plan": ("approve autumn --digest {digest} --actor ann", "is the author"),
    "approving another plan": ("approve autumn --digest 0000 --actor bob", "the plan's digest is"),
    "approving no plan": ("approve autumn --actor bob", "the plan's digest is"),
    "resuming a plan that nobody read": ("resume autumn --reason bored --actor ann", "the plan of autumn is"),
    "resuming what nothing stops": (
        "resume autumn --reason bored --digest {digest} --actor ann",
        "nothing stops campaign 'autumn'",
    ),
    "passing a gate that does not wait": (
        "go-on autumn --reason bored --digest {digest} --actor ann",
        "no gate of campaign 'autumn' waits",
    ),
    "going back to an unknown release": (
        "roll-back autumn --to r9 --reason bad --digest {digest} --actor ann",
        "no release 'r9'",
    ),
    "going back to a release of another type": (
        "roll-back autumn --to p2 --reason bad --digest {digest} --actor ann",
        "is for a PPMID",
    ),
    "going back to nothing": (
        "roll-back autumn --reason bad --digest {digest} --actor ann",
        "name the releases to go back to",
    ),
    "starting another under its name": ("start autumn --release r2 --actor bob", "is taken by another request"),
    "a verb for a campaign that is not there": (
        "resume winter --reason why --digest {digest} --actor ann",
        "no campaign 'winter'",
    ),
    "a verb for a campaign that never ran": (
        "resume spring --reason why --digest {digest} --actor ann",
        "does not run in Temporal",
    ),
}


@pytest.mark.asyncio(loop_scope="session")
async def test_a_running_campaign_refuses_each_wrong_verb_in_one_sentence_and_goes_on(
    spring, temporal, tmp_path, monkeypatch
):
    monkeypatch.setenv("HANWAVE_TEMPORAL__ADDRESS", temporal.service_client.config.target_host)
    (tmp_path / "ask.json").write_text(json.dumps({"release": "r2", "author": "ann", "policy": FAST, "approvals": 1}))
    async with running(spring, temporal, quiet):
        started = await run_beside("campaign", "start", "autumn", "ask.json", "--json")
        assert started.code == 0, started.err
        digest = json.loads(started.out)["digest"]
        held = contents(spring.engine)
        for name, (command, sentence) in UNAPPROVED.items():
            ran = await run_beside("campaign", *command.format(digest=digest).split())
            refused(ran, sentence)
            assert contents(spring.engine) == held, name
        approved = await run_beside("campaign", "approve", "autumn", "--digest", digest, "--actor", "bob", "--json")
        assert json.loads(approved.out)["approvals"] == 1
        assert (await run_beside("campaign", "halt", "autumn", "--reason", "enough")).code == 0


def test_the_table_is_as_long_as_it_is_said_to_be():
    assert len(CASES) + len(UNAPPROVED) >= 40
