"""What goes wrong in the demo, and which of the sample campaigns (infra.sample_campaigns) must bear it."""

from typing import Any

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

GOOD = ("ppmid-0401", "gsme-0102", "hcalcs-0502")
ILL = "esme-0104"
SIGNED = ("acme-gsme-0102", "echo-hcalcs-0502", "acme-esme-0104", "acme-esme-0103", "acme-esme-0105")
