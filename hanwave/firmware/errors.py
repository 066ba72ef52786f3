"""The refusals of the firmware package, each one sentence: which field, what it held, what it should hold."""

from hanwave.errors import HanwaveError


class FirmwareError(HanwaveError):
    """Something about firmware was refused."""


class TermError(FirmwareError):
    """A version, a model or a range is not of the form that it should have."""


class ImageError(FirmwareError):
    """An OTA Upgrade Image is not well formed, or is not the one it should be."""


class ReleaseError(FirmwareError):
    """A release, or a step in its life, is refused."""


class CplError(FirmwareError):
    """A CPL file or its column map cannot be read at all (a single bad row is a Refusal instead)."""


class PathError(FirmwareError):
    """There is no permitted way from a device's version to the target."""
