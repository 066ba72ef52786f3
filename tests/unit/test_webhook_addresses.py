"""Addresses that no webhook can be posted to: refused when they are given, and recorded as failures where they were taken before."""

import asyncio
from datetime import UTC, datetime

import pytest

from hanwave import settings, webhook_secrets
from hanwave.ledger import webhooks
from hanwave.ledger.database import LedgerError, engine
from hanwave.ledger.webhook_events import Event
from workers.webhooks import poster

pytestmark = pytest.mark.unit
NO_HOSTS = (
    "https://[v1.x]/T",
    "https://\N{SNOWMAN}.example.com/",
    "https://xn--a/",
    "https://a.example/" + "a" * 70_000,
)


@pytest.mark.parametrize("url", NO_HOSTS)
def test_what_httpx_does_not_take_is_no_address(url):
    with pytest.raises(LedgerError, match="the webhook's address should be"):
        webhooks.check("billing", url)


async def test_one_that_was_added_all_the_same_is_a_failure_and_not_lost_in_silence(tmp_path):
    webhook_secrets.ensure(tmp_path, "billing")
    post = poster(settings.Webhooks(secrets=tmp_path), asyncio.get_running_loop())
    for url in NO_HOSTS:
        refused = await asyncio.to_thread(post, "billing", url, Event(1, "msg_1", datetime.now(UTC), b"{}"))
        assert refused
        assert refused.why in {"it could not be reached: InvalidURL", "it could not be reached: InvalidCodepoint"}


@pytest.mark.parametrize("held", [None, "no certificate"])
async def test_authorities_that_cannot_be_read_are_said_in_a_sentence(tmp_path, held):
    if held:
        (tmp_path / "ca.pem").write_text(held)
    with pytest.raises(settings.SettingsError, match=r"webhooks\.ca names .*ca\.pem, which should be"):
        poster(settings.Webhooks(secrets=tmp_path, ca=tmp_path / "ca.pem"), asyncio.get_running_loop())


@pytest.mark.parametrize("dsn", ["postgresql://u:pass@h:notaport/db", "postgres://u:pass@h/db", "pass", ""])
def test_a_dsn_that_is_none_is_refused_and_not_repeated(dsn):
    with pytest.raises(LedgerError, match="should begin with postgresql://") as refused:
        engine(dsn)
    assert "pass" not in str(refused.value)
