"""Messages of others, messages that come too late and too early: through the real receive service, while campaigns run."""

import asyncio
import hashlib
import ssl
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import text

from hanwave import duis
from hanwave.identifiers import EUI64, RequestID
from infra.emulator.pki import SUPPLIER, Pki
from tests.support import messages as m
from tests.support.emulator import Supplier, tls
from tests.support.rollout_world import Rollout, request, rollout

pytestmark = [pytest.mark.fault, pytest.mark.stack, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with rollout(tmp_path_factory.mktemp("messages")) as world:
        yield world


def deliver(world: Rollout, message: duis.Response) -> str:
    """Bring a message as the DCC does; its digest, by which the inbox knows it from what else comes meanwhile."""
    pki = Pki(world.samples / "pki")
    signer = pki.identity("acb")
    context = ssl.create_default_context(cafile=pki.tls_root)
    context.load_cert_chain(pki.certificate_path("emulator-tls"), pki.key_path("emulator-tls"))
    body = duis.sign(message, signer.key, signer.certificate, datetime.now(UTC))
    url = f"https://127.0.0.1:{world.stack.port('receive')}/dcc"
    assert httpx.post(url, content=body, verify=context, timeout=20).status_code == 204
    return hashlib.sha256(body).hexdigest()


def route(world: Rollout, digest: str) -> str | None:
    """What a message was to us; None until it is routed."""
    return world.value("SELECT route FROM inbox WHERE digest = :digest", digest=digest)


def verified(eui: str, image_hash: str, counter: int) -> duis.Response:
    return m.verified(EUI64.parse(eui), bytes.fromhex(image_hash), counter=counter, at=datetime.now(UTC), to=SUPPLIER)


def stored(world: Rollout) -> list[tuple[str, RequestID | None]]:
    """Each message in the inbox: what it was to us, and its ResponseID; its RequestID, where a meter gave no answer (E21)."""
    rows = [(row.route, duis.read(row.raw)) for row in world.rows("SELECT route, raw FROM inbox ORDER BY id")]
    return [(route, message.response_id or message.request_id) for route, message in rows]


class Neighbour:
    """A second system on our User ID: it is sent messages, ten for each of ours, and sends requests of its own."""

    def __init__(self, world: Rollout) -> None:
        self.world = world
        self.sent_to: list[str] = []
        self.asked = 0
        self.over = False

    async def run(self) -> None:
        """Until it is told to stop; it reads the meters that are being updated, again and again."""
        pki = Pki(self.world.samples / "pki")
        url = f"https://127.0.0.1:{self.world.stack.port('emulator')}/api/v1"
        euis = [row.eui for row in self.world.rows("SELECT eui FROM campaign_device ORDER BY eui")]
        async with httpx.AsyncClient(verify=tls(pki), timeout=20) as client:
            supplier = Supplier(pki, url, client)
            while not self.over:
                await asyncio.to_thread(self.top_up)
                if self.asked < 40:
                    now = int(datetime.now(UTC).timestamp() * 1000)
                    read = supplier.request(EUI64.parse(euis[self.asked % len(euis)]), duis.ReadFirmwareVersion(), now)
                    assert (await supplier.post("S", supplier.sign(read))).code == "I99"
                    self.asked += 1
                await asyncio.sleep(0.3)

    def top_up(self) -> None:
        ours = self.world.value("SELECT count(*) FROM inbox WHERE route IN ('ours', 'late')")
        if wanted := max(0, 10 * (ours + 1) - len(self.sent_to)):
            self.sent_to += self.world.lever("/neighbour", {"count": min(wanted, 200)})


async def test_nothing_of_a_neighbour_is_lost_or_taken_for_ours(world):
    neighbour = Neighbour(world)
    async with world.client() as client:
        campaign = await client.start("gsme", request("acme-gsme-0102", {"count": 4}, {"share": 1}))
        traffic = asyncio.create_task(neighbour.run())
        end = await asyncio.wait_for(campaign.wait(), 120)
        neighbour.over = True
        await traffic
    assert all(wave.passed for wave in end.waves)
    await asyncio.to_thread(neighbour.top_up)
    await asyncio.to_thread(neighbour.top_up)

    every = "SELECT count(*) FROM inbox WHERE routed_at IS NOT NULL AND route = 'foreign'"
    wanted = len(neighbour.sent_to) + neighbour.asked
    await world.until(lambda: world.value(every) >= wanted, "every foreign message is routed", 60)
    inbox = stored(world)
    foreign = [str(its_id) for route, its_id in inbox if route == "foreign"]
    ours = [its_id for route, its_id in inbox if route != "foreign"]
    assert set(neighbour.sent_to) <= set(foreign)
    # What else is foreign are the answers to the neighbour's own requests; each came once.
    assert len(foreign) == len(set(foreign)) == len(neighbour.sent_to) + neighbour.asked
    assert len(neighbour.sent_to) >= 10 * len(ours) > 0
    assert {route for route, _ in inbox} <= {"foreign", "ours", "late"}

    counters = [
        RequestID.parse(row.request_id).counter for row in world.rows("SELECT request_id FROM outbox ORDER BY id")
    ]
    assert counters == sorted(set(counters))
    world.assert_books()


async def test_evidence_of_an_ended_update_is_kept_as_late_and_starts_nothing(world):
    device = world.rows("SELECT eui FROM campaign_device WHERE state = 'settled' LIMIT 1")[0].eui
    image_hash = world.value("SELECT image_hash FROM release WHERE name = 'acme-gsme-0102'")
    sent, events = world.value("SELECT count(*) FROM outbox"), world.events()
    digest = await asyncio.to_thread(deliver, world, verified(device, image_hash, 900_001))
    assert await world.until(lambda: route(world, digest), "it is routed") == "late"
    told = "SELECT count(*) FROM note WHERE verb = 'late' AND key = :key"
    assert world.value(told, key=f"late/{digest}/{device}") == 1
    await asyncio.sleep(2)
    assert (world.value("SELECT count(*) FROM outbox"), world.events()) == (sent, events)
    world.assert_books()


async def test_evidence_of_a_device_in_no_campaign_is_anothers(world):
    device = world.rows(
        "SELECT d.eui FROM device d LEFT JOIN campaign_device u ON u.eui = d.eui"
        " WHERE u.id IS NULL AND d.device_type = 'ESME' LIMIT 1"
    )[0].eui
    events = world.events()
    digest = await asyncio.to_thread(deliver, world, verified(device, "AB" * 32, 900_002))
    assert await world.until(lambda: route(world, digest), "it is routed") == "foreign"
    assert world.events() == events
    assert world.rows("SELECT 1 FROM lease WHERE eui = :eui", eui=device) == []
    world.assert_books()


async def test_evidence_that_comes_before_the_command_is_recorded_counts(world):
    await asyncio.to_thread(world.stack.hold, "emulator")
    async with world.client() as client:
        campaign = await client.start("hcalcs", request("echo-hcalcs-0502"))
        state = "SELECT coalesce(max(state), '') FROM outbox WHERE campaign = 'hcalcs'"
        await world.until(lambda: world.value(state) == "ready", "the request waits for the DCC")
        with world.ledger.connect() as connection:
            # Whoever records the acknowledgement waits here; what the devices say overtakes it.
            connection.execute(text("SELECT 1 FROM outbox_body ORDER BY outbox_id DESC LIMIT 1 FOR UPDATE"))
            world.stack.release("emulator")
            heard = (
                "SELECT count(*) FROM device_event e JOIN campaign_device u ON u.id = e.update_id"
                " WHERE u.campaign = 'hcalcs' AND e.kind = :kind"
            )
            await world.until(lambda: world.value(heard, kind="delivered"), "the images arrive at the hubs")
            assert world.value(state) == "sending"
            assert world.value(heard, kind="sent") == world.value(heard, kind="accepted") == 0
        await asyncio.wait_for(campaign.wait(), 90)
    ends = world.rows("SELECT state, outcome FROM campaign_device WHERE campaign = 'hcalcs'")
    assert ends
    assert {row.state for row in ends} == {"settled"}
    world.assert_books()


async def test_what_is_unknown_is_named_and_known_once_the_device_can_be_reached(world):
    away = [row.eui for row in world.rows("SELECT eui FROM device WHERE device_type = 'PPMID' ORDER BY eui")]
    for eui in away:
        world.lever(f"/devices/{eui}", {"plugged": False})
    quick = {
        kind: {**each, "distribute": "6s", "read": "3s"} for kind, each in request("x")["policy"]["deadlines"].items()
    }
    policy = {"deadlines": quick, "attempts": {"distribute": 1, "activate": 1, "read": 1}}
    async with world.client() as client:
        campaign = await client.start("ppmid", request("delta-ppmid-0401", **policy))
        ended = "SELECT count(*) FROM campaign_device WHERE campaign = 'ppmid' AND state <> 'closed'"
        await world.until(lambda: world.value(ended) == 0, "every update ends, in silence", 90)
        planned = {row.eui for row in world.rows("SELECT eui FROM campaign_device WHERE campaign = 'ppmid'")}
        assert planned
        assert set(world.unknown()) == planned
        world.assert_books()
        for eui in away:
            world.lever(f"/devices/{eui}", {"plugged": True})
        await world.until(lambda: not world.unknown(), "each says what it runs", 30)
        assert (await campaign.status()).waves[0].passed is False
    world.assert_books()
