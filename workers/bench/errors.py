"""The refusals of the bench: what was asked of it cannot even be tried."""

from hanwave.errors import HanwaveError


class BenchError(HanwaveError):
    """There is no such device here, it has no OTA client, or it has an update already."""


class BusyError(BenchError):
    """The device has an update under way already."""
