"""`hanwave webhook`, and the process that tells, against a real HTTPS receiver."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from hanwave import settings
from hanwave.ledger import audit
from tests.support.command import run
from tests.support.hooks import Receiver, receiver, say
from tests.support.ledger import World
from tests.support.receiving import Tls
from workers.webhooks import Telling, poster

pytestmark = pytest.mark.ledger
URL = "https://events.example.com/hanwave"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def system(tls) -> Iterator[Receiver]:
    with receiver(tls) as received:
        yield received


@pytest.fixture
def told(tls, tmp_path) -> settings.Webhooks:
    return settings.Webhooks(secrets=tmp_path / "secrets", ca=tls.file("ca.pem"))


@pytest.fixture
def commands(world, ledger_dsn, told, monkeypatch, tmp_path) -> World:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_POSTGRES__DSN", ledger_dsn)
    monkeypatch.setenv("HANWAVE_WEBHOOKS__SECRETS", str(told.secrets))
    world.now = datetime.now(UTC)
    return world


def command(*arguments: str) -> dict:
    ran = run("webhook", *arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


async def test_a_real_receiver_verifies_what_it_is_told_and_a_dead_one_stops_nobody(commands, told, system):
    made = command("add", "billing", f"{system.url}/hanwave")
    secret = (told.secrets / "billing").read_text()
    assert made["secret"] == str(told.secrets / "billing")
    command("add", "dead", "https://127.0.0.1:1/")
    command("add", "unsure", f"{system.url}/unsure")
    (told.secrets / "unsure").write_text("no secret at all")
    command("add", "moved", f"{system.url}/moved")
    system.answer = lambda posted: 307 if posted.path == "/moved" else 204
    say(commands, "plan", digest="d", release="r2")
    say(commands, "approve")
    telling = Telling(commands.engine, poster(told, asyncio.get_running_loop()), DAY)
    while len(system.of("/hanwave")) < 2:
        await telling.make_round()
        await asyncio.sleep(0.05)
    await telling.end()
    assert [posted.type for posted in system.of("/hanwave")] == ["campaign.planned", "campaign.approved"]
    assert all(posted.is_signed_with(secret) for posted in system.of("/hanwave"))
    assert not any(posted.is_signed_with("whsec_" + "A" * 32) for posted in system.of("/hanwave"))
    errors = {each["name"]: each["behind"][0]["error"] for each in command("list")["webhooks"] if each["behind"]}
    assert errors["dead"] == "it could not be reached: ConnectError"
    assert errors["unsure"].startswith("the secret file ")
    assert errors["moved"] == "it answered 307"
    lines = [line.split() for line in run("webhook", "list").out.splitlines()]
    assert ["dead", "spring"] in [line[:2] for line in lines]
    assert command("resend", "dead") == {"name": "dead", "campaigns": 1}
    assert command("remove", "dead", "--reason", "gone") == {"name": "dead", "removed": True}
    assert [each["name"] for each in command("list")["webhooks"]] == ["billing", "moved", "unsure"]


async def test_who_takes_a_post_and_never_answers_is_not_waited_for(commands, told, system, monkeypatch):
    monkeypatch.setattr("workers.webhooks.PATIENCE_SECONDS", 0.5)
    command("add", "slow", f"{system.url}/hanwave")
    say(commands, "plan")
    late = threading.Event()
    system.answer = lambda _: late.wait(20) and 204
    telling = Telling(commands.engine, poster(told, asyncio.get_running_loop()), DAY)
    await telling.make_round()
    await telling.end()
    late.set()
    assert command("list")["webhooks"][0]["behind"][0]["error"] in {
        "it could not be reached: TimeoutError",
        "it could not be reached: ReadTimeout",
    }


def test_no_secret_and_no_address_gets_into_the_ledgers_audit(commands, told, monkeypatch):
    # From standard input, so that no list of processes and no shell's history has it either.
    monkeypatch.setattr("sys.stdin", io.StringIO("https://events.example.com/T0K3N?key=T0K3N\n"))
    assert command("add", "billing", "-")["url"] == "https://events.example.com/T0K3N?key=T0K3N"
    command("remove", "billing", "--reason", "gone")
    audit.catch_up(commands.engine)
    said = b"".join(audit.export(commands.engine)).decode()
    assert "events.example.com" in said
    secret = (told.secrets / "billing").read_text().strip().removeprefix("whsec_")
    assert "T0K3N" not in said
    assert secret not in said
    with commands.engine.begin() as connection:
        everything = connection.execute(text("SELECT to_jsonb(w)::text FROM webhook w")).scalars().all()
    assert secret not in "".join(everything)


def test_without_a_folder_of_secrets_it_says_which_setting_is_missing(commands, monkeypatch):
    monkeypatch.delenv("HANWAVE_WEBHOOKS__SECRETS")
    refused = run("webhook", "add", "billing", URL)
    assert (refused.code, "the setting webhooks is missing" in refused.err) == (1, True)
