"""What the demo does: its faults and its campaigns. Seconds stand where a real policy has days."""

from typing import Any

from hanwave.rollout.policy import DeviceType

BAD = "01040000"
"""The version that reports success and then goes quiet."""

FAULTS: list[dict[str, Any]] = [
    {"fault": "lost_response", "share": 0.05, "legs": ["activate"], "attempts": [1]},
    {"fault": "ack_lost", "share": 0.03},
    {"fault": "duplicate", "share": 0.05},
    {"fault": "reordered", "share": 0.05},
    {"fault": "late", "share": 0.02},
    {"fault": "delivery_failure", "share": 0.04, "attempts": [1]},
    {"fault": "transfer_failure", "share": 0.03, "attempts": [1]},
    {"fault": "dropped_alert", "share": 0.02, "kinds": ["8F72"]},
    {"fault": "success_then_quiet", "share": 1.0, "versions": [BAD]},
    {"fault": "refuses_downgrade", "share": 1.0, "models": ["0A01/1002"]},
]

_DISTRIBUTE = {"ESME": "20s", "GSME": "25s", "HCALCS": "20s", "PPMID": "22s"}
_POLICY: dict[str, Any] = {
    "deadlines": {
        kind: {
            "distribute": _DISTRIBUTE[kind],
            "activate": "12s",
            "read": "8s",
            "activate_unverified_after": "4s" if kind == DeviceType.HCALCS else None,
        }
        for kind in DeviceType
    },
    "attempts": {"distribute": 2, "activate": 3, "read": 2, "back_off": "2s"},
    # A fifth of the PPMIDs may be unplugged: that is silence, which a small wave must bear.
    "gate": {"harm": 0.4, "silence": 0.6, "confidence": 0.8},
    "sweep": "1.5s",
    "soak": "5s",
    "pace": {"overall": 50},
}
_THREE_WAVES = [{"count": 8}, {"share": 0.3}, {"share": 1}]

CAMPAIGNS: dict[str, dict[str, Any]] = {
    "ppmid-0401": {"release": "delta-ppmid-0401", "policy": {**_POLICY, "waves": _THREE_WAVES}},
    "gsme-0102": {"release": "acme-gsme-0102", "policy": {**_POLICY, "waves": _THREE_WAVES}},
    "hcalcs-0502": {
        "release": "echo-hcalcs-0502",
        # There are few: a wave of fewer than four rules out no harm that its gate means to catch.
        "policy": {**_POLICY, "waves": [{"count": 5}, {"count": 5}, {"share": 1}]},
    },
    "esme-0104": {
        "release": "acme-esme-0104",
        "policy": {**_POLICY, "waves": [{"count": 16}, {"share": 0.3}, {"share": 1}]},
        "fallbacks": ["acme-esme-0103", "acme-esme-0105"],
    },
}
GOOD = ("ppmid-0401", "gsme-0102", "hcalcs-0502")
ILL = "esme-0104"
SIGNED = ("acme-gsme-0102", "echo-hcalcs-0502", "acme-esme-0104", "acme-esme-0103", "acme-esme-0105")
