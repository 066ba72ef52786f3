"""What the emulator itself refuses, in one sentence; what the DCC would refuse is a response code (see codes)."""

from hanwave.errors import HanwaveError


class EmulatorError(HanwaveError):
    """The emulator cannot be started or told so."""
