"""A bench without hardware: simulated devices on a coordinator of software, for a lab to train on."""

import zigpy.config
from zigpy.application import ControllerApplication

from hanwave.identifiers import EUI64
from hanwave.settings import Bench, SettingsError, Training
from infra.zigbee.air import Air
from infra.zigbee.client import Habits
from infra.zigbee.device import Device
from infra.zigbee.memory import Failure, Make
from infra.zigbee.radio import VirtualRadio, virtual_config
from workers.bench.radio import bench_config, bench_radio

_FIRST_ADDRESS = 0x1000


class Lab:
    """Devices that are there for as long as the process runs; each time the radio is opened, they join."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.air = Air()
        self.devices = devices_of(self.air, bench.training)

    async def open(self) -> ControllerApplication:
        """The coordinator, with every device on its network."""
        config = {zigpy.config.CONF_MAX_CONCURRENT_REQUESTS: self._bench.requests}
        radio = bench_radio(VirtualRadio)(bench_config(virtual_config(**config)))
        radio.attach(self.air)
        await radio.startup(auto_form=False)
        await radio.permit_ncp(1)
        for device in self.devices:
            device.join()
        await radio.permit_ncp(0)
        return radio


def devices_of(air: Air, training: Training) -> list[Device]:
    """The devices that the settings describe, in that air."""
    make = Make(
        manufacturer_code=int(training.manufacturer, 16),
        image_type=training.image_type,
        hardware=int(training.hardware, 16),
    )
    habits = Habits(rest=training.rest, may_downgrade=True, failures=_failures(training))
    first = int.from_bytes(training.first.octets, "big")
    return [
        Device(
            *(air, _FIRST_ADDRESS + number, EUI64((first + number).to_bytes(8, "big"))),
            make=make,
            habits=habits,
            version=int(training.version, 16),
        )
        for number in range(training.devices)
    ]


def _failures(training: Training) -> dict[int, Failure]:
    try:
        return {int(version, 16): Failure(failure) for version, failure in training.failures.items()}
    except ValueError as error:
        raise SettingsError(
            f"bench.training.failures: {error}; it should name versions by their hexadecimal, and rejected, kept_old or"
            " silent for each"
        ) from error
