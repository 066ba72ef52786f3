"""What the ledger was given stands in no error: errors end up in logs, and in the engine's histories."""

import traceback

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.ledger import World

pytestmark = pytest.mark.ledger
MPAN = "2000000000123"


def test_a_statement_that_fails_says_nothing_of_what_it_was_given(world: World) -> None:
    with world.engine.connect() as connection, pytest.raises(DBAPIError) as failed:
        connection.execute(text("SELECT CAST(:mpan AS text), CAST(:none AS int)"), {"mpan": MPAN, "none": "\x00"})
    assert MPAN not in "".join(traceback.format_exception(failed.value))
