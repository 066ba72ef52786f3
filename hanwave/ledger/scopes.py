"""What a person says should stop, as the scope of a stop.

Halting is never gated, but a name that names nothing is refused: whoever mistypes one would believe that it stands.
"""

from sqlalchemy import Connection, text

from hanwave.firmware.terms import Model
from hanwave.identifiers import EUI64
from hanwave.ledger import campaigns
from hanwave.ledger.database import LedgerError
from hanwave.ledger.stops import Scope


def named(connection: Connection, kind: str, value: str = "", user_id: str | None = None) -> Scope:
    """The scope of all, or of a user, model, campaign or wave of that name; HanwaveError where there is none.

    Where a User ID is given, campaigns, waves and users are its own; all and a model are the installation's for anyone.
    """
    match kind:
        case "all":
            return Scope("all")
        case "user":
            return _user(value, user_id)
        case "model":
            return _model(connection, value)
        case "campaign":
            return _campaign(connection, value, user_id)
        case "wave":
            return _wave(connection, value, user_id)
    raise LedgerError(f"there is no scope {kind[:40]!r}: it should be all, user, model, campaign or wave")


def _model(connection: Connection, value: str) -> Scope:
    model = str(Model.parse(value))
    known = text("SELECT 1 FROM device WHERE manufacturer || '/' || model = :model LIMIT 1")
    if connection.execute(known, {"model": model}).first() is None:
        raise LedgerError(f"no device of the fleet is of model {model}: `hanwave fleet exposure` shows its models")
    return Scope("model", model)


def _user(value: str, user_id: str | None) -> Scope:
    named = str(EUI64.parse(value))
    if user_id and named != user_id:
        raise LedgerError(f"the User ID {named} is not yours: a halt by User ID is of {user_id}, or halt all")
    return Scope("user", named)


def _campaign(connection: Connection, value: str, user_id: str | None) -> Scope:
    if not campaigns.is_of(connection, value, user_id):
        raise LedgerError(campaigns.no_campaign(connection, value, user_id))
    return Scope("campaign", value)


def _wave(connection: Connection, value: str, user_id: str | None) -> Scope:
    campaign, _, number = value.rpartition("/")
    if not campaign or not number.isdecimal():
        raise LedgerError(f"the wave {value[:70]!r} should be written as campaign/number, as in spring-e470/2")
    _campaign(connection, campaign, user_id)
    sizes = text("SELECT count(*) FROM wave WHERE campaign = :campaign")
    most = connection.execute(sizes, {"campaign": campaign}).scalar_one()
    if not 1 <= int(number) <= most:
        raise LedgerError(f"campaign {campaign!r} has no wave {number[:10]}: its waves are 1 to {most}")
    return Scope("wave", f"{campaign}/{int(number)}")
