"""A simulated device's OTA Upgrade client (ZCL 11.11-11.16): what asks for an image, fetches it and installs it.

Guarantee: it holds octets of one image at a time, in order and without a hole, and installs none that its own check of
the header, or its Failure for that version, refuses. It never goes back to an older version unless its habits say so.
"""

import asyncio
import struct
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.zigbee.frames import COORDINATOR, FOR_EVER, UINT16, UINT32, Cluster, Ota, Profile, Status, UpgradeStatus, Zdo
from infra.zigbee.memory import Failure, judge

if TYPE_CHECKING:
    from infra.zigbee.device import Device

_TARGET = struct.Struct("<HHI")
"""Manufacturer code, image type, file version: how most commands name an image."""
_OFFER = struct.Struct("<HHII")
_TIMES, _WAIT = struct.Struct("<II"), struct.Struct("<IIH")
_BLOCK_HEAD = 14
_UNANSWERED_ENDS = 3
"""Upgrade End Requests without an answer after which a parked client may install by itself (ZCL 11.11.4)."""
_STACK = 0x0002


@dataclass(frozen=True, slots=True)
class Habits:
    """How a client behaves. Times are in seconds."""

    block: int = 64
    """The most octets that it takes in a block."""
    rest: float = 0.0
    """What it waits between two blocks."""
    page: int | None = None
    """It asks for pages of so many octets; None: for single blocks."""
    page_spacing_ms: int = 10
    timeout: float = 1.0
    retries: int = 10
    """How often it repeats a request, before it gives up until it is notified again."""
    keeps_tsn: bool = False
    """A repeated request has the transaction number of the first, and so the same octets."""
    resumes: bool = True
    """It goes on by itself after a power cut; else it forgets what it fetched."""
    gives_up: bool = False
    """It breaks a download off (ABORT) whose requests are not answered; else it waits to be notified again."""
    may_downgrade: bool = False
    names_type: bool = True
    """Its image type stands in its attributes at all times; else only while it fetches one, as with Silicon Labs' client."""
    block_period_ms: int | None = None
    """The MinimumBlockPeriod that it starts with and lets the server set; None: it has no such attribute."""
    heeds_period: bool = True
    discovers: bool = False
    """It asks who is an OTA server for its profile (Match_Desc_req) before its first query; else it takes endpoint 1."""
    asks_specific: bool = False
    """It asks by Query Device Specific File."""
    asks_again: float | None = None
    """A parked client repeats its Upgrade End Request so often, and installs by itself if none is answered."""
    failures: Mapping[int, Failure] = field(default_factory=dict)
    """What goes wrong, by version."""


class OtaClient:
    """One client; `device` sends for it and holds its memory and books."""

    def __init__(self, device: "Device", habits: Habits) -> None:
        self.habits = habits
        self.at_offset: dict[int, Callable[[], None]] = {}
        """Faults: each is called once, when the client has that many octets or more and asks for the next."""
        self._device = device
        self._memory, self._books, self._make = device.memory, device.books, device.make
        self.rest = habits.rest
        """What it waits between two blocks now."""
        self._period_ms = habits.block_period_ms
        self._tsn = 0
        self._server: int | None = None if habits.discovers else 1
        self._answers: dict[tuple[int, int | None], asyncio.Future[bytes]] = {}
        self._page: asyncio.Queue[bytes] | None = None
        self._misses = 0
        self._task: asyncio.Task[None] | None = None

    # What comes in

    def power_lost(self) -> None:
        """Stop at once; only the memory stays."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._page = None, None
        self._answers.clear()
        self._tsn, self._misses = 0, 0

    def power_came(self) -> None:
        """Go on with what the memory holds."""
        if self._memory.status is UpgradeStatus.DOWNLOADING:
            if self.habits.resumes:
                self.go_on()
            else:
                self._discard("forgot the image in a power cut")
        elif self._memory.status is not UpgradeStatus.NORMAL:
            self._start(self._wait_for_word())

    def go_on(self) -> None:
        """Ask for the next octets: what a client's own timer does after it gave up."""
        self._start(self._download())

    def hear(self, command: int, tsn: int, body: bytes, *, broadcast: bool) -> None:
        """Take a command of the OTA cluster."""
        if command == Ota.IMAGE_NOTIFY:
            self._notified(body, broadcast=broadcast)
        elif command == Ota.IMAGE_BLOCK_RESPONSE and self._page is not None:
            self._page.put_nowait(body)
        elif not self._answer(command, tsn, body) and command == Ota.UPGRADE_END_RESPONSE:
            self._answer(command, None, body)

    def hear_default(self, tsn: int, command: int) -> None:
        """Take a Default Response to one of our commands."""
        if command == Ota.UPGRADE_END:
            self._answer(Ota.UPGRADE_END_RESPONSE, tsn, b"")

    def hear_match(self, tsn: int, endpoints: bytes) -> None:
        """Take the answer to our search for a server: its endpoints."""
        self._answer(Zdo.MATCH_DESCRIPTOR, tsn, endpoints)

    def _answer(self, command: int, tsn: int | None, body: bytes) -> bool:
        waiting = self._answers.get((command, tsn))
        if waiting is None or waiting.done():
            return False
        waiting.set_result(body)
        return True

    def _notified(self, body: bytes, *, broadcast: bool) -> None:
        self._books.notifies += 1
        kind, jitter, rest = body[0], body[1], body[2:]
        if kind >= 1 and UINT16.unpack_from(rest)[0] not in {self._make.manufacturer_code, 0xFFFF}:
            return
        if kind >= 2 and UINT16.unpack_from(rest, 2)[0] not in {self._make.image_type, 0xFFFF}:
            return
        if broadcast and self._device.air.random.randint(1, 100) > jitter:
            return
        version = UINT32.unpack_from(rest, 4)[0] if kind >= 3 else FOR_EVER
        is_busy = self._task is not None and not self._task.done()
        if version != self._memory.downloaded_version if self._is_parked else not is_busy:
            self._start(self._query(version))

    @property
    def _is_parked(self) -> bool:
        return self._memory.status in {UpgradeStatus.COMPLETE, UpgradeStatus.WAITING}

    # What goes out

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(work)

    def _next_tsn(self) -> int:
        self._tsn = (self._tsn + 1) & 0xFF
        return self._tsn

    def _send(self, command: int, tsn: int, body: bytes) -> None:
        # Frame control 0x01: a command of the cluster, client to server, a Default Response wanted.
        self._device.send(
            self._make.profile, Cluster.OTA, bytes((0x01, tsn, command)) + body, endpoint=self._server or 1
        )

    async def _ask(self, command: Ota, body: bytes) -> bytes | None:
        """The answer to a request, which is repeated as the habits say; None: there came none."""
        answer_command, tsn = command + (2 if command is Ota.IMAGE_BLOCK else 1), None
        for attempt in range(self.habits.retries + 1):
            if tsn is None or not self.habits.keeps_tsn:
                tsn = self._next_tsn()
            self._books.retries += attempt > 0
            self._send(command, tsn, body)
            answer = await self._await_answer(answer_command, tsn, self.habits.timeout)
            if answer is not None:
                return answer
        return None

    async def _await_answer(self, command: int, tsn: int | None, timeout: float | None) -> bytes | None:  # noqa: ASYNC109
        key = (command, tsn)
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[key] = waiting
        try:
            async with asyncio.timeout(timeout):
                return await waiting
        except TimeoutError:
            return None
        finally:
            if self._answers.get(key) is waiting:
                del self._answers[key]

    # The course of an upgrade

    async def _query(self, notified_version: int) -> None:
        self._books.queries += 1
        if self._server is None and not await self._discover():
            self._books.last = "found no OTA server"
            return
        answer = await self._ask(*self._question(notified_version))
        if answer is None or answer[0] != Status.SUCCESS:
            self._books.last = "no answer to its query" if answer is None else f"query status 0x{answer[0]:02x}"
        else:
            await self._consider(*_OFFER.unpack_from(answer, 1))
        if self._is_parked:
            await self._wait_for_word()

    async def _consider(self, code: int, kind: int, version: int, size: int) -> None:
        if (code, kind) != (self._make.manufacturer_code, self._make.image_type):
            self._books.last = "offered an image for something else"
        elif version <= self._memory.version and not self.habits.may_downgrade:
            self._books.last = "declined an older version"
        else:
            self._memory.begin(version, size)
            await self._download()

    async def _discover(self) -> bool:
        """Search the coordinator for an OTA server of our profile; whether it has one."""
        tsn = self._next_tsn()
        wanted = UINT16.pack(COORDINATOR) + UINT16.pack(self._make.profile) + b"\1" + UINT16.pack(Cluster.OTA) + b"\0"
        self._device.send(Profile.ZDO, Zdo.MATCH_DESCRIPTOR, bytes((tsn,)) + wanted)
        found = await self._await_answer(Zdo.MATCH_DESCRIPTOR, tsn, self.habits.timeout)
        self._server = found[0] if found else None
        return self._server is not None

    def _question(self, notified_version: int) -> tuple[Ota, bytes]:
        make = self._make
        if self.habits.asks_specific:
            target = _TARGET.pack(make.manufacturer_code, make.image_type, notified_version)
            return Ota.QUERY_SPECIFIC_FILE, self._device.eui.octets[::-1] + target + UINT16.pack(_STACK)
        target = _TARGET.pack(make.manufacturer_code, make.image_type, self._memory.version)
        if make.hardware is None:
            return Ota.QUERY_NEXT_IMAGE, b"\0" + target
        return Ota.QUERY_NEXT_IMAGE, b"\1" + target + UINT16.pack(make.hardware)

    async def _download(self) -> None:
        memory = self._memory
        while (offset := len(memory.image)) < memory.size:
            self._books.offsets.append(offset)
            self._meet_faults(offset)
            if not self._device.is_powered or not await self._fetch(offset):
                return
            if self.rest:
                await asyncio.sleep(self.rest)
        await self._finish()

    def _meet_faults(self, offset: int) -> None:
        for due in [at for at in self.at_offset if at <= offset]:
            self.at_offset.pop(due)()

    async def _fetch(self, offset: int) -> bool:
        """Fetch a block or a page; whether to go on."""
        if self.habits.page is not None:
            return await self._fetch_page(offset, self.habits.page)
        if answer := await self._ask(Ota.IMAGE_BLOCK, self._block_request(offset)):
            return await self._take_block(answer, offset)
        self._books.last = "gave up asking"
        if self.habits.gives_up:
            await self._end_without(Status.ABORT)
        return False

    def _block_request(self, offset: int) -> bytes:
        head = self._target + UINT32.pack(offset) + bytes((self.habits.block,))
        return b"\0" + head if self._period_ms is None else b"\2" + head + UINT16.pack(self._period_ms)

    async def _take_block(self, answer: bytes, offset: int) -> bool:
        """Take an Image Block Response; whether to go on."""
        if answer[0] == Status.WAIT_FOR_DATA:
            await self._told_to_wait(answer)
            return True
        if answer[0] != Status.SUCCESS:
            self._books.aborts += answer[0] == Status.ABORT
            self._discard(f"block status 0x{answer[0]:02x}")
            return False
        found, data = self._read_block(answer)
        if found == offset and data:
            self._keep(data)
        return True

    def _read_block(self, answer: bytes) -> tuple[int | None, bytes]:
        """Its offset (None: a block of another image) and its octets."""
        *target, offset = _OFFER.unpack_from(answer, 1)
        data = answer[_BLOCK_HEAD : _BLOCK_HEAD + answer[_BLOCK_HEAD - 1]]
        ours = [self._make.manufacturer_code, self._make.image_type, self._memory.next_version]
        return (offset if target == ours else None), data

    def _keep(self, data: bytes) -> None:
        self._memory.image += data
        self._books.blocks += 1
        self._books.octets += len(data)

    async def _told_to_wait(self, answer: bytes) -> None:
        now, until, period_ms = _WAIT.unpack_from(answer, 1)
        self._books.waits += 1
        if self._period_ms is not None and self.habits.heeds_period:
            self._period_ms = period_ms
            self.rest = max(self.habits.rest, period_ms / 1000)
        await asyncio.sleep(max(until - now, 0))

    async def _fetch_page(self, offset: int, size: int) -> bool:
        """Fetch what comes of a page; what has a hole before it is asked for again."""
        want = min(size, self._memory.size - offset)
        self._page = asyncio.Queue()
        self._send(Ota.IMAGE_PAGE, self._next_tsn(), self._page_request(offset, want))
        got: dict[int, bytes] = {}
        try:
            while sum(map(len, got.values())) < want:
                async with asyncio.timeout(self.habits.timeout):
                    answer = await self._page.get()
                if answer[0] != Status.SUCCESS:
                    return await self._take_block(answer, offset)
                at, data = self._read_block(answer)
                if at is not None:
                    got[at] = data
        except TimeoutError:
            self._books.retries += 1
            self._misses += 1
        finally:
            self._page = None
        return self._keep_run(got)

    def _page_request(self, offset: int, size: int) -> bytes:
        sizes = self.habits.block, size, self.habits.page_spacing_ms
        return b"\0" + self._target + struct.pack("<IBHH", offset, *sizes)

    def _keep_run(self, got: dict[int, bytes]) -> bool:
        while (data := got.pop(len(self._memory.image), None)) is not None:
            self._misses = 0
            self._keep(data)
        if self._misses <= self.habits.retries:
            return True
        self._books.last, self._misses = "gave up asking for a page", 0
        return False

    def _discard(self, why: str) -> None:
        self._books.last = why
        self._books.discards += len(self._memory.image) > 0
        self._memory.discard()

    async def _finish(self) -> None:
        memory = self._memory
        status = judge(bytes(memory.image), self._make, self._device.eui, memory.next_version)
        if self.habits.failures.get(memory.next_version) is Failure.REJECTED:
            status = Status.INVALID_IMAGE
        if status is not Status.SUCCESS:
            await self._end_without(status)
            return
        self._books.ends.append(status)
        memory.status, memory.downloaded_version = UpgradeStatus.COMPLETE, memory.next_version
        answer = await self._ask(Ota.UPGRADE_END, bytes((status,)) + self._target)
        if answer is None:
            self._books.last = "no answer to its Upgrade End"
            await self._wait_for_word()
        else:
            await self._obey(answer)

    async def _end_without(self, status: Status) -> None:
        self._books.ends.append(status)
        end = bytes((status,)) + self._target
        self._discard(f"refused the image: 0x{status:02x}")
        await self._ask(Ota.UPGRADE_END, end)

    @property
    def _target(self) -> bytes:
        return _TARGET.pack(self._make.manufacturer_code, self._make.image_type, self._memory.next_version)

    async def _wait_for_word(self) -> None:
        """Wait, parked, until the server says when."""
        self._memory.status = UpgradeStatus.WAITING
        unanswered = 0
        while unanswered < _UNANSWERED_ENDS:
            answer = await self._await_answer(Ota.UPGRADE_END_RESPONSE, None, self.habits.asks_again)
            if answer is None:
                answer = await self._ask(Ota.UPGRADE_END, bytes((Status.SUCCESS,)) + self._target)
                unanswered = unanswered + 1 if answer is None else 0
            if answer and _TIMES.unpack_from(answer, 8)[1] != FOR_EVER:
                await self._obey(answer)
                return
        self._books.last = "installed by itself: its Upgrade End was not answered"
        self._install()

    async def _obey(self, answer: bytes) -> None:
        """Do as an Upgrade End Response says: now, at a time, or when it is told."""
        now, at = _TIMES.unpack_from(answer, 8)
        if at == FOR_EVER:
            await self._wait_for_word()
            return
        self._memory.status = UpgradeStatus.COUNTDOWN
        await asyncio.sleep(max(at - now, 0))
        self._install()

    def _install(self) -> None:
        failure, version = self.habits.failures.get(self._memory.next_version), self._memory.next_version
        self._memory.discard()
        if failure is not Failure.KEPT_OLD:
            self._memory.version = version
        # Not from here: a restart ends this task.
        asyncio.get_running_loop().call_soon(self._device.restart, failure is not Failure.SILENT)
