"""Of which campaign another comes, as a request says it: what that lets it do, and whether it is so.

Guarantee: only what the verb roll_back planned, or a retry of that over its own devices, undoes a campaign. A rollback waits
for no gate, may install a lower version and takes the devices of the campaign that it undoes: a request that merely says
that it is one, in the Web UI say, is refused.
"""

from sqlalchemy import Connection, text

from hanwave.ledger.database import LedgerError
from hanwave.rollout.request import CampaignRequest


def check(connection: Connection, request: CampaignRequest) -> None:
    """LedgerError where a request that somebody sent names a campaign that it cannot come of."""
    if (first := request.retry_of) and not _is_known(connection, first):
        raise LedgerError(
            f"retry_of: there is no campaign {first[:70]!r}: `hanwave campaign list` shows those there are"
        )
    if (undone := request.rollback_of) and not _is_retried_rollback(connection, request):
        raise LedgerError(
            f"rollback_of: a rollback of {undone[:63]!r} is begun by its verb roll_back, not by a request: leave it out"
        )


def _is_known(connection: Connection, name: str) -> bool:
    return connection.execute(text("SELECT 1 FROM campaign WHERE name = :name"), {"name": name}).first() is not None


def _is_retried_rollback(connection: Connection, request: CampaignRequest) -> bool:
    """Whether it takes up devices of a rollback of the same campaign again, to the same release."""
    found = connection.execute(
        text(
            "SELECT count(*) FROM campaign_device u JOIN campaign c ON c.name = u.campaign AND c.kind = 'rollback'"
            " AND c.release = :release AND c.request ->> 'rollback_of' = :undone"
            " WHERE u.campaign = :first AND u.eui = ANY(:euis)"
        ),
        {
            "release": request.release,
            "undone": request.rollback_of,
            "first": request.retry_of,
            "euis": (euis := sorted(set(request.cohort.devices))),
        },
    )
    return 0 < int(found.scalar_one()) == len(euis)
