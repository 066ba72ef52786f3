"""What a device is answered while its update runs (ZCL 11.13): the OTA Upgrade server's side of one session.

Guarantee: an octet leaves only after every check, and after the ledger's leave for the first; it is always the octet
of the offset that the device itself asks for, so the server remembers nothing that a restart could lose. Only a cancel,
or a request for another file than ours, is answered with ABORT. The newest request wins: a device that asks again has given
up on the answer before.
"""

# mypy: disallow-untyped-calls=False
# (zigpy's own number types have untyped constructors)

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from zigpy.types import PacketPriority, uint8_t
from zigpy.zcl.foundation import Status, ZCLHeader

from hanwave.rollout.bench import BenchPolicy, Outcome
from workers.bench.checks import check_hardware, check_version
from workers.bench.cluster import FOR_EVER, RADIO_ERRORS, SHORTEST_WAIT, BenchOta, Commands, told_period
from workers.bench.control import Control, Step
from workers.bench.image import BenchImage
from workers.bench.transfer import Stage, Transfer

PATIENCE = 0.3
"""Seconds within which the ledger's leave comes, or the device is told to wait: less than any client's patience."""

MOMENT = 0.05
"""Seconds that a coordinator may take to say what the air did: next to nothing for a client that asks again."""

MOST = 10
"""Times the image's octets, acknowledged, after which a device that begins it anew again and again is given up."""

Ending = asyncio.Future[Outcome | None]
"""How the download ended; None: the device has the image, and may be told to activate it."""


class Answers:
    """One session's answers."""

    def __init__(
        self, cluster: BenchOta, image: BenchImage, policy: BenchPolicy, control: Control, transfer: Transfer
    ) -> None:
        self.ending: Ending = asyncio.get_running_loop().create_future()
        self.version_seen = asyncio.Event()
        self.types: set[int] = set()
        """The image types that the device asked for."""
        self.is_checked = False
        """The device's own attributes were held against the image; until then it gets no octet."""
        self._cluster, self._image, self._policy = cluster, image, policy
        self._control, self._transfer = control, transfer
        self._period = (policy.block_period_ms or 0) / 1000
        self._is_permitted = False
        self._has_told_pace = False
        self._answering: asyncio.Task[Any] | None = None
        self._handlers: dict[int, Callable[[ZCLHeader, Any], Awaitable[None]]] = {
            Commands.query_next_image.id: self._query,
            Commands.query_specific_file.id: self._query_specific,
            Commands.image_block.id: self._block,
            Commands.image_page.id: self._page,
            Commands.upgrade_end.id: self._end,
        }

    async def answer(self, hdr: ZCLHeader, command: Any) -> None:
        """Answer one request; what the radio could not deliver, the device asks for again."""
        handler = self._handlers.get(hdr.command_id)
        if handler is None:
            self._cluster.send_default_rsp(hdr, Status.UNSUP_CLUSTER_COMMAND)
            return
        self._transfer.hear()
        try:
            await self._take_over()
            await handler(hdr, command)
        except RADIO_ERRORS:
            return
        except asyncio.CancelledError:
            if self._answering is asyncio.current_task():
                raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the update ends with it
            self._fail(error)

    async def _take_over(self) -> None:
        """Give the answer before this one up; but a device may be heard again before its radio's word that it has it."""
        before, self._answering = self._answering, asyncio.current_task()
        if before is not None and not before.done():
            await asyncio.wait({before}, timeout=MOMENT)
            before.cancel()

    def finish(self, outcome: Outcome | None) -> None:
        """End the download, unless it has ended."""
        if not self.ending.done():
            self.ending.set_result(outcome)

    def _fail(self, error: Exception) -> None:
        if not self.ending.done():
            self.ending.set_exception(error)

    def _is_ours(self, command: Any) -> bool:
        header = self._image.header
        ours = (header.manufacturer_code, header.image_type, self._image.version)
        return (command.manufacturer_code, command.image_type, command.file_version) == ours

    # Queries

    async def _query(self, hdr: ZCLHeader, command: Any) -> None:
        refuses = self._judge(command)
        is_ours = command.image_type == self._image.header.image_type
        # A device may have two image types, and ask for either: the other alone ends nothing.
        self.types.add(int(command.image_type))
        if is_ours and refuses is None and not self.ending.done():
            await self._offer(hdr, self._cluster.query_next_image_response)
            return
        await self._cluster.query_next_image_response(status=Status.NO_IMAGE_AVAILABLE, tsn=hdr.tsn)
        if refuses is not None:
            self._transfer.was_told = refuses is Outcome.CANCELLED
            self.finish(refuses)

    def _judge(self, query: Any) -> Outcome | None:
        header = self._image.header
        if query.manufacturer_code != header.manufacturer_code:
            return Outcome.WRONG_MANUFACTURER
        if query.image_type != header.image_type:
            return None
        self._transfer.see_version(int(query.current_file_version))
        self.version_seen.set()
        refuses = check_version(self._image, query.current_file_version, self._policy)
        refuses = refuses or check_hardware(header, query.hardware_version)
        return Outcome.CANCELLED if refuses is None and self._control.is_aborted else refuses

    async def _query_specific(self, hdr: ZCLHeader, command: Any) -> None:
        is_specific = self._image.header.destination is not None  # and then it is this device: checked before
        if self._is_ours(command) and is_specific and not self._control.is_aborted and not self.ending.done():
            await self._offer(hdr, self._cluster.query_specific_file_response)
        else:
            await self._cluster.query_specific_file_response(status=Status.NO_IMAGE_AVAILABLE, tsn=hdr.tsn)

    async def _offer(self, hdr: ZCLHeader, respond: Callable[..., Awaitable[Any]]) -> None:
        await respond(
            status=Status.SUCCESS,
            manufacturer_code=self._image.header.manufacturer_code,
            image_type=self._image.header.image_type,
            file_version=self._image.version,
            image_size=len(self._image.data),
            tsn=hdr.tsn,
        )
        self._transfer.stage, self._transfer.offer_is_open = Stage.OFFERED, True

    # Blocks and pages

    async def _block(self, hdr: ZCLHeader, command: Any) -> None:
        if await self._may_send(hdr, command):
            if (told_period(command) or 0) < (self._policy.block_period_ms or 0):
                await self._keep_pace()
            await self._send(command.file_offset, command.maximum_data_size, hdr.tsn)

    async def _keep_pace(self) -> None:
        """Answer late a client that cannot be told to ask less often, or does not heed it."""
        due = self._transfer.last_block_at + self._period - asyncio.get_running_loop().time()
        if due > 0:
            await asyncio.sleep(due)

    async def _page(self, hdr: ZCLHeader, command: Any) -> None:
        if not await self._may_send(hdr, command):
            return
        device = self._cluster.endpoint.device
        offset, end = command.file_offset, min(command.file_offset + command.page_size, len(self._image.data))
        while offset < end and self._cluster.session is self and not self._is_interrupted:
            size = min(command.maximum_data_size, self._policy.block, end - offset)
            with contextlib.suppress(*RADIO_ERRORS):  # a hole: the device asks for it again
                await self._send(offset, size, uint8_t(device.get_sequence()))
            offset += size
            await asyncio.sleep(max(command.response_spacing / 1000, self._period))

    @property
    def _is_interrupted(self) -> bool:
        return self._control.is_aborted or self._control.is_paused

    async def _send(self, offset: int, most: int, tsn: uint8_t) -> None:
        header = self._image.header
        data = self._image.data[offset : offset + min(most, self._policy.block)]
        target = (header.manufacturer_code, header.image_type, self._image.version)
        await self._cluster.send_block(tsn, target, offset, data)
        self._transfer.sent(offset, len(data))
        if self._transfer.octets > MOST * len(self._image.data):
            self.finish(Outcome.GAVE_UP)

    async def _may_send(self, hdr: ZCLHeader, command: Any) -> bool:
        """Whether this request gets octets; if not, it has been answered."""
        if self._control.is_aborted or not self._is_ours(command):
            await self._refuse(hdr, Status.ABORT)
            if self._control.is_aborted:
                self._transfer.was_told = True
                self.finish(Outcome.CANCELLED)
            return False
        if command.file_offset >= len(self._image.data) or not command.maximum_data_size:
            await self._refuse(hdr, Status.MALFORMED_COMMAND)
            return False
        self.types.add(int(command.image_type))
        return not await self._has_to_wait(hdr, command)

    async def _refuse(self, hdr: ZCLHeader, status: Status) -> None:
        await self._cluster.image_block_response(status=status, tsn=hdr.tsn, priority=PacketPriority.LOW)

    async def _has_to_wait(self, hdr: ZCLHeader, command: Any) -> bool:
        """Whether the device was told to wait: the update is paused, the ledger's leave is out, or it asks too often."""
        told, wanted = told_period(command), self._policy.block_period_ms or 0
        period = max(told or 0, wanted)
        if self._control.is_paused:
            self._transfer.stage = Stage.PAUSED
            await self._cluster.tell_to_wait(hdr, int(self._policy.wait_step.total_seconds()), period)
            return True
        if not self.is_checked or (not self._is_permitted and not await self._ask_leave()):
            await self._cluster.tell_to_wait(hdr, SHORTEST_WAIT, period)
            return True
        if told is not None and told < wanted and not self._has_told_pace:
            self._has_told_pace = True
            await self._cluster.tell_to_wait(hdr, 0, period)
            return True
        return False

    async def _ask_leave(self) -> bool:
        leave = await self._leave(self._control.permits(Step.FIRST_BLOCK, within=PATIENCE))
        self._is_permitted = leave is True
        if leave is False:
            self.finish(Outcome.NOT_PERMITTED)
        return self._is_permitted

    async def _leave(self, asked: Awaitable[bool | None]) -> bool | None:
        """The ledger's leave, if it comes at once; what it raises is no fault of the radio's, and ends the update."""
        try:
            return await asked
        except Exception as error:  # noqa: BLE001 - whatever it was
            self._fail(error)
            return None

    # The end

    async def _end(self, hdr: ZCLHeader, command: Any) -> None:
        if not self._is_ours(command):
            # Of its other type, or of what it held before: that says nothing of ours.
            await self._cluster.answer_end(hdr, command)
            return
        self._transfer.device_status = int(command.status)
        if command.status == Status.SUCCESS:
            await self._end_ours(hdr, command)
        else:
            self.finish(self._reason(command.status))
            await self._cluster.answer_end(hdr, command)

    def _reason(self, status: Status) -> Outcome:
        """Why it ends the download: it gives up, will not have the image at all, or found it bad."""
        if status == Status.ABORT:
            return Outcome.GAVE_UP
        return Outcome.DECLINED if self._transfer.offer_is_open else Outcome.REFUSED

    async def _end_ours(self, hdr: ZCLHeader, command: Any) -> None:
        # A cancel comes too late to undo the download: the device keeps the image, and is never told to install it.
        holds = self._policy.hold or self._control.is_aborted
        is_told_now = not holds and await self._leave(self._control.installs(within=PATIENCE))
        self._transfer.was_released |= bool(is_told_now)
        # It has the image by its own word, whether or not it hears the answer.
        with contextlib.suppress(*RADIO_ERRORS):
            await self._cluster.answer_end(hdr, command, at=0 if is_told_now else FOR_EVER)
        self.finish(Outcome.HELD if holds else None)
