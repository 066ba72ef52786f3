"""Recording what happened to devices, and folding it: the only writer of device_event and of campaign_device's fold.

Guarantees: rows are locked in one order before they are folded, so two writers cannot deadlock or fold half of what is
known; recording an event twice changes nothing; the breaker opens in the transaction that records the harm.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, TextClause, text

from hanwave.ledger import campaigns, incidents
from hanwave.ledger.stops import open_breaker
from hanwave.rollout.decide import About, Decision, Outcome, Step, decide, unexplained
from hanwave.rollout.device import ENDED, IN_FLIGHT, Standing, State, Target, fold
from hanwave.rollout.events import Event, Evidence, Kind, Leg
from hanwave.rollout.gate import breaker
from hanwave.rollout.incidents import Incident
from hanwave.rollout.policy import DeviceType
from hanwave.rollout.soak import Observed


@dataclass(frozen=True, slots=True)
class Fact:
    """An event of one update, and the digest of the message that says so."""

    update_id: int
    event: Event
    message: str | None = None


class Known(NamedTuple):
    """What an update is folded of: its row, its events, and the incidents that its deadlines leave out."""

    row: Row[Any]
    events: Sequence[Event]
    lasted: Sequence[Incident]


@dataclass(frozen=True, slots=True)
class Folded:
    """An update after its fold: where it stands, and what is next."""

    update_id: int
    campaign: str
    wave: int
    eui: str
    device_type: DeviceType
    path: tuple[campaigns.Hop, ...]
    standing: Standing
    decision: Decision
    was: State
    known: Known

    @property
    def hop(self) -> int:
        """The hop in hand."""
        return self.standing.hop

    @property
    def region(self) -> str:
        """The communications provider's, by which its deadlines go."""
        region: str = self.known.row.region
        return region

    def image(self, leg: Leg) -> campaigns.Hop:
        """What a request of that leg would be of now."""
        hop, _ = self.standing.next(leg)
        return self.path[hop - 1]


def record(connection: Connection, facts: Sequence[Fact], now: datetime) -> list[Folded]:
    """Append the facts and fold every update that they touch; now is when they are recorded (aware UTC)."""
    return _keep(connection, _locked(connection, {fact.update_id for fact in facts}, now), facts, now) if facts else []


def record_of(connection: Connection, known: Sequence[Folded], facts: Sequence[Fact], now: datetime) -> list[Folded]:
    """As record, of those updates only, which this transaction has locked and read, and told nothing since."""
    return _keep(connection, [each.known for each in known], facts, now)


def refold(connection: Connection, update_ids: Iterable[int], now: datetime) -> list[Folded]:
    """Fold those updates and keep the result; free the leases of those that ended."""
    return _keep(connection, _locked(connection, update_ids, now), (), now)


def lock(connection: Connection, update_ids: Iterable[int]) -> None:
    """Lock those updates' rows until the transaction ends, always in the order of their ids."""
    statement = text("SELECT 1 FROM campaign_device WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
    connection.execute(statement, {"ids": sorted(update_ids)})


def lock_standings(connection: Connection, update_ids: Iterable[int], now: datetime) -> list[Folded]:
    """Lock those updates, and read them as their events have them now: what is acted upon."""
    return [_folded(connection, known, known.events, now) for known in _locked(connection, update_ids, now)]


def standings(connection: Connection, update_ids: Iterable[int], now: datetime) -> list[Folded]:
    """Those updates as their events have them now; without a lock, the answer may be out of date at once."""
    return [_folded(connection, known, known.events, now) for known in _read(connection, update_ids, now, _ROWS)]


def kept(connection: Connection, update_id: int) -> tuple[State, str, str | None]:
    """An update's state and its reason, as they were last folded; and how it ended, where it did not end well."""
    row = connection.execute(_KEPT, {"id": update_id}).one()
    return State(row.state), row.reason, row.outcome


_KEPT = text("SELECT state, reason, outcome FROM campaign_device WHERE id = :id")


def _locked(connection: Connection, update_ids: Iterable[int], now: datetime) -> list[Known]:
    return _read(connection, update_ids, now, _LOCKED_ROWS)


def _read(connection: Connection, update_ids: Iterable[int], now: datetime, statement: TextClause) -> list[Known]:
    ids = sorted(update_ids)
    rows = connection.execute(statement, {"ids": ids, "now": now}).all()
    # In a statement that begins after the lock is there: else those were missing that were recorded in the meantime.
    events = _events(connection, ids)
    known = incidents.known(rows[0].incidents if rows else None)
    return [Known(row, events[row.id], known.of(row.region)) for row in rows]


# Of a GSME alone: its battery is what every image costs, whichever campaign sent it.
_IMAGES = """CASE WHEN u.device_type = 'GSME' THEN (
    SELECT count(DISTINCT (e.update_id, e.hop, e.attempt)) FROM campaign_device o
    JOIN device_event e ON e.update_id = o.id AND e.kind = 'sent' AND e.leg = 'distribute'
    WHERE o.eui = u.eui AND o.id <> u.id) ELSE 0 END"""
_SELECT = (
    "SELECT u.id, campaign, wave, eui, u.device_type, u.model, path,"
    " lpad(upper(from_version), 8, '0') AS base, state, coalesce(d.region, 'Unknown') AS region,"
    f" {incidents.KNOWN} AS incidents, {_IMAGES} AS images"
    " FROM campaign_device u LEFT JOIN device d USING (eui) WHERE u.id = ANY(:ids) ORDER BY u.id"
)
_ROWS, _LOCKED_ROWS = text(_SELECT), text(f"{_SELECT} FOR UPDATE OF u")


def _folded(connection: Connection, known: Known, events: Sequence[Event], now: datetime) -> Folded:
    row = known.row
    frame = campaigns.frame(connection, row.campaign)
    device_type = DeviceType(row.device_type)
    alarms = frozenset(frame.policy.of_wave(row.wave).gate.alarms)
    path = frame.paths[row.path - 1]
    hops = enumerate(path, 1)
    standing = fold(events, *(Target(h.version, h.image_hash, device_type.one_step, hop, alarms) for hop, h in hops))
    about = About(row.eui, row.region, row.images, frame.on_bench)
    decision = decide(standing, device_type, frame.policy.of_wave(row.wave), now, known.lasted, about)
    return Folded(
        *(row.id, row.campaign, row.wave, row.eui, device_type, path),
        *(standing, decision, State(row.state), known),
    )


_EVENTS = text(
    "SELECT update_id, kind, leg, hop, attempt, at, evidence, version, detail, reason FROM device_event"
    " WHERE update_id = ANY(:ids)"
)


def _events(connection: Connection, ids: list[int]) -> defaultdict[int, list[Event]]:
    found: defaultdict[int, list[Event]] = defaultdict(list)
    for row in connection.execute(_EVENTS, {"ids": ids}):
        leg = Leg(row.leg) if row.leg else None
        evidence = Evidence(row.evidence)
        event = Event(Kind(row.kind), row.at, leg, row.hop, row.attempt, evidence, row.version, row.detail, row.reason)
        found[row.update_id].append(event)
    return found


_KEEP = text(
    """
    WITH facts AS (
        INSERT INTO device_event
            (update_id, eui, kind, leg, hop, attempt, at, recorded_at, evidence, version, detail, reason, message)
        SELECT f.update_id, f.eui, f.kind, f.leg, f.hop, f.attempt, f.at, :now, f.evidence, f.version, f.detail, f.reason, f.message
        FROM unnest(CAST(:fact_ids AS bigint[]), CAST(:euis AS text[]), CAST(:kinds AS text[]), CAST(:legs AS text[]),
                    CAST(:hops AS int[]), CAST(:attempts AS int[]), CAST(:ats AS timestamptz[]),
                    CAST(:evidences AS text[]), CAST(:fact_versions AS text[]), CAST(:details AS text[]),
                    CAST(:fact_reasons AS text[]), CAST(:messages AS text[]))
             AS f(update_id, eui, kind, leg, hop, attempt, at, evidence, version, detail, reason, message)
        ON CONFLICT DO NOTHING
    ), moved AS (
        UPDATE campaign_device d SET hop = f.hop, state = f.state, step = f.step,
            -- A step that is due already stays due since then, or is deferred until then.
            due_at = CASE WHEN d.step = f.step AND f.step <> 'wait' THEN d.due_at ELSE f.due_at END, reason = f.reason,
            version = f.version, outcome = f.outcome, changed_at = :now,
            picked_at = CASE WHEN d.step = f.step THEN d.picked_at END
        FROM unnest(CAST(:ids AS bigint[]), CAST(:in_hand AS int[]), CAST(:states AS text[]), CAST(:steps AS text[]), CAST(:dues AS timestamptz[]),
                    CAST(:reasons AS text[]), CAST(:versions AS text[]), CAST(:outcomes AS text[]))
             AS f(id, hop, state, step, due_at, reason, version, outcome)
        WHERE d.id = f.id
    ), counted AS (
        INSERT INTO tally (campaign, wave, model, state, delta)
        SELECT * FROM unnest(CAST(:campaigns AS text[]), CAST(:waves AS int[]), CAST(:models AS text[]),
                             CAST(:counts AS text[]), CAST(:deltas AS int[]))
    ), homes AS (
        DELETE FROM home_lease h USING unnest(CAST(:idle_ids AS bigint[]), CAST(:idle_kinds AS text[])) AS f(id, kind)
        WHERE h.update_id = f.id AND h.kind = f.kind
    )
    DELETE FROM lease WHERE update_id = ANY(:ended)
    """
)


def _keep(connection: Connection, known: Sequence[Known], facts: Sequence[Fact], now: datetime) -> list[Folded]:
    """Fold those locked updates with the facts, and write facts, folds, tallies and freed leases in one statement."""
    told: defaultdict[int, list[Event]] = defaultdict(list)
    for fact in facts:
        told[fact.update_id].append(fact.event)
    folded = [_folded(connection, each, _once(each.events, told[each.row.id]), now) for each in known]
    euis = {f.update_id: f.eui for f in folded}
    connection.execute(
        _KEEP, {"now": now} | _appended(facts, euis) | _moved(folded, now) | _counted(folded) | _freed(folded)
    )
    _break(connection, folded, now)
    return folded


def _once(known: Sequence[Event], new: Sequence[Event]) -> list[Event]:
    """Those events as the table keeps them: of one fact that is told twice, the first."""
    told = {replace(event, reason=None) for event in known}
    once = {replace(event, reason=None): event for event in reversed(new)}
    return [*known, *(event for fact, event in once.items() if fact not in told)]


def _appended(facts: Sequence[Fact], euis: Mapping[int, str]) -> dict[str, Any]:
    events = [fact.event for fact in facts]
    return {
        "fact_ids": [fact.update_id for fact in facts],
        "euis": [euis[fact.update_id] for fact in facts],
        "kinds": [str(e.kind) for e in events],
        "legs": [e.leg and str(e.leg) for e in events],
        "hops": [e.hop for e in events],
        "attempts": [e.attempt for e in events],
        "ats": [e.at for e in events],
        "evidences": [str(e.evidence) for e in events],
        "fact_versions": [e.version for e in events],
        "details": [e.detail for e in events],
        "fact_reasons": [e.reason for e in events],
        "messages": [fact.message for fact in facts],
    }


def _moved(folded: Sequence[Folded], now: datetime) -> dict[str, Any]:
    return {
        "ids": [f.update_id for f in folded],
        "in_hand": [f.hop for f in folded],
        "states": [str(f.standing.state) for f in folded],
        "steps": [str(f.decision.step) for f in folded],
        "dues": [_due(f.decision, now) for f in folded],
        "reasons": [
            f.standing.reason if f.standing.outcome else f.decision.reason or f.standing.reason for f in folded
        ],
        "versions": [f.standing.version for f in folded],
        "outcomes": [f.standing.outcome for f in folded],
    }


def _due(decision: Decision, now: datetime) -> datetime | None:
    return decision.until if decision.step is Step.WAIT else now


def _counted(folded: Sequence[Folded]) -> dict[str, Any]:
    deltas: Counter[tuple[str, int, str, str]] = Counter()
    for f in folded:
        place = f.campaign, f.wave, f.known.row.model
        deltas[*place, tally_name(f.was)] -= 1
        deltas[*place, tally_name(f.standing.state, f.standing.outcome)] += 1
    moved = sorted((*key, n) for key, n in deltas.items() if n)
    return {
        "campaigns": [campaign for campaign, _, _, _, _ in moved],
        "waves": [wave for _, wave, _, _, _ in moved],
        "models": [model for _, _, model, _, _ in moved],
        "counts": [state for _, _, _, state, _ in moved],
        "deltas": [n for _, _, _, _, n in moved],
    }


def tally_name(state: State, outcome: str | None = None) -> str:
    """What a device counts as: its state, and for a closed one its outcome too ("closed:quiet")."""
    return f"{state}:{outcome}" if state is State.CLOSED else str(state)


def _freed(folded: Sequence[Folded]) -> dict[str, Any]:
    """The home is given back where a leg is no longer in flight, and the device where its update has ended."""
    idle = [(f.update_id, leg) for leg, states in IN_FLIGHT.items() for f in folded if not _busy(f, states)]
    return {
        "idle_ids": [update_id for update_id, _ in idle],
        "idle_kinds": [str(leg) for _, leg in idle],
        "ended": [f.update_id for f in folded if f.standing.state in ENDED],
    }


def _busy(device: Folded, states: frozenset[State]) -> bool:
    # A PPMID activates by itself, so its home is busy with both legs from the request to the proof.
    both = frozenset().union(*IN_FLIGHT.values()) if device.device_type.one_step else states
    return device.standing.quarantined or device.standing.is_between or device.standing.state in both


HARM = frozenset({State.FAILED, State.VERIFICATION_FAILED})
HARMFUL = frozenset({Outcome.FAILED, Outcome.NOT_VERIFIED})


def _harms(device: Folded) -> bool:
    # A settled device that runs something else later is closed as failed: it had ended, and has no state in between.
    regressed = device.was is State.SETTLED and device.standing.outcome in HARMFUL
    return regressed or (device.standing.state in HARM and device.was not in HARM)


def _break(connection: Connection, folded: list[Folded], now: datetime) -> None:
    harmed = {(f.campaign, f.wave) for f in folded if _harms(f)}
    for campaign, wave in sorted(harmed):
        # Two harms recorded at once would each miss the other's: the second waits for the first.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"breaker/{campaign}/{wave}"})
        progress = campaigns.progress(connection, campaign, wave)
        if breaker(progress, campaigns.gate(connection, campaign, wave)):
            reason = f"{progress.failed + progress.refused} devices harmed"
            open_breaker(connection, f"{campaign}/{wave}", reason, now)
    for campaign, wave in sorted({(f.campaign, f.wave) for f in folded if _is_unexplained(f)}):
        found = _unexplained(connection, campaign, wave)
        if sum(found.values()) > campaigns.frame(connection, campaign).policy.unexplained:
            listed = ", ".join(f"{code} for {n} devices" for code, n in sorted(found.items()))
            open_breaker(connection, f"{campaign}/{wave}", f"refused with codes to be looked up: {listed}"[:200], now)


def _is_unexplained(device: Folded) -> bool:
    return device.standing.cause is Kind.REFUSED and unexplained(device.standing.reason)


def _unexplained(connection: Connection, campaign: str, wave: int) -> dict[str, int]:
    rows = connection.execute(
        text(
            "SELECT reason, count(*) AS n FROM campaign_device WHERE campaign = :campaign AND wave = :wave"
            " AND state IN ('rejected', 'held', 'closed') AND reason ~ '^[EW][0-9]+$' GROUP BY reason"
        ),
        {"campaign": campaign, "wave": wave},
    )
    return {row.reason: row.n for row in rows if unexplained(row.reason)}


_OBSERVE = text(
    f"""
    INSERT INTO device_event (update_id, eui, kind, hop, attempt, at, recorded_at, evidence, detail)
    SELECT u.id, u.eui, '{Kind.SERVICE}', u.hop, 0, :now, :now, '{Evidence.OBSERVED}', f.detail
    FROM unnest(CAST(:euis AS text[]), CAST(:details AS text[])) AS f(eui, detail)
    JOIN campaign_device u ON u.eui = f.eui AND u.campaign = :campaign AND u.wave = :wave
    """
)


def observe(connection: Connection, campaign: str, wave: int, observed: Sequence[Observed], now: datetime) -> None:
    """Record what service checks told of a wave's devices. No fold hangs on it, so no update is locked or moved."""
    if observed:
        told = {"euis": [each.eui for each in observed], "details": [str(each) for each in observed]}
        connection.execute(_OBSERVE, {"campaign": campaign, "wave": wave, "now": now} | told)
