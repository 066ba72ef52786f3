"""What the DCC, or a manufacturer, needs to look into one kind of failure of a campaign: devices, requests, events, messages.

Guarantees: no customer's number and no home's key is read; times are UTC; a message stands in the pack byte for byte as it
was sent or arrived, named by its SHA-256; and the same facts make the same pack.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from sqlalchemy import Connection, text

from hanwave.ledger import campaigns, holds
from hanwave.ledger.database import LedgerError
from hanwave.ledger.holds import NewHold

MAX_MESSAGE = 200_000
"""Octets: a longer message, which is one with an image in it, stands in the pack by its digest alone."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the pack, so that the same facts make the same pack."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was put into a pack."""

    campaign: str
    cause: str
    devices: list[str]
    requests: int
    messages: int
    too_long: int
    """Messages that stand in it by their digest alone."""


def write(connection: Connection, campaign: str, cause: str, out: IO[bytes], user_id: str | None = None) -> Packed:
    """Write the pack, a ZIP, of one cause: an outcome (quiet), or a code or word that an event of the device gives (E21).

    LedgerError where there is no such campaign, or nothing of it has that cause; it names those that it has.
    """
    if not campaigns.is_of(connection, campaign, user_id):
        raise LedgerError(campaigns.no_campaign(connection, campaign, user_id))
    updates = list(connection.execute(_OF, {"campaign": campaign, "cause": cause}).scalars())
    if not updates:
        raise LedgerError(_none(connection, campaign, cause))
    devices, requests, events = (
        connection.execute(each, {"ids": updates}).all() for each in (_DEVICES, _REQUESTS, _EVENTS)
    )
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        _table(pack, "devices.csv", devices)
        _table(pack, "requests.csv", requests)
        _table(pack, "events.csv", events)
        kept, too_long = _messages(connection, pack, updates)
        packed = Packed(campaign, cause, [row.eui for row in devices], len(requests), kept, too_long)
        _put(pack, "README.txt", _readme(connection, packed).encode())
    return packed


def hold(
    connection: Connection, packed: Packed, ticket: str, actor: str, now: datetime, user_id: str | None = None
) -> int:
    """Hold each of its devices under the ticket's reference; how many were not held under it yet."""
    reason = f"{ticket}: {packed.cause} in {packed.campaign}"
    held = {
        each.value
        for each in holds.listed(connection, now, user_id=user_id)
        if (each.scope, each.reason) == ("device", reason)
    }
    new = [eui for eui in packed.devices if eui not in held]
    for eui in new:
        holds.place(connection, NewHold("device", eui, reason, actor, user_id=user_id), now)
    return len(new)


_OF = text(
    "SELECT u.id FROM campaign_device u WHERE u.campaign = :campaign AND (lower(u.outcome) = lower(:cause) OR EXISTS"
    " (SELECT 1 FROM device_event e WHERE e.update_id = u.id AND lower(e.detail) = lower(:cause))) ORDER BY u.eui"
)
_DEVICES = text(
    "SELECT u.eui, u.device_type, d.manufacturer, d.model, d.hardware_version, u.from_version, r.firmware_version AS target,"
    " u.version AS last_version, d.hub, d.region, u.wave, u.state, u.outcome, u.reason FROM campaign_device u"
    " JOIN campaign c ON c.name = u.campaign JOIN release r ON r.name = c.release LEFT JOIN device d ON d.eui = u.eui"
    " WHERE u.id = ANY(:ids) ORDER BY u.eui"
)
_REQUESTS = text(
    "SELECT m.eui, o.request_id, o.service_reference, coalesce(o.parameters ->> 'release', '') AS release, m.hop, m.leg,"
    " m.attempt, o.state, o.code, o.sends, o.granted_at,"
    " o.sending_at, o.answered_at, o.digest FROM outbox_device m JOIN outbox o ON o.id = m.outbox_id"
    " WHERE m.update_id = ANY(:ids) ORDER BY m.eui, o.id"
)
_EVENTS = text(
    "SELECT eui, at, recorded_at, kind, leg, hop, attempt, evidence, version, detail, reason, message FROM device_event"
    " WHERE update_id = ANY(:ids) ORDER BY eui, at, id"
)
_RAW = text(
    "SELECT b.request AS raw FROM outbox_body b WHERE b.outbox_id IN"
    " (SELECT outbox_id FROM outbox_device WHERE update_id = ANY(:ids))"
    " UNION ALL SELECT b.answer FROM outbox_body b WHERE b.answer IS NOT NULL AND b.outbox_id IN"
    " (SELECT outbox_id FROM outbox_device WHERE update_id = ANY(:ids))"
    " UNION ALL SELECT i.raw FROM inbox i WHERE i.digest IN (SELECT message FROM device_event WHERE update_id = ANY(:ids))"
)


def _none(connection: Connection, campaign: str, cause: str) -> str:
    rows = connection.execute(
        text(
            "SELECT outcome, count(*) AS n FROM campaign_device WHERE campaign = :campaign AND outcome IS NOT NULL"
            " GROUP BY 1 ORDER BY n DESC, 1 LIMIT 5"
        ),
        {"campaign": campaign},
    )
    has = ", ".join(f"{row.outcome} ({row.n})" for row in rows) or "none that ended badly"
    return f"no device of {campaign} has the cause {cause[:40]!r}: name an outcome or a code; it has {has}"


def _messages(connection: Connection, pack: zipfile.ZipFile, updates: Sequence[int]) -> tuple[int, int]:
    seen: set[str] = set()
    too_long = 0
    for raw in connection.execute(_RAW.execution_options(yield_per=50), {"ids": list(updates)}).scalars():
        data = bytes(raw)
        digest = hashlib.sha256(data).hexdigest()
        if digest in seen:
            continue
        seen.add(digest)
        if len(data) > MAX_MESSAGE:
            too_long += 1
            data = (
                f"SHA-256 {digest}, {len(data)} octets: it has an image in it, and is kept by the supplier\n".encode()
            )
            _put(pack, f"messages/{digest}.txt", data)
        else:
            _put(pack, f"messages/{digest}.xml", data)
    return len(seen) - too_long, too_long


def _table(pack: zipfile.ZipFile, name: str, rows: Sequence[Any]) -> None:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(rows[0]._fields if rows else ["nothing"])
    table.writerows(_plain(row) for row in rows)
    _put(pack, name, out.getvalue().encode())


def _plain(row: Iterable[Any]) -> Iterator[Any]:
    for value in row:
        yield f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(value, datetime) else value


def _put(pack: zipfile.ZipFile, name: str, data: bytes) -> None:
    pack.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)


def _readme(connection: Connection, packed: Packed) -> str:
    frame = campaigns.frame(connection, packed.campaign)
    images = "".join(
        f"Release {hop.release}, version {hop.version}, manufacturer image hash {hop.image_hash}.\n"
        for hop in dict.fromkeys(hop for path in frame.paths for hop in path)
    )
    return (
        f"{len(packed.devices)} devices of the campaign {packed.campaign} with the cause: {packed.cause}\n\n"
        f"{images}Sent by the User ID {frame.user_id}. Times are UTC. No customer data is in here.\n\n"
        "devices.csv    each device: what it is, where, and how it ended\n"
        "requests.csv   each Service Request about it: RequestID, code, when it was sent and answered\n"
        "events.csv     what was learnt of it, by whose word; message is the SHA-256 of the bytes that say so\n"
        f"messages/      {packed.messages} messages byte for byte, each named by its SHA-256; {packed.too_long} with an image,"
        " by their digest alone\n"
    )
