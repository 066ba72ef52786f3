"""The emulator's own books: what really happened, to hold the ledger against.

Books are JSON objects, one a line, each with a `kind`:

- `device`: eui, device_type, status, version (what it runs), smi_version (what the DCC believes), held (hash of the
  pending image, or null), held_version, requested, delivered, transferred, successes (counts), executed ({RequestID of
  an 11.3: how often}), scheduled (RequestID of a stored 11.3, or null), suppliers, is_quiet, load_stuck_on, reachable.
- `request`: request_id, command_variant, service, user, digest (SHA-256), posts, code.
- `violation`: request_id, what. `quarantine`: ref, request_id, state (held, released, deleted).
- `delivery`: user, eui, request_id, response_id, code, message (8F72, N60, I0, neighbour...), state (waiting, sending,
  delivered, dropped, expired), tries.

They hold no times, so the books of two equal runs are equal as sets of lines, deliveries' ids and tries aside.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from infra.emulator.store import Store
from infra.emulator.tables import Device
from infra.emulator.world import World

Line = dict[str, Any]
_CHUNK = 1_000


def lines(world: World, *, deliveries: bool = False) -> Iterator[str]:
    """The books, line by line; between lines others may write, so a device's line is consistent, not the whole."""
    for line in _all(world, deliveries=deliveries):
        yield json.dumps(line) + "\n"


def _all(world: World, *, deliveries: bool) -> Iterator[Line]:
    yield from _devices(world)
    store = world.store
    yield from _rows(store, "request", "request_id, command_variant, service, user, digest, posts, code", "request_id")
    yield from _rows(store, "violation", "request_id, what", "id")
    yield from _rows(store, "quarantine", "ref, request_id, state", "ref")
    if deliveries:
        yield from _rows(
            store, "delivery", "user, eui, request_id, response_id, code, kind AS message, state, tries", "id"
        )


def _rows(store: Store, kind: str, columns: str, order: str) -> Iterator[Line]:
    cursor = store.query(f"SELECT {columns} FROM {kind} ORDER BY {order}")  # noqa: S608 - names of our own
    names = [column[0] for column in cursor.description]
    for row in cursor.fetchall():
        yield {"kind": kind, **dict(zip(names, row, strict=True))}


def _devices(world: World) -> Iterator[Line]:
    last = ""
    while chunk := list(world.store.devices("WHERE eui > ? ORDER BY eui LIMIT ?", last, _CHUNK)):
        last = chunk[-1].eui
        for device in chunk:
            yield device_line(world, device)


def device_line(world: World, device: Device) -> Line:
    """What the books hold of one device."""
    counted = Counter(
        row[0]
        for row in world.store.query("SELECT request_id FROM history WHERE eui = ? AND what = 'executed'", device.eui)
    )
    return {
        "kind": "device",
        "eui": device.eui,
        "device_type": device.device_type,
        "status": device.smi_status,
        "version": device.firmware_version,
        "smi_version": device.smi_version,
        "held": device.held_hash or None,
        "held_version": device.held_version or None,
        "requested": device.distributions,
        "delivered": device.delivered,
        "transferred": device.transferred,
        "successes": device.successes,
        "executed": dict(counted),
        "scheduled": device.scheduled or None,
        "suppliers": [device.import_supplier, device.gas_supplier],
        "is_quiet": device.is_quiet,
        "load_stuck_on": device.load_stuck_on,
        "reachable": not world.away_until(device) and not device.is_quiet,
    }


def story(world: World, eui: str) -> list[Line]:
    """Everything that happened to a device, with its times."""
    rows = world.store.query("SELECT at, what, request_id, detail FROM history WHERE eui = ? ORDER BY id", eui)
    return [dict(zip(("at", "what", "request_id", "detail"), row, strict=True)) for row in rows]


def stats(world: World) -> dict[str, Any]:
    """Counts: devices by type and status, requests by service and code, deliveries by state, what is due."""
    store = world.store

    def count(sql: str) -> dict[str, int]:
        return {"/".join(map(str, row[:-1])): row[-1] for row in store.query(sql)}

    return {
        "devices": count("SELECT device_type, smi_status, count(*) FROM device GROUP BY 1, 2"),
        "requests": count("SELECT service, code, count(*) FROM request GROUP BY 1, 2"),
        "deliveries": count("SELECT state, count(*) FROM delivery GROUP BY 1"),
        "due": store.value("SELECT count(*) FROM timer"),
        "violations": store.value("SELECT count(*) FROM violation"),
        "reposts": store.value("SELECT coalesce(sum(posts - 1), 0) FROM request WHERE command_variant <> 4"),
        "quarantined": store.value("SELECT count(*) FROM quarantine WHERE state = 'held'"),
    }


def compare(books: Iterable[Mapping[str, Any]], ledger: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where the ledger claims what the books deny, a sentence each; an empty list is what a test wants.

    books: the lines above, parsed. ledger: one mapping a device, `{"eui", "version", "held", "is_unknown"}`, where
    version is what the ledger holds that the device runs and held the hash that it holds to be pending, "" for none
    (None: the ledger makes no claim); with is_unknown the ledger says that it does not know, and nothing is held against it.
    Mappings `{"request_id", "command_variant", "digest"}` are requests that the ledger sent (SHA-256 of the bytes).
    """
    devices, requests, found = {}, {}, []
    for line in books:
        if line["kind"] == "device":
            devices[line["eui"]] = line
            found += _at_most_once(line)
        elif line["kind"] == "request":
            requests[line["request_id"], line["command_variant"]] = line["digest"]
        elif line["kind"] == "violation":
            found.append(f"{line['request_id']}: {line['what']}")
    for row in ledger:
        found += _denied_request(row, requests) if "request_id" in row else _denied_device(row, devices)
    return found


def _at_most_once(line: Mapping[str, Any]) -> list[str]:
    return [
        f"{line['eui']} executed {request_id} {times} times"
        for request_id, times in line["executed"].items()
        if times > 1
    ]


def _denied_device(row: Mapping[str, Any], devices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    eui, line = row["eui"], devices.get(row["eui"])
    if line is None:
        return [f"{eui} is in the ledger and not in the books"]
    if row["is_unknown"]:
        return []
    return [
        f"{eui}: the ledger says {what} {row[what]}, the books say {line[what]}"
        for what in ("version", "held")
        if row[what] is not None and row[what] != (line[what] or "")
    ]


def _denied_request(row: Mapping[str, Any], requests: Mapping[tuple[str, int], str]) -> list[str]:
    digest = requests.get((row["request_id"], row["command_variant"]))
    if digest is None or digest == row["digest"]:
        return []
    return [f"{row['request_id']}: the ledger sent the body {row['digest']}, the emulator got {digest}"]
