"""The sample campaigns: what the demo runs, and what `infra.samples` writes for trying hanwave by hand.

Each is a request as the command line, the SDK and Temporal's Web UI take it. Seconds stand where a real policy has days:
the emulator answers in seconds (its profile `demo`), and BEHAVIOUR says so to a rehearsal.
"""

from typing import Any

from hanwave.rollout.policy import DeviceType

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


def _request(release: str, waves: list[dict[str, float]], *fallbacks: str) -> dict[str, Any]:
    asked = {"release": release, "author": "ann", "approvals": 1, "policy": {**_POLICY, "waves": waves}}
    return asked | ({"fallbacks": list(fallbacks)} if fallbacks else {})


def _waves(first: int, *then: dict[str, float]) -> list[dict[str, float]]:
    return [{"count": first}, *(then or ({"share": 0.3},)), {"share": 1}]


CAMPAIGNS: dict[str, dict[str, Any]] = {
    "ppmid-0401": _request("delta-ppmid-0401", _waves(8)),
    "gsme-0102": _request("acme-gsme-0102", _waves(8)),
    # There are few: a wave of fewer than four rules out no harm that its gate means to catch.
    "hcalcs-0502": _request("echo-hcalcs-0502", _waves(5, {"count": 5})),
    "esme-0104": _request("acme-esme-0104", _waves(16), "acme-esme-0103", "acme-esme-0105"),
}

_SECONDS = {"half": "1s", "most": "2s"}
BEHAVIOUR: dict[str, dict[str, Any]] = {
    kind: {
        "source": "the emulator's profile demo, by its table of delays",
        "delivered": _SECONDS,
        "verified": {"half": "3s", "most": "5s"} if kind == DeviceType.GSME else {"half": "2s", "most": "3s"},
        "activated": {"half": "2s", "most": "4s"},
        "answers": _SECONDS,
    }
    | ({"absent": 0.2} if kind == DeviceType.PPMID else {})
    for kind in DeviceType
}
"""How the emulated devices behave while nobody told it of faults."""
