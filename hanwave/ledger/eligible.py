"""Whether anything forward may go to a device now, by all that is known of it: asked in the permit, in one statement.

Guarantee: a device of a wave that was not opened (waves.open_wave: the plan is approved, every earlier gate passed), that
is not ours, not in use, soon to leave, held, stopped by its model, not on the Central Products List with the very image,
without an image that its certificate verifies, or wanted by an urgent campaign, is refused with the first of these reasons.
On a bench neither the DCC's status nor the CPL is asked: an image is qualified there before it is listed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from hanwave.ledger import holds, leavers, stops, urgency
from hanwave.ledger.campaigns import Frame
from hanwave.ledger.standing import Folded
from hanwave.rollout.cohort import SENT_TO
from hanwave.rollout.events import Leg

# A device's own certificate matters for what it is to verify: an activation is of an image that it holds already.
_WHY = text(
    f"""
    SELECT u.id, d.leaves_at, CASE
        WHEN w.opened_at IS NULL THEN 'its wave was not opened: that takes the plan''s approval and every earlier gate'
        WHEN d.eui IS NULL THEN 'no longer in the fleet'
        WHEN NOT {leavers.RESPONSIBLE.format(user=":user_id")} THEN 'another supplier is responsible'
        WHEN :by_dcc AND d.smi_status <> ALL(:sent_to) THEN 'its SMI status is ' || d.smi_status
        WHEN d.manufacturer || '/' || d.model = ANY(:models) THEN 'its model is stopped'
        WHEN h.reason IS NOT NULL THEN 'on hold: ' || left(h.reason, 200)
        WHEN lpad(upper(d.firmware_version), 8, '0') NOT IN (f.base, f.version)
            THEN 'it runs ' || d.firmware_version || ', and its path goes on from ' || f.base || ': plan it anew'
        WHEN :by_dcc AND e.id IS NULL THEN 'the CPL lists no firmware ' || f.version || ' for its model and hardware: import the CPL'
        WHEN :by_dcc AND e.status <> 'Active' THEN 'the CPL has the release for its model as ' || e.status
        WHEN :by_dcc AND e.image_hash <> f.hash THEN 'the CPL has the release for its model with another hash'
        WHEN :signed AND d.supplier_certificate IS NOT NULL AND NOT EXISTS (SELECT 1 FROM signed_image i
            WHERE (i.release, i.user_id, i.certificate) = (f.release, :user_id, d.supplier_certificate))
            THEN 'the release is not signed under the certificate ' || d.supplier_certificate || ' that it holds: sign it'
        WHEN t.campaign IS NOT NULL THEN 'the urgent campaign ' || t.campaign || ' takes it over'
    END AS reason
    FROM campaign_device u JOIN wave w ON (w.campaign, w.number) = (u.campaign, u.wave)
    JOIN unnest(CAST(:ids AS bigint[]), CAST(:releases AS text[]), CAST(:versions AS text[]), CAST(:hashes AS text[]),
                CAST(:bases AS text[])) AS f(id, release, version, hash, base) ON f.id = u.id
    LEFT JOIN device d ON d.eui = u.eui
    LEFT JOIN LATERAL ({holds.HOLDING.format(now=":now")}) h ON true
    LEFT JOIN cpl_entry e ON (e.device_type, e.manufacturer, e.model, e.hardware_version, e.firmware_version)
        = (d.device_type, d.manufacturer, d.model, d.hardware_version, f.version)
    LEFT JOIN LATERAL ({urgency.TAKER.format(update="u")} LIMIT 1) t ON NOT :urgent
    WHERE u.id = ANY(:ids)
    """
)


def why_not(connection: Connection, frame: Frame, leg: Leg, devices: Sequence[Folded], now: datetime) -> dict[int, str]:
    """Those of a campaign's devices to which that leg may not go now (aware UTC), each with the reason, by update."""
    rows = connection.execute(_WHY, _values(connection, frame, leg, devices, now))
    regions = {device.update_id: device.region for device in devices}
    reasons = {row.id: row.reason or _too_soon(frame, leg, regions[row.id], row.leaves_at, now) for row in rows}
    return {update_id: reason for update_id, reason in reasons.items() if reason}


def _values(connection: Connection, frame: Frame, leg: Leg, devices: Sequence[Folded], now: datetime) -> dict[str, Any]:
    images = [device.image(leg) for device in devices]
    return {
        "ids": [device.update_id for device in devices],
        "user_id": frame.user_id,
        "models": list(stops.stopped_models(connection, leg)),
        "now": now,
        "releases": [image.release for image in images],
        "versions": [image.version for image in images],
        "hashes": [image.image_hash for image in images],
        "bases": [_base(device, leg) for device in devices],
        "signed": leg is Leg.DISTRIBUTE and not frame.device_type.one_step and not frame.on_bench,
        "by_dcc": not frame.on_bench,
        "sent_to": list(SENT_TO),
        "urgent": frame.urgent,
    }


def _base(device: Folded, leg: Leg) -> str | None:
    """The version from which a hop of several begins: its path was planned from there. None where nothing hangs on it."""
    hop, _ = device.standing.next(leg)
    if leg is not Leg.DISTRIBUTE or len(device.path) == 1:
        return None
    return device.path[hop - 2].version if hop > 1 else device.known.row.base


def _too_soon(frame: Frame, leg: Leg, region: str, leaves_at: datetime | None, now: datetime) -> str | None:
    return leavers.too_soon(frame, leg, region, leaves_at, now) if leaves_at else None
