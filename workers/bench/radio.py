"""zigpy's radios and devices, as the bench needs them: Smart Energy devices are heard, and an OTA retry is no duplicate.

Guarantee: every device of such a radio, joined or read back from its database, has the bench's OTA cluster from the
first moment on, and zigpy itself looks for no image, on the Internet or elsewhere.
"""

# mypy: disallow-untyped-calls=False
# (zigpy's own number types, and its ZDO's methods, are untyped)

from typing import Any, TypeVar

import zigpy.config
import zigpy.types as t
from zigpy.application import ControllerApplication
from zigpy.device import ZigbeeDevice
from zigpy.profiles import zha
from zigpy.zcl.clusters.general import Basic, Ota
from zigpy.zdo import ZDO
from zigpy.zdo.types import ZDOHeader

# Its import puts the bench's OTA cluster into zigpy's registry.
import workers.bench.cluster  # noqa: F401
from hanwave.identifiers import EUI64

SMART_ENERGY = 0x0109
SMART_ENERGY_ENDPOINT = 10
_ENERGY_SERVICE_INTERFACE = 0x0500
_Radio = TypeVar("_Radio", bound=ControllerApplication)


class BenchZdo(ZDO):
    """Says that there is an OTA server to those who search for one in Smart Energy, which zigpy denies."""

    def handle_match_desc_req(
        self, hdr: ZDOHeader, addr: t.NWK, profile: int, in_clusters: list[int], out_cluster: list[int]
    ) -> None:
        """Answer a Match_Desc_req."""
        if profile != SMART_ENERGY or Ota.cluster_id not in in_clusters:
            super().handle_match_desc_req(hdr, addr, profile, in_clusters, out_cluster)
            return
        own = self._device.application.state.node_info.nwk
        self.create_catching_task(
            self.Match_Desc_rsp(
                0, own, [t.uint8_t(SMART_ENERGY_ENDPOINT)], tsn=hdr.tsn, priority=t.PacketPriority.CRITICAL
            )
        )


class BenchDevice(ZigbeeDevice):
    """A device on the bench, of Home Automation or Smart Energy."""

    def __init__(self, application: ControllerApplication, ieee: t.EUI64, nwk: t.NWK) -> None:
        super().__init__(application, ieee, nwk)
        self.zdo = self.endpoints[0] = BenchZdo(self)

    def custom_profile_packet_received(self, packet: t.ZigbeePacket) -> None:
        """ZCL is ZCL in Smart Energy too; zigpy reads it in two other profiles only."""
        if packet.profile_id == SMART_ENERGY:
            self.packet_received(packet.replace(profile_id=zha.PROFILE_ID))
        else:
            super().custom_profile_packet_received(packet)

    def _should_filter_packet(self, packet: t.ZigbeePacket) -> bool:
        # A client may repeat a request octet for octet because it lost the answer: dropping it would stall it.
        return packet.cluster_id != Ota.cluster_id and super()._should_filter_packet(packet)

    @property
    def eui(self) -> EUI64:
        """Its EUI-64."""
        return EUI64(bytes(self.ieee.serialize())[::-1])

    @property
    def sleeps(self) -> bool:
        """Whether it hears only when it polls; what has not said so is taken to be awake."""
        return self.node_desc is not None and self.node_desc.is_receiver_on_when_idle is False


def bench_radio(radio: type[_Radio]) -> type[_Radio]:
    """A zigpy radio whose devices are BenchDevices."""

    class BenchRadio(radio):  # type: ignore[valid-type,misc]
        def add_device(self, ieee: t.EUI64, nwk: t.NWK) -> BenchDevice:
            """Make a device that joined, or was read back."""
            self.devices[ieee] = device = BenchDevice(self, ieee, nwk)
            return device

        async def form_network(self, *, fast: bool = False) -> None:
            """Form a network on a new coordinator, and open it anew."""
            await super().form_network(fast=fast)
            if not fast:
                # zigpy starts it more than once on the way, and bellows would tell each frame as often.
                await self.disconnect()
                await self.connect()

    return BenchRadio


def bench_config(config: dict[str, Any]) -> dict[str, Any]:
    """A zigpy configuration for the bench: the endpoint that Smart Energy devices look for, and no OTA of zigpy's own."""
    return {
        **config,
        zigpy.config.CONF_OTA: {zigpy.config.CONF_OTA_ENABLED: False, zigpy.config.CONF_OTA_PROVIDERS: []},
        zigpy.config.CONF_TOPO_SCAN_ENABLED: False,
        zigpy.config.CONF_ADDITIONAL_ENDPOINTS: [
            {
                "endpoint": SMART_ENERGY_ENDPOINT,
                "profile": SMART_ENERGY,
                "device_type": _ENERGY_SERVICE_INTERFACE,
                "device_version": 0,
                "input_clusters": [Basic.cluster_id, Ota.cluster_id],
                "output_clusters": [],
            }
        ],
    }
