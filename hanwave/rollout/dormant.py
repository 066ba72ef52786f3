"""Dormant devices: unheard for so long, when a plan is drawn, that nothing is sent to them.

They are a lane of their own, outside the waves and their gates: whatever became of them, no update caused it.
"""

from hanwave.rollout.decide import Outcome
from hanwave.rollout.policy import DeviceType


def end(kind: DeviceType, reason: str) -> tuple[Outcome, str]:
    """Whom a dormant device of that type takes now, and why: a display is unplugged, anything else is to be seen to."""
    if kind is DeviceType.PPMID:
        return Outcome.CUSTOMER_ACTION, f"{reason}; ask the customer to plug the display in"
    return Outcome.NEEDS_VISIT, f"{reason}; somebody must see whether it has power and reaches its hub"
