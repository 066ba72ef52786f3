"""The step that brings the ledger's schema to this version, as its owner, before any process uses it."""

import sys

from hanwave.errors import HanwaveError
from hanwave.ledger.database import engine, migrate
from hanwave.settings import SettingsError, load, needed
from infra.stack.postgres import APPLICATION, LOOKUP


def main() -> int:
    """Migrate the database that the settings name; 1 and a sentence when that cannot be done."""
    try:
        owner = needed(load().postgres, "postgres").owner_dsn
        if owner is None:
            raise SettingsError("the setting postgres.owner_dsn is missing: migrations run as the owner")
        migrate(engine(owner.get_secret_value(), pool=1), APPLICATION, LOOKUP)
    except HanwaveError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
