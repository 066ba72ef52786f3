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
from workers.bench.answers import Answers
from workers.bench.checks import Probed, check_probed
from workers.bench.cluster import RADIO_ERRORS, BenchOta
from workers.bench.control import Control
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
        self._approached_at = _NEVER
        self._approached_in_vain = 0
        self._offers_in_vain = 0
        self._is_in_the_middle = False
        self._verifies = False
        """It has fetched all from this session, and has not yet said what it makes of it."""

    async def run(self) -> Outcome:
        """Update the device."""
        with self._opened():
            self._transfer.hear()
            self._transfer.stage = Stage.PROBING
            outcome = await self._download()
            return await self._activate() if outcome is None else outcome

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
        probed = Probed.of(await self._cluster.said(*Probed.__slots__))
        self._transfer.see_version(probed.current_file_version)
        return probed

    # The download

    async def _download(self) -> Outcome | None:
        """See the device through its download; None: it has the image."""
        ending = self._answers.ending
        while not ending.done() and not self._control.is_aborted:
            if self._approach_due_in() <= 0:
                await self._approach()
            left = self._policy.stall_after.total_seconds() - self._transfer.silent_for
            if left <= 0:
                self._answers.finish(self._silence())
            await self._control.unless_aborted(ending, within=min(left, max(self._approach_due_in(), 0.01)))
        if not ending.done():
            await self._await_told()
        return ending.result()

    @property
    def _held(self) -> Outcome | None:
        return Outcome.HELD if self._policy.hold else None

    def _silence(self) -> Outcome | None:
        """How its silence ends the download: a device that asked for another type alone has no use for ours."""
        if self._verifies:
            return self._held
        asked, ours = self._answers.types, self._image.header.image_type
        is_other = bool(asked) and ours not in asked and not self._is_in_the_middle
        return Outcome.WRONG_TYPE if is_other else Outcome.STALLED

    async def _await_told(self) -> None:
        """Wait, cancelled, until the device has been told; one that has fetched nothing need not be."""
        if self._is_in_the_middle or self._transfer.blocks:
            within = self._policy.abort_within.total_seconds()
            await asyncio.wait({self._answers.ending}, timeout=within)
        self._answers.finish(Outcome.CANCELLED)

    def _approach_due_in(self) -> float:
        """Seconds until the device is to be approached, at first or again."""
        if self._approached_at == _NEVER:
            return 0.0
        every: float = self._policy.notify_every.total_seconds()
        heard_at = self._transfer.heard_at
        if heard_at <= self._approached_at:
            every *= min(2**self._approached_in_vain, _LONGEST_BACK_OFF)
        return max(self._approached_at, heard_at) + every - self._loop.time()

    async def _approach(self) -> None:
        """Ask a silent device where it stands, and notify it of the image unless that settles it."""
        was_heard = self._transfer.heard_at > self._approached_at
        is_first = self._approached_at == _NEVER
        self._approached_in_vain = 0 if was_heard else self._approached_in_vain + 1
        self._approached_at = self._loop.time()
        self._count_offer()
        probed = await self._probe()
        self._settle(probed)
        if probed.is_downloading and is_first:
            # It asks by itself, and a notification might make it begin again.
            self._is_in_the_middle = True
            self._transfer.offset = probed.file_offset or 0
        elif not self._answers.ending.done() and not self._verifies:
            await self._notify()

    def _settle(self, probed: Probed) -> None:
        """End the download where the device's own words do."""
        settled = check_probed(self._image, probed, self._policy)
        holds = probed.holds(self._image.version)
        self._verifies = holds and probed.may_verify and self._transfer.blocks > 0
        if settled is not None:
            self._answers.finish(settled)
        elif holds and not self._verifies:
            self._answers.finish(self._held)
        elif not holds:
            self._answers.is_checked = True

    def _count_offer(self) -> None:
        if self._transfer.offer_is_open:
            self._offers_in_vain += 1
            self._transfer.offer_is_open = False
        if self._offers_in_vain >= OFFERS:
            self._answers.finish(Outcome.DECLINED)

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
        if not await self._may_install():
            return self._untold()
        self._transfer.stage = Stage.CONFIRMING
        deadline = self._loop.time() + self._policy.confirm_within.total_seconds()
        pause, probed = _FIRST_PAUSE, Probed()
        while (left := deadline - self._loop.time()) > 0:
            probed = await self._probe()
            if self._is_seen():
                return Outcome.ACTIVATED
            if probed.holds(self._image.version):
                asked_at = self._loop.time()
                if not await self._may_install():
                    return self._untold()
                # What the ledger had it wait is no time that the device took.
                deadline += self._loop.time() - asked_at
                await self._release()
            elif self._control.is_aborted and not self._transfer.was_released:
                return Outcome.HELD
            await self._await_version(min(pause, left))
            pause = min(2 * pause, self._policy.confirm_every.total_seconds())
        return Outcome.UNCONFIRMED if probed.current_file_version is None else Outcome.KEPT_OLD

    async def _may_install(self) -> bool:
        """Wait for leave for one word to install, as long as it takes: a stop or a window may have come since the last."""
        every = self._policy.confirm_every.total_seconds()
        while (leave := await self._control.installs(within=every)) is None:
            pass
        return leave

    def _untold(self) -> Outcome:
        """It holds the image, and is told no more; nobody knows what becomes of a word that it was told before."""
        return Outcome.UNCONFIRMED if self._transfer.was_released else Outcome.HELD

    def _is_seen(self) -> bool:
        return self._transfer.version_after == self._image.version

    async def _await_version(self, seconds: float) -> None:
        self._answers.version_seen.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._answers.version_seen.wait()

    async def _release(self) -> None:
        """Tell a device that waits that it may install now."""
        self._transfer.was_released = True
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
