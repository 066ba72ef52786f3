"""What may be thrown at the services: each is named for what it tries, and leaves the books as they were."""

import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from hanwave import duis, gbcs
from hanwave.credentials import Role
from hanwave.identifiers import EUI64
from infra.emulator.emulator import Emulator
from infra.emulator.errors import EmulatorError
from infra.emulator.settings import EmulatorSettings
from infra.pki import Authority
from tests.support.emulator import NEW, Lab, eui, image_hash, lab, row

pytestmark = pytest.mark.part
ESME = eui("ESME")


@pytest.fixture
async def world(tmp_path):
    async with lab(tmp_path, [row("ESME"), row("ESME", 2)]) as made:
        yield made


async def _status(world: Lab, body: bytes, service: str = "S") -> int:
    """The HTTP status; nothing may have been written."""
    answer = await world.supplier.client.post(f"{world.supplier.url}/service{service}", content=body)
    assert not [line for line in await world.books() if line["kind"] == "request"]
    return answer.status_code


async def test_bytes_that_are_no_xml_are_a_400(world: Lab):
    assert await _status(world, b"\x00 no XML") == 400
    assert await _status(world, b"") == 400


async def test_an_unsigned_request_is_a_400(world: Lab):
    request = world.supplier.request(ESME, duis.ReadFirmwareVersion())
    assert await _status(world, duis.write(request)) == 400


async def test_a_request_changed_after_it_was_signed_is_a_400(world: Lab):
    signed = world.supplier.sign(world.supplier.request(ESME, duis.ReadFirmwareVersion()))
    assert await _status(world, signed.replace(ESME.encode(), eui("ESME", 2).encode())) == 400


async def test_a_request_signed_by_a_stranger_is_a_400(world: Lab):
    stranger = Authority().organisation(world.supplier.eui, Role.XML_SIGN)
    request = world.supplier.request(ESME, duis.ReadFirmwareVersion())
    now = datetime.now(UTC)
    assert await _status(world, duis.sign(request, stranger.key, stranger.certificate, now)) == 400


async def test_a_request_in_another_suppliers_name_is_a_400(world: Lab):
    signed = world.second.sign(world.second.request(ESME, duis.ReadFirmwareVersion()))
    forged = signed.replace(str(world.second.eui).encode(), str(world.supplier.eui).encode())
    assert await _status(world, forged) == 400


async def test_a_response_sent_to_a_service_is_a_400(world: Lab):
    await world.supplier.inventory(ESME)
    raw = world.supplier.sent[0]
    answer = await world.supplier.client.post(
        f"{world.supplier.url}/serviceD", content=raw.replace(b"sr:Request", b"sr:Response")
    )
    assert answer.status_code == 400


async def test_more_octets_than_a_request_can_have_are_a_413(world: Lab):
    assert await _status(world, b" " * (duis.MAX_REQUEST_BYTES + 1)) == 413


async def test_a_client_without_a_certificate_is_not_let_in(world: Lab):
    context = ssl.create_default_context(cafile=world.emulator.pki.tls_root)
    async with httpx.AsyncClient(verify=context) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(f"{world.supplier.url}/serviceS", content=b"")


async def _send(world: Lab, request: duis.Request, payload: bytes, at: datetime | None = None) -> str:
    """The code for a CV 5 with that payload; nothing may reach the device."""
    sent = duis.Request.of(request.request_id, duis.SignedPreCommand(payload, at))
    code = (await world.supplier.post("S", world.supplier.sign(sent))).code
    assert (await world.device(ESME)).row["activations"] == 0
    return code


async def test_a_pre_command_without_the_suppliers_gbcs_signature_is_refused(world: Lab):
    request = await world.supplier.command(ESME, NEW)
    payload = request.body.payload
    with_xml_key = gbcs.sign_precommand(payload[:-65], world.supplier.pki.identity("supplier-xml").key)
    assert await _send(world, request, with_xml_key) == "E48"


async def test_a_pre_command_that_was_never_signed_or_cannot_be_read_is_refused(world: Lab):
    request = await world.supplier.command(ESME, NEW)
    assert await _send(world, request, request.body.payload[:-65]) == "E48"
    other = await world.supplier.command(ESME, NEW)
    assert await _send(world, other, b"\xdf\x09") == "E48"


@pytest.mark.parametrize("change", ["target", "counter", "originator"])
async def test_a_signed_pre_command_for_something_else_is_refused(world: Lab, change):
    request = await world.supplier.command(ESME, NEW)
    ids = request.request_id
    other = {
        "target": (ids.originator, EUI64.parse(eui("ESME", 2)), ids.counter),
        "counter": (ids.originator, ids.target, ids.counter + 1),
        "originator": (world.second.eui, ids.target, ids.counter),
    }[change]
    octets = gbcs.precommand(*other, bytes.fromhex(image_hash(NEW)))
    signed = gbcs.sign_precommand(octets, world.supplier.pki.identity("supplier-gbcs").key)
    assert await _send(world, request, signed) == "E48"


async def test_an_execution_time_that_differs_from_the_signed_one_is_refused(world: Lab):
    at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    request = await world.supplier.command(ESME, NEW, at)
    assert await _send(world, request, request.body.payload, at + timedelta(hours=1)) == "E48"


async def test_a_state_folder_has_one_emulator_and_one_seed(tmp_path):
    async with lab(tmp_path):
        with pytest.raises(EmulatorError, match="does another emulator use it"):
            Emulator(EmulatorSettings(state=tmp_path, pki=tmp_path / "pki", seed="test"))
    with pytest.raises(EmulatorError, match="holds a fleet of the seed 'test'"):
        Emulator(EmulatorSettings(state=tmp_path, pki=tmp_path / "pki", seed="other"))


async def test_a_port_that_is_taken_is_said_in_a_sentence(world: Lab, tmp_path):
    port = int(world.emulator.admin_url.rpartition(":")[2])
    settings = EmulatorSettings(state=tmp_path / "other", port=0, admin_port=port)
    with pytest.raises(EmulatorError, match="is the port taken"):
        Emulator(settings)
