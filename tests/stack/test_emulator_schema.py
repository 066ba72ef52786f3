"""The DCC's own schema over all that the emulator says, and over what its tests send: so that two halves that share a
codec cannot agree on an error.
"""

from datetime import UTC, datetime, timedelta

import pytest

from hanwave import duis
from infra.emulator.pki import SECOND_SUPPLIER
from tests.support.dcc_material import ABSENT, DOMAIN, assert_valid
from tests.support.emulator import NEW, TYPES, Lab, eui, lab, row

pytestmark = [
    pytest.mark.part,
    pytest.mark.dcc,
    pytest.mark.skipif(not DOMAIN.is_dir(), reason=ABSENT),
]


def _rows() -> list[dict[str, str]]:
    good = [row(device_type, number) for device_type in TYPES for number in (1, 2)]
    return [*good, row("ESME", 3, smi_status="Pending"), row("PPMID", 4, gas_supplier=str(SECOND_SUPPLIER))]


async def _everything(world: Lab) -> list[bytes]:
    """One of each message; the synchronous answers."""
    answers: list[bytes] = []
    world.supplier.client.event_hooks = {"response": [_keeper(answers)]}
    supplier = world.supplier
    await world.faults(
        {"fault": "delivery_failure", "devices": [eui("GSME", 2)]},
        {"fault": "transfer_failure", "devices": [eui("PPMID", 2)]},
        {"fault": "verification_failure", "devices": [eui("ESME", 2)]},
    )
    await supplier.distribute(NEW, *(eui("ESME", number) for number in (1, 2, 3)))
    await supplier.distribute(NEW, eui("GSME", 1), eui("GSME", 2), eui("HCALCS", 1))
    await supplier.distribute(NEW, *(eui("PPMID", number) for number in (1, 2, 4)))
    await world.receiver.wait("N60", "N61", "8F72", "8F1C", "8F8A", "8F89", "8F8B")
    await world.happened(eui("GSME"), "held")
    await supplier.activate(eui("ESME"), NEW)
    soon = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    await supplier.activate(eui("GSME"), NEW, soon)
    await supplier.activate(eui("GSME", 2), NEW, soon)
    await supplier.activate(eui("HCALCS"), NEW, duis.CANCEL)
    await supplier.read_version(eui("HCALCS"))
    await supplier.inventory(eui("ESME"))
    await supplier.inventory(eui("ESME", 99))
    model = {"device_type": "HCALCS", "manufacturer": "0A01", "model": "1003"}
    await world.tell("/cpl/remove", model)
    await world.faults({"fault": "unreachable", "answer": "E20"}, quarantine={"threshold": 0, "services": ["11.1"]})
    await supplier.read_version(eui("ESME"))
    await supplier.distribute(NEW, eui("ESME"))
    await world.tell("/neighbour", {"count": 6})
    await world.receiver.wait("8F66", "8F67", "N28", "N46", "E20", "AD1")
    await world.second_receiver.wait("N59")
    return answers


def _keeper(answers: list[bytes]):
    async def keep(response) -> None:
        answers.append(await response.aread())

    return keep


async def test_every_message_is_valid_by_the_schema(tmp_path):
    async with lab(tmp_path, _rows()) as world:
        answers = await _everything(world)
        messages = [*world.supplier.sent, *answers, *world.receiver.raw, *world.second_receiver.raw]
    assert len(messages) > 45
    for message in messages:
        assert_valid(message)
