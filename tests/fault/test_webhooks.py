"""Webhooks whose process is killed between a post and its record: told twice under one id, never lost, never out of order."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hanwave import webhook_secrets
from hanwave.ledger import notes, webhooks
from tests.support.hooks import Posted, receiver
from tests.support.ledger import World
from tests.support.receiving import Tls, until

pytestmark = [pytest.mark.fault]


@pytest.fixture
def process(ledger_dsn, tmp_path) -> Iterator["Process"]:
    environment = {
        "HANWAVE_POSTGRES__DSN": ledger_dsn,
        "HANWAVE_WEBHOOKS__SECRETS": str(tmp_path / "secrets"),
        "HANWAVE_WEBHOOKS__CA": str(tmp_path / "ca.pem"),
    }
    started = Process(os.environ | environment)
    yield started
    started.kill()


class Process:
    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen([sys.executable, "-m", "workers.webhooks"], env=self.environment)

    def end(self) -> int:
        assert self.running
        self.running.terminate()
        return self.running.wait(20)

    def kill(self) -> None:
        if self.running:
            self.running.kill()
            self.running.wait(10)


def say(world: World, campaign: str, verbs: list[str]) -> None:
    for verb in verbs:
        with world.engine.begin() as connection:
            notes.add(connection, notes.Said("ann", verb, f"campaign/{campaign}"), datetime.now(UTC))


def test_a_kill_between_post_and_record_tells_twice_and_loses_and_reorders_nothing(world, process, tmp_path):
    tls = Tls(tmp_path)
    webhook_secrets.ensure(tmp_path / "secrets", "billing")
    with receiver(tls) as system:
        with world.engine.begin() as connection:
            webhooks.add(connection, "billing", system.url, "ann", datetime.now(UTC))
        say(world, "spring", ["plan", "approve", "pause"])
        say(world, "autumn", ["plan"])
        killed: list[str] = []

        def answer(posted: Posted) -> int:
            """The system took it, and whoever told it dies before it hears so: of two events, once each."""
            if len(system.posted) in {1, 4}:
                killed.append(posted.message)
                process.kill()
                raise ConnectionError
            return 204

        system.answer = answer
        for deaths in (1, 2):
            process.start()
            until(lambda deaths=deaths: len(killed) == deaths, 30)
        process.start()
        until(lambda: not _behind(world) and len(system.posted) == 6, 30)
    assert process.end() == 0
    told = [(each.event["data"]["campaign"], each.type, each.message) for each in system.posted]
    assert {message for *_, message in told if sum(message == m for *_, m in told) == 2} == set(killed)
    once = dict.fromkeys(told)
    assert [type_ for campaign, type_, _ in once if campaign == "spring"] == [
        *("campaign.planned", "campaign.approved", "campaign.paused")
    ]
    assert len(once) == 4


def _behind(world: World) -> list[webhooks.Told]:
    with world.engine.begin() as connection:
        return webhooks.listed(connection)[0].behind
