"""A new run for the devices that a campaign did not bring to a good end, with its lineage."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, text

from hanwave.ledger.database import LedgerError
from hanwave.rollout.decide import Outcome
from hanwave.rollout.policy import Policy
from hanwave.rollout.request import CampaignRequest, Cohort

NOT_RETRIED = frozenset(
    {Outcome.LEFT, Outcome.CANCELLED, Outcome.SUPERSEDED, Outcome.NEEDS_VISIT, Outcome.CUSTOMER_ACTION, Outcome.INSPECT}
)
"""Ends that a new run only takes up by name: it would change nothing, or somebody must act first."""

_ENDED_SO = text(
    """
    SELECT u.eui FROM campaign_device u WHERE u.campaign = :campaign AND u.state = 'closed' AND u.outcome = ANY(:outcomes)
    AND NOT EXISTS (SELECT 1 FROM campaign_device n WHERE n.eui = u.eui AND n.id > u.id) ORDER BY u.eui
    """
)


def request_for(
    connection: Connection, campaign: str, outcomes: Collection[str], author: str, policy: Policy | None = None
) -> CampaignRequest:
    """The request that takes up the devices of a campaign that ended so (without outcomes: that did not end well).

    It is the campaign's own, over those devices alone: waves that were named lists are left out, and a policy may take
    the place of its own, whose gates may ask for more devices than these. A device that is, or was, in a later update
    belongs to that one's campaign. LedgerError where there is no such campaign, outcome or device.
    """
    row = connection.execute(
        text("SELECT policy, request FROM campaign WHERE name = :campaign"), {"campaign": campaign}
    ).one_or_none()
    if row is None:
        raise LedgerError(f"there is no campaign {campaign[:70]!r}: `hanwave campaign list` shows those there are")
    wanted = sorted(_outcome(each) for each in outcomes) or sorted(set(Outcome) - NOT_RETRIED)
    euis = list(connection.execute(_ENDED_SO, {"campaign": campaign, "outcomes": wanted}).scalars())
    if not euis:
        raise LedgerError(
            f"no device of campaign {campaign} ended {', '.join(wanted)} without a later update: there is nothing to retry"
        )
    return _again(row.request, policy or Policy.model_validate(row.policy).without_lists(), euis, campaign, author)


def _outcome(value: str) -> str:
    try:
        return str(Outcome(value))
    except ValueError as error:
        known = ", ".join(sorted(Outcome))
        raise LedgerError(f"{value[:30]!r} is no outcome, it should be one of {known}") from error


def _again(request: dict[str, Any], policy: Policy, euis: list[str], campaign: str, author: str) -> CampaignRequest:
    first = CampaignRequest.model_validate(request)
    cohort = Cohort(devices=tuple(euis))
    return first.model_copy(
        update={"policy": policy, "cohort": cohort, "author": author, "retry_of": campaign, "seed": ""}
    )


def next_name(connection: Connection, campaign: str) -> str:
    """The name that the next run over a campaign's devices has where none is given: spring-retry-2."""
    runs = connection.execute(
        text("SELECT count(*) FROM campaign WHERE of = :campaign AND kind = 'retry'"), {"campaign": campaign}
    ).scalar_one()
    return f"{campaign}-retry-{runs + 1}"
