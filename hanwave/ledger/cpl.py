"""The Central Products List in the ledger: as last imported, with a note of each change.

Guarantees: only what a supplier updates is kept; each entry that changes its status or hash leaves a note with both; an
entry that a file does not name stays as it is, and is counted: a file may be a part, and nobody here can say that an
absence means withdrawal; what was permitted of a release that is no longer Active, and never left, is given back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from hanwave.firmware.cpl import CplEntry
from hanwave.firmware.document import release_from_dict
from hanwave.firmware.errors import ReleaseError
from hanwave.firmware.life import NEEDS_ACTIVE_CPL
from hanwave.firmware.listing import check_listed
from hanwave.firmware.release import Release
from hanwave.firmware.terms import UPDATABLE, CplStatus, DeviceType, FirmwareVersion, Model
from hanwave.ledger import notes, outbox

_Key = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class CplChanges:
    """What an import did; releases names those that the CPL no longer bears out, each with the reason."""

    added: int
    changed: int
    unchanged: int
    absent: int
    """Entries of the ledger that the file does not name."""
    not_updatable: int
    """Entries of the file that no supplier updates: not kept."""
    releases: dict[str, str]


def import_cpl(connection: Connection, entries: Iterable[CplEntry], actor: str, now: datetime) -> CplChanges:
    """Keep the entries of a CPL file that was read by the firmware package, each as it now stands."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('cpl import'))"))
    held = {_key(row): row for row in connection.execute(text("SELECT * FROM cpl_entry"))}
    listed = list(entries)
    wanted = {_entry_key(entry): entry for entry in listed if entry.device_type in UPDATABLE}
    changed = [key for key, entry in wanted.items() if key in held and _facts(held[key]) != _entry_facts(entry)]
    _write(connection, wanted, now)
    notes.add(connection, [_change(actor, key, held[key], wanted[key]) for key in changed], now)
    done = CplChanges(
        added=len(wanted.keys() - held.keys()),
        changed=len(changed),
        unchanged=len(wanted.keys() & held.keys()) - len(changed),
        absent=len(held.keys() - wanted.keys()),
        not_updatable=len(listed) - len(wanted),
        releases=_not_borne_out(connection),
    )
    _give_back(connection, done.releases, now)
    counts = {"added": done.added, "changed": done.changed, "unchanged": done.unchanged, "absent": done.absent}
    if listed:
        notes.add(connection, notes.Said(actor, "import_cpl", "cpl", document=counts), now)
    return done


def _key(row: Row[Any]) -> _Key:
    return (row.device_type, row.manufacturer, row.model, row.hardware_version, row.firmware_version)


def _entry_key(entry: CplEntry) -> _Key:
    model = entry.model
    hexadecimal = (f"{model.manufacturer:04X}", f"{model.identifier:04X}", f"{entry.hardware:04X}")
    return (entry.device_type.value, *hexadecimal, str(entry.firmware_version))


def _facts(row: Row[Any]) -> dict[str, str]:
    return {"status": row.status, "hash": row.image_hash}


def _entry_facts(entry: CplEntry) -> dict[str, str]:
    return {"status": entry.status.value, "hash": (entry.hash or b"").hex().upper()}


def _change(actor: str, key: _Key, before: Row[Any], after: CplEntry) -> notes.Said:
    document = {"before": _facts(before), "after": _entry_facts(after)}
    return notes.Said(actor, "change_cpl_entry", "cpl/" + "/".join(key), document=document)


def _write(connection: Connection, wanted: dict[_Key, CplEntry], now: datetime) -> None:
    columns = ("device_type", "manufacturer", "model", "hardware_version", "firmware_version")
    rows = [
        {**dict(zip(columns, key, strict=True)), **_entry_facts(entry), "now": now} for key, entry in wanted.items()
    ]
    if not rows:
        return
    connection.execute(
        text(
            f"INSERT INTO cpl_entry ({', '.join(columns)}, image_hash, status, imported_at)"
            f" VALUES ({', '.join(f':{name}' for name in columns)}, :hash, :status, :now)"
            f" ON CONFLICT ({', '.join(columns)}) DO UPDATE SET image_hash = EXCLUDED.image_hash,"
            " status = EXCLUDED.status, imported_at = EXCLUDED.imported_at"
        ),
        rows,
    )


def check_release(connection: Connection, release: Release) -> None:
    """Refuse (ReleaseError) a release that the CPL does not list for each model, Active and with its hash."""
    rows = connection.execute(
        text(
            "SELECT * FROM cpl_entry WHERE firmware_version = :version AND manufacturer || '/' || model = ANY(:models)"
            " ORDER BY id"
        ),
        {"version": str(release.firmware_version), "models": [str(model) for model in release.models]},
    )
    check_listed(release, [_entry(row) for row in rows])


def _give_back(connection: Connection, releases: Iterable[str], now: datetime) -> None:
    """What was permitted of releases that are not borne out, and never left, does not leave any more."""
    rows = connection.execute(
        text(
            "SELECT o.id FROM outbox o JOIN campaign c ON c.name = o.campaign"
            " WHERE coalesce(o.parameters ->> 'release', c.release) = ANY(:releases)"
            " AND o.state IN ('granted', 'ready') AND o.sends = 0 AND o.permit_class = 'forward' ORDER BY o.id"
        ),
        {"releases": list(releases)},
    )
    for outbox_id in list(rows.scalars()):
        outbox.never_sent(connection, outbox_id, now, "the CPL does not bear its release out any more")


def _entry(row: Row[Any]) -> CplEntry:
    return CplEntry(
        line=0,
        device_type=DeviceType(row.device_type),
        model=Model.parse(f"{row.manufacturer}/{row.model}"),
        hardware=int(row.hardware_version, 16),
        firmware_version=FirmwareVersion.parse(row.firmware_version),
        hash=bytes.fromhex(row.image_hash),
        status=CplStatus(row.status),
    )


def _not_borne_out(connection: Connection) -> dict[str, str]:
    stages = [stage.value for stage in NEEDS_ACTIVE_CPL]
    rows = connection.execute(text("SELECT name, document FROM release WHERE stage = ANY(:s)"), {"s": stages}).all()
    found: dict[str, str] = {}
    for row in rows:
        try:
            check_release(connection, release_from_dict(row.document))
        except ReleaseError as error:
            found[row.name] = str(error)
    return found
