"""What the fleet runs, and how the Central Products List stands to it: what an expiry or a withdrawal would hit."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

NOT_LISTED = "not listed"
"""The CPL, as it was last imported, has no entry of that model, hardware and version."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """Devices of one type and model that run one version, and that version's status on the CPL."""

    device_type: str
    model: str
    firmware_version: str
    cpl_status: str
    devices: int
    homes: int
    suspended: int
    """Of them, those that the DCC has suspended already."""


def exposure(connection: Connection) -> list[Exposed]:
    """The fleet by model, version and CPL status; what is not Active first, the most devices first."""
    rows = connection.execute(
        text(
            "SELECT * FROM (SELECT d.device_type, d.manufacturer || '/' || d.model AS model, d.firmware_version,"
            " coalesce(c.status, :not_listed) AS cpl_status, count(*) AS devices,"
            " count(DISTINCT coalesce(d.home, d.hub)) AS homes, count(*) FILTER (WHERE d.smi_status = 'Suspended') AS suspended"
            " FROM device d LEFT JOIN cpl_entry c USING (device_type, manufacturer, model, hardware_version,"
            " firmware_version) GROUP BY 1, 2, 3, 4) f ORDER BY cpl_status = 'Active', devices DESC, 1, 2, 3"
        ),
        {"not_listed": NOT_LISTED},
    )
    return [Exposed(*row) for row in rows]
