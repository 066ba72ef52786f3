"""How a campaign stands, all of it from the ledger: what its workflow, its page and the command line show and go on from."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.ledger import campaigns, harm, shadows, stops, throttle
from hanwave.ledger.database import LedgerError
from hanwave.rollout.decide import Step
from hanwave.rollout.gate import Verdict
from hanwave.rollout.route import DCC
from hanwave.words import person

SHOWN = 16
"""Digits of a plan's digest that its page shows, and that name it in whatever widens; an approval takes all of them."""


@dataclass(frozen=True, slots=True)
class WaveView:
    """One wave: its size, whether it is open, and how it was judged."""

    number: int
    """From 1 on."""
    size: int
    """Its devices."""
    opened: bool
    """Whether it was begun; a closed one was."""
    verdict: str | None
    """Of its gate: pass, fail or not enough evidence; null until every device of it has ended."""
    reason: str
    """Why, in a sentence."""
    passed_by: str | None
    """Who let the next wave begin though the gate did not pass; null: nobody did."""

    @property
    def closed(self) -> bool:
        """Whether every device of it has ended, and its gate has judged."""
        return self.verdict is not None

    @property
    def passed(self) -> bool:
        """Whether the next wave may begin, by the verdict or by a person."""
        return self.verdict == Verdict.PASS or self.passed_by is not None


@dataclass(frozen=True, slots=True)
class View:
    """A campaign: its plan, its people, its waves, its devices by state, and what stops it."""

    name: str
    """The campaign's."""
    release: str
    """By its name: the one that it installs."""
    digest: str
    """Of its frozen plan."""
    status: str
    """planned, running, withdrawn or closed."""
    author: str
    """Who planned it; claimed, where no signature says so."""
    approvals: int
    """How many people, other than the author, must approve it."""
    approvers: list[str]
    """Who did, each once."""
    sweep: float
    """Seconds between two looks for what fell due."""
    fallbacks: list[str]
    """The releases to go back to, the first that a device's model takes."""
    restoring: list[str] | None
    """The campaigns that take its devices back; null where it is not being rolled back."""
    waves: list[WaveView] = field(default_factory=list)
    """In their order."""
    funnel: dict[str, int] = field(default_factory=dict)
    """How many devices are in each state; closed ones by their outcome ("closed:quiet")."""
    stops: list[str] = field(default_factory=list)
    """The halts, pauses and breakers that hold it now, a sentence each."""
    held: list[str] = field(default_factory=list)
    """Why devices whose turn it would be wait, the most common reasons first: closed windows, budgets, holds."""
    hops: dict[str, int] = field(default_factory=dict)
    """Devices on paths of several hops whose updates are open, by the hop in hand: "hop 1 of 2"."""
    pace: float | None = None
    """Activations a second, over all, that it may have now."""
    user_id: str = ""
    """Whose campaign it is."""
    seen: dict[str, int] = field(default_factory=dict)
    """Of a shadow: what became of how many devices by others' doing, the most first."""
    next_due: datetime | None = None
    """When something next falls due in the open wave: a deadline, the end of a wait or of a soak."""
    route: str = DCC
    """Through the DCC, or over a bench ("bench/lab")."""
    harm: str | None = None
    """Why the approved plan has it rolled back now, nobody asking for it; null: it does not."""

    def other_plan(self, digest: str) -> str | None:
        """The sentence that refuses a digest of another plan; None where it is this one's, or its first SHOWN digits."""
        if digest == self.digest or (len(digest) >= SHOWN and self.digest.startswith(digest)):
            return None
        return f"the plan of {self.name} is {self.digest}, not {digest[:40]!r}: read it again before you act on it"


def view(connection: Connection, name: str, now: datetime | None = None) -> View | None:
    """The campaign of that name, with what holds devices back where the time is given; None where there is none."""
    row = connection.execute(
        text(
            "SELECT c.user_id, c.release, c.digest, c.status, c.author, c.request, c.restored, r.document->>'fallback' AS fallback"
            " FROM campaign c JOIN release r ON r.name = c.release WHERE c.name = :name"
        ),
        {"name": name},
    ).one_or_none()
    if row is None:
        return None
    return View(
        name=name,
        release=row.release,
        digest=row.digest,
        status=row.status,
        author=row.author,
        approvals=row.request.get("approvals", 0),
        approvers=_approvers(connection, name, row.digest),
        sweep=campaigns.frame(connection, name).policy.sweep.total_seconds(),
        fallbacks=row.request.get("fallbacks") or ([row.fallback] if row.fallback else []),
        restoring=row.restored["campaigns"] if row.restored else None,
        waves=_waves(connection, name),
        funnel=campaigns.shown(connection, name),
        stops=[str(stop) for stop in stops.open_stops(connection, name)],
        held=_held(connection, name, now) if now else [],
        next_due=_next_due(connection, name, now) if now else None,
        hops=_hops(connection, name) if campaigns.frame(connection, name).longer else {},
        pace=throttle.pace(connection, name),
        user_id=row.user_id,
        seen=shadows.seen(connection, name) if campaigns.frame(connection, name).shadow else {},
        route=campaigns.frame(connection, name).route,
        harm=harm.proven(connection, name),
    )


def known(connection: Connection, name: str) -> View:
    """The campaign of that name; LedgerError where there is none."""
    found = view(connection, name)
    if found is None:
        raise LedgerError(f"there is no campaign {name[:70]!r}: `hanwave campaign list` shows those there are")
    return found


def expect(connection: Connection, name: str, digest: str) -> View:
    """The campaign, where its plan is the one that was read; LedgerError otherwise."""
    found = known(connection, name)
    if refusal := found.other_plan(digest):
        raise LedgerError(refusal)
    return found


def _held(connection: Connection, name: str, now: datetime) -> list[str]:
    rows = connection.execute(
        text(
            "SELECT d.reason, count(*) AS n FROM wave w JOIN campaign_device d ON (d.campaign, d.wave) = (w.campaign, w.number)"
            " AND d.step IN ('distribute', 'activate') AND d.due_at > :now"
            " WHERE w.campaign = :name AND w.opened_at IS NOT NULL AND w.closed_at IS NULL AND d.reason <> ''"
            " GROUP BY d.reason ORDER BY n DESC, d.reason LIMIT 3"
        ),
        {"name": name, "now": now},
    )
    return [f"{row.n} device{'s' if row.n > 1 else ''} not now: {row.reason}" for row in rows]


def _next_due(connection: Connection, name: str, now: datetime) -> datetime | None:
    found: datetime | None = connection.execute(
        text(
            # A look into the index for each step, however many devices the wave has.
            "SELECT min(first.due_at) FROM wave w, unnest(CAST(:steps AS text[])) AS s(step),"
            " LATERAL (SELECT d.due_at FROM campaign_device d WHERE d.campaign = w.campaign AND d.wave = w.number"
            " AND d.step = s.step AND d.due_at > :now ORDER BY d.due_at LIMIT 1) AS first"
            " WHERE w.campaign = :name AND w.opened_at IS NOT NULL AND w.closed_at IS NULL"
        ),
        {"name": name, "now": now, "steps": list(Step)},
    ).scalar_one()
    return found


def _hops(connection: Connection, name: str) -> dict[str, int]:
    rows = connection.execute(
        text(
            "SELECT u.hop, p.hops, count(*) AS n FROM campaign_device u JOIN (SELECT path, count(*) AS hops FROM path_hop"
            " WHERE campaign = :name GROUP BY path) p USING (path) WHERE u.campaign = :name"
            " AND u.state NOT IN ('planned', 'settled', 'closed') GROUP BY 1, 2 ORDER BY 2, 1"
        ),
        {"name": name},
    )
    return {f"hop {row.hop} of {row.hops}": row.n for row in rows}


def _approvers(connection: Connection, name: str, digest: str) -> list[str]:
    """Each person once, however often and in whatever spelling they approved."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT actor FROM note WHERE verb = 'approve' AND subject = :subject"
            " AND document ->> 'digest' = :digest ORDER BY actor"
        ),
        {"subject": f"campaign/{name}", "digest": digest},
    )
    return list({person(each): each for each in rows.scalars()}.values())


def _waves(connection: Connection, name: str) -> list[WaveView]:
    rows = connection.execute(
        text(
            "SELECT number, size, opened_at IS NOT NULL AS opened, verdict, coalesce(judged ->> 'reason', '') AS reason,"
            " passed_by FROM wave WHERE campaign = :name ORDER BY number"
        ),
        {"name": name},
    )
    return [WaveView(*row) for row in rows]


def closed(connection: Connection, names: list[str]) -> bool:
    """Whether all those campaigns are over."""
    statement = text("SELECT count(*) FROM campaign WHERE name = ANY(:names) AND closed_at IS NULL")
    return not connection.execute(statement, {"names": names}).scalar_one()
