"""What a person says should stop, as the scope of a stop.

Halting is never gated, but a name that names nothing is refused: whoever mistypes one would believe that it stands.
"""

from sqlalchemy import Connection, text

from hanwave.firmware.terms import Model
from hanwave.identifiers import EUI64
from hanwave.ledger import progress
from hanwave.ledger.database import LedgerError
from hanwave.ledger.stops import Scope


def named(connection: Connection, kind: str, value: str = "") -> Scope:
    """The scope of all, or of a user, model, campaign or wave of that name; HanwaveError where there is none."""
    match kind:
        case "all":
            return Scope("all")
        case "user":
            return Scope("user", str(EUI64.parse(value)))
        case "model":
            return _model(connection, value)
        case "campaign":
            return _campaign(connection, value)
        case "wave":
            return _wave(connection, value)
    raise LedgerError(f"there is no scope {kind[:40]!r}: it should be all, user, model, campaign or wave")


def _model(connection: Connection, value: str) -> Scope:
    model = str(Model.parse(value))
    known = text("SELECT 1 FROM device WHERE manufacturer || '/' || model = :model LIMIT 1")
    if connection.execute(known, {"model": model}).first() is None:
        raise LedgerError(f"no device of the fleet is of model {model}")
    return Scope("model", model)


def _campaign(connection: Connection, value: str) -> Scope:
    if connection.execute(text("SELECT 1 FROM campaign WHERE name = :name"), {"name": value}).first() is None:
        raise LedgerError(progress.no_campaign(connection, value))
    return Scope("campaign", value)


def _wave(connection: Connection, value: str) -> Scope:
    campaign, _, number = value.rpartition("/")
    if not campaign or not number.isdecimal():
        raise LedgerError(f"the wave {value[:70]!r} should be written as campaign/number, as in spring-e470/2")
    _campaign(connection, campaign)
    sizes = text("SELECT count(*) FROM wave WHERE campaign = :campaign")
    most = connection.execute(sizes, {"campaign": campaign}).scalar_one()
    if not 1 <= int(number) <= most:
        raise LedgerError(f"campaign {campaign!r} has no wave {number[:10]}: its waves are 1 to {most}")
    return Scope("wave", f"{campaign}/{int(number)}")
