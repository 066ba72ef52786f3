"""What Prometheus is told: where hanwave's processes are, and what to page people for.

Guarantees: the configuration of the embedded stack, the one for production and the rules are made from one table each.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parent / "rules" / "hanwave.yaml"
PRODUCTION = Path(__file__).parent / "prometheus.yaml"
INTERVAL = "15s"
PRODUCTION_TARGETS = {
    "exporter": ["exporter:9105"],
    "campaign": ["campaign:9101"],
    "gateway": ["gateway:9102"],
    "receive": ["receive:9103"],
    "warden": ["warden:9104"],
    "bench": ["bench:9106"],
    "temporal": ["temporal:9090"],
}
"""Hosts as an installation might call them, on the ports that its settings name; there is no emulator in production."""


def configuration(
    targets: Mapping[str, Sequence[str]], *, rules: str = str(RULES), interval: str = INTERVAL
) -> dict[str, Any]:
    """Prometheus' configuration, for those jobs (each is called hanwave-<name> there) and their targets, host:port."""
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [rules],
        "scrape_configs": [
            {"job_name": f"hanwave-{job}", "static_configs": [{"targets": list(addresses)}]}
            for job, addresses in targets.items()
        ],
    }


def production() -> str:
    """The configuration to start from in production: YAML, with its own first line."""
    made = configuration(PRODUCTION_TARGETS, rules="rules/*.yaml")
    said = (
        "# Made by `python -m infra.prometheus`: put your own hosts in the place of these, and leave out a bench where there"
        " is none; an alertmanager is yours to add.\n"
    )
    return said + yaml.safe_dump(made, sort_keys=False)
