"""What the SDK refuses, or could not do: each a HanwaveError whose text is one sentence."""

from hanwave.errors import HanwaveError


class NoCampaignError(HanwaveError):
    """There is no campaign of that name."""


class NameTakenError(HanwaveError):
    """Another request has that name."""


class RefusedError(HanwaveError):
    """The campaign, or the ledger, refused a verb; nothing was changed."""


class NotRunningError(HanwaveError):
    """The campaign's workflow does not run, so there is nobody to take the verb."""


class EngineError(HanwaveError):
    """Temporal, or the campaign's workers, could not be used or did not answer in time."""


class LedgerLostError(HanwaveError):
    """The ledger could not be reached, or refused in its own words."""
