"""A coordinator of software: a zigpy radio whose air is simulated, and whose network forgets nothing but its process.

Of infra this module alone imports zigpy (GPL-3.0): nothing but the bench and its tests may import it.
"""

# mypy: disallow-untyped-calls=False
# (zigpy's own number types have untyped constructors)

from typing import Any, ClassVar

import zigpy.config
import zigpy.state
import zigpy.types as t
from zigpy.application import ControllerApplication
from zigpy.device import ZigbeeDevice
from zigpy.endpoint import Status
from zigpy.exceptions import DeliveryError
from zigpy.profiles import zha
from zigpy.zdo.types import LogicalType, NodeDescriptor, SimpleDescriptor

from hanwave.identifiers import EUI64
from infra.zigbee.air import Air
from infra.zigbee.frames import Frame

COORDINATOR_EUI = t.EUI64.convert("00:12:4b:00:00:00:00:01")
_PAN, _CHANNEL = t.PanId(0x1A62), t.uint8_t(20)


class VirtualRadio(ControllerApplication):
    """A zigpy application on an Air: attach() it before startup(). The path in its configuration is not used."""

    DISPLAY_NAME: ClassVar[str | None] = "hanwave's virtual radio"
    DESCRIPTION: ClassVar[str | None] = "simulated devices, no hardware"
    air: Air

    def attach(self, air: Air) -> None:
        """Take the coordinator's place in the air."""
        self.air = air
        self.descriptors: list[SimpleDescriptor] = []
        self.is_open = False
        air.coordinator = self

    # What the air asks of a coordinator

    def hear(self, frame: Frame) -> None:
        """Pass a device's frame to zigpy."""
        self.packet_received(
            t.ZigbeePacket(
                src=t.AddrModeAddress(t.AddrMode.NWK, t.NWK(frame.source)),
                src_ep=t.uint8_t(frame.source_endpoint),
                dst=t.AddrModeAddress(t.AddrMode.NWK, t.NWK(frame.destination)),
                dst_ep=t.uint8_t(frame.destination_endpoint),
                tsn=t.uint8_t(frame.counter),
                profile_id=t.uint16_t(frame.profile),
                cluster_id=t.uint16_t(frame.cluster),
                data=t.SerializableBytes(frame.payload),
                lqi=t.uint8_t(255),
                rssi=t.int8s(-40),
            )
        )

    def asked_to_join(self, address: int, eui: EUI64) -> bool:
        """Let a device join while joining is permitted."""
        if self.is_open:
            self.handle_join(t.NWK(address), t.EUI64(eui.octets[::-1]), t.NWK(0))
        return self.is_open

    # What zigpy asks of a radio

    async def connect(self) -> None:
        """There is no port to open."""

    async def disconnect(self) -> None:
        """Leave the air."""
        self.air.coordinator = None

    async def start_network(self) -> None:
        """Be there, with the endpoints that zigpy and its configuration want."""
        await self.register_endpoints()
        itself = self.add_device(self.state.node_info.ieee, self.state.node_info.nwk)
        itself.node_desc = NodeDescriptor(0, 64, 142, 0x1234, 82, 255, 11264, 255, 0)
        endpoint = itself.add_endpoint(1)
        endpoint.status, endpoint.profile_id = Status.ZDO_INIT, zha.PROFILE_ID
        endpoint.device_type = zha.DeviceType.IAS_CONTROL

    async def load_network_info(self, *, load_devices: bool = False) -> None:  # noqa: ARG002 - zigpy's signature
        """A network that was formed once and for all."""
        self.state.node_info = zigpy.state.NodeInfo(
            nwk=t.NWK(0), ieee=COORDINATOR_EUI, logical_type=LogicalType.Coordinator
        )
        self.state.network_info.pan_id, self.state.network_info.channel = _PAN, _CHANNEL

    async def write_network_info(
        self, *, network_info: zigpy.state.NetworkInfo, node_info: zigpy.state.NodeInfo
    ) -> None:
        """Take other settings."""
        self.state.network_info, self.state.node_info = network_info, node_info

    async def reset_network_info(self) -> None:
        """There is nothing to leave."""

    async def add_endpoint(self, descriptor: SimpleDescriptor) -> None:
        """Keep the endpoint."""
        self.descriptors.append(descriptor)

    async def permit_ncp(self, time_s: int = 60) -> None:
        """Open the network; 0 closes it. It stays open until then, however long was asked."""
        self.is_open = time_s > 0

    async def permit_with_link_key(self, node: t.EUI64, link_key: t.KeyData, time_s: int = 60) -> None:  # noqa: ARG002
        """Open the network: the air knows no keys."""
        await self.permit_ncp(time_s)

    async def force_remove(self, dev: ZigbeeDevice) -> None:
        """Take it out of the air."""
        self.air.nodes.pop(int(dev.nwk), None)

    async def send_packet(self, packet: t.ZigbeePacket) -> None:
        """Send; DeliveryError where no acknowledgement comes back."""
        assert packet.dst is not None
        assert isinstance(packet.dst.address, int)
        frame = Frame(
            source=0,
            destination=packet.dst.address,
            source_endpoint=packet.src_ep or 0,
            destination_endpoint=packet.dst_ep or 0,
            profile=packet.profile_id,
            cluster=packet.cluster_id,
            counter=packet.tsn or 0,
            payload=packet.data.serialize(),
            encrypted=bool(packet.tx_options & t.TransmitOptions.APS_Encryption),
        )
        async with self._limit_concurrency(priority=packet.priority):
            if not await self.air.down(frame):
                raise DeliveryError("no acknowledgement from the device")


def virtual_config(**more: Any) -> dict[str, Any]:
    """A zigpy configuration for a VirtualRadio: no port, no database, nothing that asks the Internet."""
    return {
        zigpy.config.CONF_DEVICE: {zigpy.config.CONF_DEVICE_PATH: "virtual"},
        zigpy.config.CONF_DATABASE: None,
        zigpy.config.CONF_WATCHDOG_ENABLED: False,
        zigpy.config.CONF_NWK_BACKUP_ENABLED: False,
        zigpy.config.CONF_TOPO_SCAN_ENABLED: False,
        zigpy.config.CONF_OTA: {zigpy.config.CONF_OTA_ENABLED: False},
        **more,
    }
