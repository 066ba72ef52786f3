"""Originator counters: one strictly growing sequence a User ID, whoever asks.

hanwave is not alone on its User ID, and a restored database may remember an old counter: so each is at least the
milliseconds since 1970, as DCC's own tools use. Systems that count higher than that are not known of here.
"""

from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.identifiers import EUI64, RequestID


def next_counter(connection: Connection, user_id: str, now: datetime) -> int:
    """The next counter of that User ID: above every earlier one, and at least now in milliseconds since 1970.

    The row stays locked until the transaction ends, so counters leave in the order of their commits.
    """
    return int(
        connection.execute(
            text(
                "INSERT INTO counter AS c (user_id, last) VALUES (:user_id, :least)"
                " ON CONFLICT (user_id) DO UPDATE SET last = greatest(c.last + 1, :least) RETURNING last"
            ),
            {"user_id": user_id, "least": int(now.timestamp() * 1000)},
        ).scalar_one()
    )


def next_request_id(connection: Connection, user_id: str, target: EUI64, now: datetime) -> RequestID:
    """A new RequestID of that User ID to that target (a device, or the DCC's Access Control Broker)."""
    return RequestID(EUI64.parse(user_id), target, next_counter(connection, user_id, now))
