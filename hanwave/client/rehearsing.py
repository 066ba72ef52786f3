"""Rehearsals for a client: draw the plan, rehearse it outside any transaction, and keep the forecast with its digest."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hanwave.client.link import Link, now
from hanwave.ledger import behaviour, forecasts
from hanwave.rollout.rehearsal.behaviour import Harm, Profile, default_profile
from hanwave.rollout.rehearsal.forecast import Forecast, forecast
from hanwave.rollout.request import CampaignRequest

HARMS = (0.02, 0.1, 0.5)
"""The shares harmed that a rehearsal tries, beside a good image."""
HALF_SILENT = "6h"
"""After its activation, half of the devices that a bad image harms are silent: a soak that is shorter sees few of them."""


def harm(share: float) -> Harm:
    """An image that lets that share of its devices fall silent, half of them within hours: the hardest to see."""
    return Harm.model_validate({"share": share, "after": {"half": HALF_SILENT, "most": "1d"}})


@dataclass(frozen=True, slots=True)
class How:
    """How a plan is rehearsed: by which profile (None: the shipped one; learn: from the campaigns so far), and how often."""

    profile: Profile | None = None
    learn: bool = False
    harms: Sequence[float] = HARMS
    runs: int = 50


async def rehearse(link: Link, name: str, request: CampaignRequest, user_id: str, how: How) -> Forecast:
    """The forecast of the plan that `start` would freeze under that name; it is kept, and `status` compares with it."""
    material = await link.ask(lambda connection: forecasts.material(connection, name, request, user_id))
    if how.learn:
        found = await link.ask(lambda connection: behaviour.learn(connection, material.kind, user_id))
    else:
        found = (how.profile or default_profile()).get(material.kind) or default_profile()[material.kind]
    rules, bad = material.rules(found, now()), [harm(share) for share in how.harms]
    made = await asyncio.to_thread(forecast, rules, found, bad, how.runs, material.digest)
    await link.ask(lambda connection: forecasts.keep(connection, material.digest, made, now()))
    return made
