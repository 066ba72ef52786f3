"""Devices that are shared with another supplier, or were gained from one.

An ESME, GSME or HCALCS verifies an image with the certificate of the supplier that it holds, so an image is signed for each
(User ID, certificate). A device that was gained, or whose certificate was renewed, takes only an image that is signed anew.
Guarantees: a request carries one image, and names only devices that hold the certificate it is signed under (the permit
refuses a device that holds none of those); a PPMID that its other supplier updates is asked what it runs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.ledger import permit
from hanwave.ledger.campaigns import Frame


def of_one_certificate(connection: Connection, frame: Frame, update_ids: Sequence[int]) -> tuple[list[int], str | None]:
    """Those of the updates that take the same image as the first, and its certificate's serial (None: the one signed last)."""
    if frame.device_type.one_step or not update_ids:
        return list(update_ids), None
    rows = connection.execute(
        text(
            "SELECT u.id, d.supplier_certificate FROM campaign_device u LEFT JOIN device d ON d.eui = u.eui"
            " WHERE u.id = ANY(:ids)"
        ),
        {"ids": list(update_ids)},
    )
    held = {row.id: row.supplier_certificate for row in rows}
    first = held[update_ids[0]]
    return [each for each in update_ids if held[each] == first], first


def look_again(connection: Connection, told: Mapping[str, str], now: datetime) -> int:
    """Have the version read (11.2) of those of the devices that are in an update of ours by the DCC; how many.

    told gives, for each device, the digest of the message that says so; where people were told of it, the version was read.
    """
    rows = connection.execute(
        text(
            "SELECT l.update_id FROM unnest(CAST(:euis AS text[]), CAST(:digests AS text[])) AS f(eui, digest)"
            " JOIN lease l ON l.eui = f.eui JOIN campaign_device u ON u.id = l.update_id"
            # A device on a bench has left its hub, and with it the DCC; its update ends with the version that it says itself.
            " JOIN campaign c ON c.name = u.campaign AND c.route = 'dcc'"
            " WHERE NOT EXISTS (SELECT 1 FROM note n WHERE n.key = concat_ws('/', 'elsewhere', f.digest, f.eui))"
            " ORDER BY l.update_id"
        ),
        {"euis": list(told), "digests": list(told.values())},
    )
    ids = list(rows.scalars())
    for update_id in ids:
        permit.look(connection, update_id, now)
    return len(ids)
