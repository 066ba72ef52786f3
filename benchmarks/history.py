"""A past for a ledger: the ended updates that it has, copied with what hangs on them, as campaigns of a month before.

Their devices are in the fleet no more, and the bytes of their messages and requests are left out; their ids are negative,
so that no sequence need know of them.
"""

from sqlalchemy import DateTime, Engine, text
from sqlmodel import SQLModel

from hanwave.ledger import audit, tables

_AGO = "interval '30 days'"
_NAME = "'past/' || n || '/' || t."
_ID = "t.{} - n * CAST(:{} AS bigint)"
# The benchmark's devices differ in their last two octets while they are fewer than 65,536.
_EUI = (
    "left(t.eui, 12) || upper(lpad(to_hex(n / 256), 2, '0') || '-' || lpad(to_hex(n % 256), 2, '0')) || right(t.eui, 6)"
)
_UPDATE, _REQUEST = _ID.format("update_id", "campaign_device"), _ID.format("outbox_id", "outbox")
_COPIED: dict[type[SQLModel], dict[str, str]] = {
    tables.Campaign: {"name": f"{_NAME}name"},
    tables.WaveRow: {"campaign": f"{_NAME}campaign"},
    tables.CampaignDevice: {"campaign": f"{_NAME}campaign", "eui": _EUI},
    tables.DeviceEvent: {"update_id": _UPDATE, "eui": _EUI},
    tables.Tally: {"campaign": f"{_NAME}campaign"},
    tables.Outbox: {
        "request_id": f"{_NAME}request_id",
        "campaign": f"{_NAME}campaign",
        "update_id": _UPDATE,
        "digest": "NULL",
    },
    tables.OutboxDevice: {"outbox_id": _REQUEST, "update_id": _UPDATE, "eui": _EUI},
    tables.Inbox: {"key": f"{_NAME}key", "raw": "''"},
}
_NUMBERED = ("campaign_device", "device_event", "tally", "outbox", "inbox")
_AT_ONCE = 20  # copies a transaction


def age(ledger: Engine, devices: int) -> int:
    """Copy what the ledger has of its ended updates until there are so many more; how many there are, chained and all."""
    with ledger.connect() as connection:
        held = connection.execute(text("SELECT count(*) FROM campaign_device")).scalar_one()
        steps = {
            name: connection.execute(text(f'SELECT coalesce(max(id), 0) FROM "{name}"')).scalar_one()
            for name in _NUMBERED
        }
    copies = -(-devices // held)
    for first in range(1, copies + 1, _AT_ONCE):
        span = {"first": first, "last": min(copies, first + _AT_ONCE - 1)}
        with ledger.begin() as connection:
            for table, changed in _COPIED.items():
                connection.execute(text(_copy(table, changed)), steps | span)
    audit.catch_up(ledger, whole=True)
    return int(copies * held)


def _copy(model: type[SQLModel], changed: dict[str, str]) -> str:
    table = SQLModel.metadata.tables[str(model.__tablename__)]
    made = changed | ({"id": _ID.format("id", table.name)} if table.name in _NUMBERED else {})
    values = [
        made.get(column.name)
        or (f't."{column.name}" - {_AGO}' if isinstance(column.type, DateTime) else f't."{column.name}"')
        for column in table.columns
    ]
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return (
        f'INSERT INTO "{table.name}" ({names}) OVERRIDING SYSTEM VALUE SELECT {", ".join(values)}'
        f' FROM "{table.name}" t, generate_series(CAST(:first AS int), CAST(:last AS int)) n WHERE {_own(table.name)}'
    )


def _own(table: str) -> str:
    """What tells the rows to be copied from those that are copies."""
    if table in _NUMBERED:
        return "t.id > 0"
    column = {"campaign": "name", "wave": "campaign", "outbox_device": "outbox_id"}[table]
    return "t.outbox_id > 0" if column == "outbox_id" else f"t.{column} NOT LIKE 'past/%'"
