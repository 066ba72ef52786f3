"""Every check that stands before the first octet: the image against what was approved, and against the device's own word.

Guarantee: each refusal has an outcome of its own, and none is a guess: what a device does not say is not held against
it, but for its hardware, which an image that is bound to some hardware must know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from hanwave.firmware.header import Header
from hanwave.identifiers import EUI64
from hanwave.rollout.bench import BenchPolicy, Outcome
from workers.bench.image import BenchImage

NORMAL, DOWNLOADING, COMPLETE, WAITING, COUNTDOWN = range(5)
"""ImageUpgradeStatus (ZCL 11.10.7), as far as it matters here."""
WAITING_EXTERNALLY = 6
_HELD = frozenset({COMPLETE, WAITING, WAITING_EXTERNALLY})
APPLIES_AFTER_TIMEOUT = 0
"""UpgradeTimeoutPolicy: a held image is installed without a word of the server's (ZCL 11.10.13)."""

_UNSAID = {
    "file_offset": 0xFFFFFFFF,
    "current_file_version": 0xFFFFFFFF,
    "downloaded_file_version": 0xFFFFFFFF,
    "manufacturer_id": 0xFFFF,
    "image_type_id": 0xFFFF,
}
"""What these attributes hold until a client knows better (ZCL 11.10): some have an image type while they fetch, and else none."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the client said of itself, attribute by attribute; None: it did not say."""

    current_file_version: int | None = None
    file_offset: int | None = None
    downloaded_file_version: int | None = None
    image_upgrade_status: int | None = None
    manufacturer_id: int | None = None
    image_type_id: int | None = None
    upgrade_timeout_policy: int | None = None

    @classmethod
    def of(cls, said: Mapping[str, int]) -> Self:
        """From the attributes that it answered."""
        return cls(**{name: value for name, value in said.items() if value != _UNSAID.get(name)})

    def holds(self, version: int) -> bool:
        """Whether it has that image, verified, and waits to be told."""
        return self.image_upgrade_status in _HELD and self.downloaded_file_version == version

    @property
    def may_verify(self) -> bool:
        """Whether it has every octet, and perhaps not yet looked at them: Silicon Labs' client tells the two alike."""
        return self.image_upgrade_status == COMPLETE

    @property
    def is_downloading(self) -> bool:
        """Whether it is in the middle of some file, and asks by itself."""
        return self.image_upgrade_status == DOWNLOADING


def check_image(image: BenchImage, device: EUI64) -> Outcome | None:
    """What the image alone is refused for."""
    if image.digest != image.approved:
        return Outcome.WRONG_HASH
    if image.header.destination not in {None, device}:
        return Outcome.WRONG_DESTINATION
    return None


def check_probed(image: BenchImage, probed: Probed, policy: BenchPolicy) -> Outcome | None:
    """What a device's own attributes settle."""
    header = image.header
    if probed.manufacturer_id not in {None, header.manufacturer_code}:
        return Outcome.WRONG_MANUFACTURER
    if probed.image_type_id not in {None, header.image_type}:
        return Outcome.WRONG_TYPE
    if probed.current_file_version is not None:
        settled = check_version(image, probed.current_file_version, policy)
        if settled is not None:
            return settled
    if policy.hold and probed.upgrade_timeout_policy == APPLIES_AFTER_TIMEOUT:
        return Outcome.CANNOT_HOLD
    return None


def check_version(image: BenchImage, running: int, policy: BenchPolicy) -> Outcome | None:
    """What the version that runs settles."""
    if running == image.version:
        return Outcome.ALREADY
    if running > image.version and not policy.may_downgrade:
        return Outcome.NEWER
    return None


def check_hardware(header: Header, hardware: int | None) -> Outcome | None:
    """What the hardware version of a Query Next Image settles."""
    if header.hardware is not None and (hardware is None or hardware not in header.hardware):
        return Outcome.WRONG_HARDWARE
    return None
