"""Rolling back: a forward campaign to the approved fallback, for every device that runs the bad image or may come to.

Guarantees: what is only held is never activated, what never left is given back, and each device of the campaign is
either in one rollback campaign, or still in flight, or named with the reason why none of the fallbacks takes it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlalchemy import Connection, Engine, text

from hanwave.ledger import campaigns, control, notes, overview, planning
from hanwave.ledger.database import LedgerError
from hanwave.ledger.notes import By
from hanwave.rollout.cohort import OTHER_MODEL
from hanwave.rollout.request import LONGEST_NAME, CampaignRequest, Cohort


@dataclass(frozen=True, slots=True)
class Restore:
    """A planned rollback: its campaigns, who none of them takes (by reason), and how many are still in flight."""

    campaigns: list[str]
    """The campaigns that take devices back, one a fallback release."""
    left_out: dict[str, int]
    """How many devices none of them takes, by reason."""
    in_flight: int
    """How many updates were in flight still: each ends with its answer, or without."""


def plan_rollback(ledger: Engine, campaign: str, releases: Sequence[str], by: By) -> Restore:
    """Withdraw a campaign, and plan one for each fallback release, first come first served.

    Again: the plans that are there stand, and a release that was not named before takes whom they left out.

    LedgerError, with nothing changed, where the digest is another plan's or a release is the campaign's own, or of
    another device type.
    """
    with ledger.connect() as connection:
        overview.expect(connection, campaign, by.digest)
        _check(connection, campaign, releases)
    document = {"releases": list(releases), "digest": by.digest}
    said = notes.Said(by.actor, "roll back", f"campaign/{campaign}", by.reason, document, by.key)
    # Two transactions: while the first holds the lock of the stop rows nobody sends, and planning takes minutes.
    in_flight = control.withdraw_campaign(ledger, campaign, by.reason, by.actor, key=by.key)
    with ledger.begin() as connection:
        return Restore(
            **notes.once(
                connection,
                said,
                lambda: _restore(connection, campaign, releases, by.actor, in_flight),
                datetime.now(UTC),
            )
        )


def _restore(
    connection: Connection, campaign: str, releases: Sequence[str], actor: str, in_flight: int
) -> dict[str, Any]:
    # Two at once would each plan for the same devices: the second waits for the first, and goes on from what it planned.
    connection.execute(text("SELECT FROM campaign WHERE name = :name FOR UPDATE"), {"name": campaign})
    there = _there(connection, campaign)
    left = dict.fromkeys(to_restore(connection, campaign), "no fallback release was given")
    planned: list[str] = []
    for number, release in enumerate(dict.fromkeys([*there, *releases])):
        if not left:
            break
        if name := there.get(release):
            reasons = planning.left_out(connection, name)  # its plan stands, whoever has come into reach since
        else:
            name = _free_name(connection, campaign)
            reasons = _plan(connection, campaign, name, release, actor, list(left))
        if len(reasons) < len(left):
            planned.append(name)
        left = {eui: _telling(left[eui], why) if number else why for eui, why in reasons.items()}
    restore = asdict(Restore(planned, dict(Counter(left.values()).most_common()), in_flight))
    connection.execute(
        text("UPDATE campaign SET restored = CAST(:restored AS jsonb) WHERE name = :name"),
        {"name": campaign, "restored": json.dumps(restore)},
    )
    return restore


def _telling(before: str, now: str) -> str:
    """Of releases for several models, the one for a device's own says why it does not take it."""
    return before if OTHER_MODEL in now and OTHER_MODEL not in before else now


def _check(connection: Connection, campaign: str, releases: Sequence[str]) -> None:
    """Refuse a fallback that could take nobody back, before anything is withdrawn for it."""
    frame = campaigns.frame(connection, campaign)
    for name in releases:
        if name == frame.release:
            raise LedgerError(f"release {name!r} is what campaign {campaign!r} installs: name one to go back to")
        found = planning.release(connection, name).device_type.value
        if found != frame.device_type:
            raise LedgerError(
                f"release {name!r} is for a {found}, campaign {campaign!r} is of {frame.device_type}s: name one for those"
            )


def to_restore(connection: Connection, campaign: str) -> list[str]:
    """The devices that run the campaign's image, or may come to: what a rollback must reach."""
    rows = connection.execute(
        text(
            # What was adopted was sent by other means: its records stand for the requests.
            "SELECT DISTINCT u.eui FROM campaign_device u JOIN (SELECT o.update_id, o.leg FROM outbox_device o"
            " JOIN outbox b ON b.id = o.outbox_id AND b.sends > 0 UNION ALL SELECT e.update_id, e.leg"
            " FROM device_event e WHERE e.evidence = 'imported') o ON o.update_id = u.id WHERE u.campaign = :name"
            " AND (o.leg = 'activate' OR (o.leg = 'distribute' AND u.device_type = 'PPMID')) ORDER BY u.eui"
        ),
        {"name": campaign},
    )
    return list(rows.scalars())


def _plan(
    connection: Connection, campaign: str, name: str, release: str, actor: str, euis: list[str]
) -> dict[str, str]:
    """Plan one rollback campaign over those devices; the ones that it leaves out, and why."""
    frame = campaigns.frame(connection, campaign)
    request = CampaignRequest(
        release=release,
        cohort=Cohort(devices=tuple(euis)),
        policy=frame.policy.for_rollback(),
        author=actor,
        rollback_of=campaign,
        route=frame.route,
    )
    try:
        planning.freeze(connection, name, request, frame.user_id, datetime.now(UTC), undo=True)
    except LedgerError as error:
        return dict.fromkeys(euis, str(error))
    return planning.left_out(connection, name)


def _there(connection: Connection, campaign: str) -> dict[str, str]:
    """The rollbacks of a campaign that were planned before, in their order: the name of each, by its release."""
    statement = text(
        "SELECT release, name FROM campaign WHERE kind = 'rollback' AND of = :campaign ORDER BY created_at, name"
    )
    return {row.release: row.name for row in connection.execute(statement, {"campaign": campaign})}


def _free_name(connection: Connection, campaign: str) -> str:
    names = (_name(connection, campaign, number) for number in count(1))
    taken = text("SELECT 1 FROM campaign WHERE name = :name")
    return next(name for name in names if connection.execute(taken, {"name": name}).first() is None)


def _name(connection: Connection, campaign: str, number: int) -> str:
    """spring-back-1; with a digest where that is too long, or somebody else's campaign: neither may prevent a rollback."""
    end = f"-back-{number}"
    if len(plain := campaign + end) <= LONGEST_NAME and not _is_anothers(connection, plain, campaign):
        return plain
    end = f"-{hashlib.sha256(campaign.encode()).hexdigest()[:8]}{end}"
    return campaign[: LONGEST_NAME - len(end)] + end


def _is_anothers(connection: Connection, name: str, campaign: str) -> bool:
    statement = text(
        "SELECT 1 FROM campaign WHERE name = :name AND (kind, of) IS DISTINCT FROM ('rollback', :campaign)"
    )
    return connection.execute(statement, {"name": name, "campaign": campaign}).first() is not None
