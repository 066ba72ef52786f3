"""What DUIS may refuse: a message that cannot be one, a signature that does not hold, or a value that may not be sent."""

from hanwave.errors import HanwaveError


class DuisError(HanwaveError):
    """A message, a value in one, or a table about them is not as DUIS has it."""


class MalformedMessage(DuisError):  # noqa: N818 - the name says what it is, as the issue and the callers do
    """Bytes that cannot be a message: not XML that we accept, of another namespace, or of another structure."""


class SignatureError(DuisError):
    """A message is not signed as DUIS 3.3 wants it, or not by a certificate that is trusted for it now."""
