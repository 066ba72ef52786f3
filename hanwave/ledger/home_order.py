"""In which order the devices of one home are updated, where several campaigns are to: by their types.

The hub's own firmware is the DCC's, and only a precondition; then ESME, HCALCS, GSME, PPMID. A device waits only for one that
is due now, in an open wave that nothing stops: an update that is held up holds nobody else up.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from hanwave.rollout.policy import DeviceType

ORDER = (DeviceType.ESME, DeviceType.HCALCS, DeviceType.GSME, DeviceType.PPMID)

_BEFORE = text(
    """
    SELECT DISTINCT ON (u.id) u.id, o.device_type FROM campaign_device u JOIN device d ON d.eui = u.eui
    JOIN device n ON coalesce(n.home, n.hub) = coalesce(d.home, d.hub) AND n.device_type = ANY(:earlier)
    JOIN campaign_device o ON o.eui = n.eui AND o.step IN ('distribute', 'activate') AND o.due_at <= :now
    JOIN campaign c ON c.name = o.campaign AND c.status = 'running' AND NOT c.shadow
    JOIN wave w ON w.campaign = o.campaign AND w.number = o.wave AND w.opened_at IS NOT NULL AND w.closed_at IS NULL
    WHERE u.id = ANY(:ids) AND o.campaign <> u.campaign
    AND NOT EXISTS (SELECT 1 FROM stop s WHERE s.lifted_at IS NULL AND (s.leg IS NULL OR s.leg = o.step)
        AND (s.scope = 'all' OR (s.scope = 'user' AND s.value = c.user_id) OR (s.scope = 'campaign' AND s.value = c.name)
             OR (s.scope = 'wave' AND s.value = c.name || '/' || w.number)))
    ORDER BY u.id, array_position(CAST(:earlier AS text[]), o.device_type)
    """
)


def waiting_before(
    connection: Connection, device_type: DeviceType, update_ids: Sequence[int], now: datetime
) -> dict[int, str]:
    """Those of the updates (of one type) whose home has a device of an earlier type that is due at that time: its type."""
    earlier = [str(each) for each in ORDER[: ORDER.index(device_type)]]
    if not earlier:
        return {}
    rows = connection.execute(_BEFORE, {"ids": list(update_ids), "earlier": earlier, "now": now})
    return {row.id: row.device_type for row in rows}
