"""The OTA Upgrade cluster of every device in this process, in place of zigpy's own.

Guarantee: no device is ever answered as zigpy's stock cluster answers, which says ABORT to a block request when it has
no update under way, and so destroys what the device has fetched. Without a session, a device that asks for an image is
told that there is none; one that asks for octets, or whether it may install, is told to wait. Importing this module puts
it into zigpy's registry, so import it before any device is made or loaded.
"""

# mypy: disallow-untyped-calls=False
# (zigpy's own number types have untyped constructors)

import struct
from typing import Any, Protocol

from zigpy.exceptions import ZigbeeException
from zigpy.types import AddrMode, ClusterId, PacketPriority, uint8_t
from zigpy.zcl.clusters.general import Ota
from zigpy.zcl.foundation import Direction, Status, ZCLHeader

RADIO_ERRORS = (ZigbeeException, TimeoutError, OSError)
"""What zigpy and its radios raise where the device, the air or the coordinator failed us."""
_NONSENSE = (KeyError, ValueError, TypeError, ArithmeticError, AssertionError)
"""What zigpy raises over an answer that names an attribute nobody asked for, or holds a value of another type."""
FOR_EVER = 0xFFFFFFFF
SHORTEST_WAIT, LONGEST_WAIT = 5, 600
"""Seconds that a device without a session waits: at first as long as a killed worker's update takes to come back, then
twice as long each time, so that a device whose update never comes back saves its battery."""
Commands = Ota.ServerCommandDefs
_BLOCK = struct.Struct("<BBBBHHIIB")
"""An Image Block Response (ZCL 11.13.8): the ZCL header, then status, target, offset, size; the octets follow."""
_OTA = ClusterId(Ota.cluster_id)
_BLOCK_RESPONSE = Ota.ClientCommandDefs.image_block_response.id
_TO_CLIENT = 0x19
"""Frame control: a command of the cluster, server to client, no Default Response wanted."""


def told_period(command: Any) -> int | None:
    """The MinimumBlockPeriod that a block request tells, in milliseconds; None: its client has none."""
    period: int | None = getattr(command, "minimum_block_period", None)  # a page request has no such field
    return period


class Session(Protocol):
    """What answers a device while its update runs."""

    async def answer(self, hdr: ZCLHeader, command: Any) -> None:
        """Answer one request of the device."""


class BenchOta(Ota):
    """Cluster 0x0019 of a device: passes its requests to its session, and otherwise makes it wait."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session: Session | None = None
        self._wait = SHORTEST_WAIT

    def open_session(self, session: Session) -> None:
        """Answer by this session from now on."""
        self.session, self._wait = session, SHORTEST_WAIT

    def close_session(self) -> None:
        """Make the device wait from now on."""
        self.session = None

    def handle_cluster_request(
        self,
        hdr: ZCLHeader,
        args: Any,
        *,
        dst_addressing: AddrMode | None = None,  # noqa: ARG002 - zigpy's signature
    ) -> None:
        """Take a request from the device."""
        if hdr.direction != Direction.Client_to_Server:
            return
        if hdr.frame_control.is_manufacturer_specific:
            # A maker's own commands have the numbers of the cluster's, and another meaning.
            self.send_default_rsp(hdr, Status.UNSUP_CLUSTER_COMMAND)
            return
        self.create_catching_task(self.session.answer(hdr, args) if self.session else self._stray(hdr, args))

    async def said(self, *names: str) -> dict[str, int]:
        """What the device says of these attributes; nothing where it does not answer, or with nonsense."""
        try:
            found, _ = await self.read_attributes(list(names))
            return {name: int(value) for name, value in found.items()}
        except (*RADIO_ERRORS, *_NONSENSE):
            return {}

    async def _stray(self, hdr: ZCLHeader, command: Any) -> None:
        """Destroy nothing: the update that this belongs to may be about to go on."""
        number = hdr.command_id
        if number == Commands.query_next_image.id:
            await self.query_next_image_response(status=Status.NO_IMAGE_AVAILABLE, tsn=hdr.tsn)
        elif number == Commands.query_specific_file.id:
            await self.query_specific_file_response(status=Status.NO_IMAGE_AVAILABLE, tsn=hdr.tsn)
        elif number in {Commands.image_block.id, Commands.image_page.id}:
            await self.tell_to_wait(hdr, self._wait, told_period(command) or 0)
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        elif number == Commands.upgrade_end.id:
            await self.answer_end(hdr, command)
        else:
            self.send_default_rsp(hdr, Status.UNSUP_CLUSTER_COMMAND)

    async def send_block(self, tsn: uint8_t, target: tuple[int, int, int], offset: int, data: bytes) -> None:
        """Answer a block request with octets of the file that target names: manufacturer, image type, version."""
        # All but a few frames of an update are these, and zigpy takes as long to serialise one as for all the rest.
        frame = _BLOCK.pack(_TO_CLIENT, tsn, _BLOCK_RESPONSE, Status.SUCCESS, *target, offset, len(data)) + data
        await self.endpoint.reply(
            _OTA,
            tsn,
            frame,
            command_id=_BLOCK_RESPONSE,
            priority=PacketPriority.LOW,
            aps_encryption=self.aps_encryption,
        )

    async def tell_to_wait(self, hdr: ZCLHeader, seconds: int, period_ms: int = 0) -> None:
        """Answer a block request with WAIT_FOR_DATA; the period takes the place of the client's own."""
        await self.image_block_response(
            status=Status.WAIT_FOR_DATA,
            current_time=0,
            request_time=seconds,
            minimum_block_period=period_ms,
            tsn=hdr.tsn,
            priority=PacketPriority.LOW,
        )

    async def answer_end(self, hdr: ZCLHeader, command: Any, *, at: int = FOR_EVER) -> None:
        """Answer an Upgrade End Request: install now (0), or wait; to a device that failed, that it was heard."""
        if command.status != Status.SUCCESS:
            # An error gets a Default Response: an Upgrade End Response would tell it to install (ZCL 11.13.9.4).
            self.send_default_rsp(hdr, Status.SUCCESS)
            return
        await self.upgrade_end_response(
            manufacturer_code=command.manufacturer_code,
            image_type=command.image_type,
            file_version=command.file_version,
            current_time=0,
            upgrade_time=at,
            tsn=hdr.tsn,
            priority=PacketPriority.LOW,
        )
