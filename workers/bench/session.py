"""One update of one device over ZigBee, from its first probe to the proof that it runs the new version.

Guarantee: it may be killed and begun again at any moment. It asks the device first where it stands, and goes on from there:
a device in the middle of the file is left to ask by itself, one that holds the image is not sent it again, one that runs
it is told nothing. What it returns is what the device itself reported last.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from zigpy.types import PacketPriority
from zigpy.zcl.clusters.general import Ota

from hanwave.rollout.bench import BenchPolicy, Outcome
from workers.bench.answers import RADIO_ERRORS, Answers
from workers.bench.checks import Probed, check_probed
from workers.bench.cluster import BenchOta
from workers.bench.control import Control, Step
from workers.bench.image import BenchImage
from workers.bench.transfer import Stage, Transfer

OFFERS = 3
"""Rounds in which an offer arrived and no octet was asked for, after which the device is taken to decline it."""
_LONGEST_BACK_OFF = 16
_NEVER = float("-inf")
_FIRST_PAUSE = 1.0
"""Seconds until a device that installs is first asked again for its version; each time twice as long."""


class OtaSession:
    """One update; run() it once."""

    def __init__(
        self, cluster: BenchOta, image: BenchImage, policy: BenchPolicy, control: Control, transfer: Transfer
    ) -> None:
        self._cluster, self._image, self._policy = cluster, image, policy
        self._control, self._transfer = control, transfer
        self._answers = Answers(cluster, image, policy, control, transfer)
        self._loop = asyncio.get_running_loop()
        self._notified_at = _NEVER
        self._notified_in_vain = 0
        self._offers_in_vain = 0

    async def run(self) -> Outcome:
        """Update the device."""
        with self._opened():
            self._transfer.hear()
            self._transfer.stage = Stage.PROBING
            probed = await self._probe()
            settled = check_probed(self._image, probed, self._policy)
            self._answers.is_checked = settled is None
            if settled is None and not probed.holds(self._image.version):
                settled = await self._download(probed)
            elif settled is None and self._policy.hold:
                settled = Outcome.HELD
            return await self._activate() if settled is None else settled

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        self._cluster.aps_encryption = self._policy.aps_encryption
        self._cluster.open_session(self._answers)
        try:
            yield
        finally:
            self._cluster.close_session()
            self._control.close()
            self._transfer.stage = Stage.ENDED

    async def _probe(self) -> Probed:
        """What the client says of itself; nothing, if it does not answer."""
        try:
            found, _ = await self._cluster.read_attributes(list(Probed.__slots__))
        except RADIO_ERRORS:
            return Probed()
        probed = Probed(**{name: int(value) for name, value in found.items()})
        self._transfer.see_version(probed.current_file_version)
        return probed

    # The download

    async def _download(self, probed: Probed) -> Outcome | None:
        """See the device through its download; None: it has the image."""
        if probed.is_downloading:
            # It asks by itself, and a notification might make it begin again.
            self._notified_at = self._loop.time()
            self._transfer.offset = probed.file_offset or 0
        ending = self._answers.ending
        while not ending.done() and not self._control.is_aborted:
            await self._notify_if_due()
            left = self._policy.stall_after.total_seconds() - self._transfer.silent_for
            if left <= 0:
                return Outcome.WRONG_TYPE if self._answers.has_strange_type else Outcome.STALLED
            await self._control.unless_aborted(ending, within=min(left, max(self._notify_due_in(), 0.01)))
        if not self._answers.ending.done():
            await self._await_told(is_downloading=probed.is_downloading)
        return self._answers.ending.result()

    async def _await_told(self, *, is_downloading: bool) -> None:
        """Wait, cancelled, until the device has been told; one that has fetched nothing need not be."""
        if is_downloading or self._transfer.blocks:
            within = self._policy.abort_within.total_seconds()
            await asyncio.wait({self._answers.ending}, timeout=within)
        self._answers.finish(Outcome.CANCELLED)

    def _notify_due_in(self) -> float:
        """Seconds until the device is to be notified, at first or again."""
        if self._notified_at == _NEVER:
            return 0.0
        every: float = self._policy.notify_every.total_seconds()
        heard_at = self._transfer.heard_at
        if heard_at <= self._notified_at:
            every *= min(2**self._notified_in_vain, _LONGEST_BACK_OFF)
        return max(self._notified_at, heard_at) + every - self._loop.time()

    async def _notify_if_due(self) -> None:
        if self._notify_due_in() > 0:
            return
        was_heard = self._transfer.heard_at > self._notified_at
        self._notified_in_vain = 0 if was_heard else self._notified_in_vain + 1
        if self._transfer.offer_is_open:
            self._offers_in_vain += 1
            self._transfer.offer_is_open = False
        if self._offers_in_vain >= OFFERS:
            self._answers.finish(Outcome.DECLINED)
            return
        self._notified_at = self._loop.time()
        await self._notify()

    async def _notify(self) -> None:
        kinds = Ota.ImageNotifyCommand.PayloadType
        with contextlib.suppress(*RADIO_ERRORS):
            await self._cluster.image_notify(
                payload_type=kinds.QueryJitter_ManufacturerCode_ImageType_NewFileVersion,
                query_jitter=100,
                manufacturer_code=self._image.header.manufacturer_code,
                image_type=self._image.header.image_type,
                new_file_version=self._image.version,
            )
            if self._transfer.stage is Stage.PROBING:
                self._transfer.stage = Stage.NOTIFIED

    # The activation

    async def _activate(self) -> Outcome:
        """Let it install what it holds, with the ledger's leave, and wait until it says that it runs it."""
        if self._control.is_aborted or not await self._control.permits(Step.UPGRADE_END):
            return Outcome.HELD
        self._transfer.stage = Stage.CONFIRMING
        deadline = self._loop.time() + self._policy.confirm_within.total_seconds()
        pause, probed = _FIRST_PAUSE, Probed()
        while (left := deadline - self._loop.time()) > 0:
            probed = await self._probe()
            if self._image.version in {probed.current_file_version, self._seen()}:
                return Outcome.ACTIVATED
            if probed.holds(self._image.version):
                await self._release()
            await self._await_version(min(pause, left))
            pause = min(2 * pause, self._policy.confirm_every.total_seconds())
        return Outcome.UNCONFIRMED if probed.current_file_version is None else Outcome.KEPT_OLD

    def _seen(self) -> int | None:
        return self._transfer.version_after

    async def _await_version(self, seconds: float) -> None:
        self._answers.version_seen.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._answers.version_seen.wait()

    async def _release(self) -> None:
        """Tell a device that waits that it may install now."""
        with contextlib.suppress(*RADIO_ERRORS):
            await self._cluster.upgrade_end_response(
                manufacturer_code=self._image.header.manufacturer_code,
                image_type=self._image.header.image_type,
                file_version=self._image.version,
                current_time=0,
                upgrade_time=0,
                tsn=self._cluster.endpoint.device.get_sequence(),
                priority=PacketPriority.LOW,
            )
