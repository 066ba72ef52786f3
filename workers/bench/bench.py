"""A coordinator and its devices: one update of one device at a time, and as many devices as it can answer."""

import asyncio
from collections.abc import Callable

from prometheus_client import Counter
from zigpy import types as t
from zigpy.application import ControllerApplication
from zigpy.zcl import ClusterType

from hanwave.identifiers import EUI64
from hanwave.rollout.bench import BenchPolicy, BenchReport, Outcome
from workers.bench.admission import Admission, low_slots
from workers.bench.checks import Probed, check_image
from workers.bench.cluster import BenchOta
from workers.bench.control import Control
from workers.bench.errors import BenchError, BusyError
from workers.bench.image import BenchImage
from workers.bench.radio import BenchDevice
from workers.bench.session import OtaSession
from workers.bench.transfer import Progress, Transfer

PROGRESS_EVERY = 1.0
"""Seconds."""
ENDED = Counter("hanwave_bench_transfers_ended", "Transfers, by how they ended", ["outcome"])


class Bench:
    """A radio made by bench_radio(), started."""

    def __init__(self, radio: ControllerApplication) -> None:
        self._radio = radio
        self.admission = Admission(low_slots(radio))
        self._under_way: dict[EUI64, Transfer] = {}

    async def update(
        self,
        device: EUI64,
        image: BenchImage,
        policy: BenchPolicy,
        *,
        control: Control | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> BenchReport:
        """Bring a device to the image's version, or say how it ended; safe to call again after a crash.

        Progress is told each second, in the queue too, from the loop's own thread. Raises BenchError where
        it cannot even be tried, and whatever the control's permit raised.
        """
        found = self.device(device)
        cluster = _ota_of(found)
        if device in self._under_way:
            raise BusyError(f"{device} has an update under way: wait for its end, or cancel it")
        self._under_way[device] = transfer = Transfer(len(image.data))
        telling = asyncio.ensure_future(_tell(transfer, on_progress)) if on_progress else None
        try:
            outcome = await self._update(found, cluster, image, policy, control or Control(), transfer)
        finally:
            del self._under_way[device]
            if telling is not None:
                telling.cancel()
        ENDED.labels(outcome).inc()
        return transfer.report(outcome)

    async def _update(
        self,
        device: BenchDevice,
        cluster: BenchOta,
        image: BenchImage,
        policy: BenchPolicy,
        control: Control,
        transfer: Transfer,
    ) -> Outcome:
        refuses = check_image(image, device.eui)
        if refuses is not None:
            return refuses
        async with self.admission.slot(control, sleeps=device.sleeps) as is_admitted:
            session = OtaSession(cluster, image, policy, control, transfer)
            return await session.run() if is_admitted else Outcome.CANCELLED

    async def version(self, device: EUI64) -> int | None:
        """What the device says that it runs; None: it does not answer. BenchError where it is not here."""
        return Probed.of(await _ota_of(self.device(device)).said("current_file_version")).current_file_version

    @property
    def under_way(self) -> frozenset[EUI64]:
        """The devices that are being updated."""
        return frozenset(self._under_way)

    @property
    def joined(self) -> int:
        """How many devices are on its network; the coordinator is one of its own."""
        return len(self._radio.devices) - 1

    @property
    def transfers(self) -> list[Transfer]:
        """How far each of them is."""
        return list(self._under_way.values())

    def device(self, eui: EUI64) -> BenchDevice:
        """A device of this coordinator that has been interviewed; else BenchError."""
        found = self._radio.devices.get(t.EUI64(eui.octets[::-1]))
        if not isinstance(found, BenchDevice):
            raise BenchError(f"{eui} is not on this coordinator's network: permit joining, and switch it on")
        if not found.is_initialized:
            raise BenchError(f"{eui} has joined, but not yet said what it is: wake it, and try again in a minute")
        return found


def _ota_of(device: BenchDevice) -> BenchOta:
    try:
        cluster = device.find_cluster(BenchOta.cluster_id, ClusterType.Client)
    except ValueError:
        raise BenchError(
            f"{device.eui} has no OTA Upgrade client (cluster 0x0019): it is not updated this way"
        ) from None
    assert isinstance(cluster, BenchOta)
    return cluster


async def _tell(transfer: Transfer, on_progress: Callable[[Progress], None]) -> None:
    while True:
        on_progress(transfer.progress())
        await asyncio.sleep(PROGRESS_EVERY)
