"""hanwave's own processes, in the order in which they start; `hanwave up` runs them after PostgreSQL and Temporal."""

from collections.abc import Mapping

from infra.emulator.pki import ACCESS_CONTROL_BROKER, SUPPLIER
from infra.stack.processes import Process, Restart

_PKI = "{state}/samples/pki"
_LEDGER = ("migrate", "samples")
METRICS = ("exporter", "campaign", "gateway", "warden", "receive")
"""The processes that tell Prometheus of themselves, each at its port <name>_metrics."""
METRICS_PORTS = {
    **{name: f"{name}_metrics" for name in METRICS},
    "temporal": "temporal_metrics",
    "emulator": "emulator_admin",
}
"""What Prometheus reads, at /metrics, by its job: the names of the ports."""
METRICS_JOBS = tuple(f"{job}=127.0.0.1:{{{port}}}" for job, port in METRICS_PORTS.items())

PROCESSES: tuple[Process, ...] = (
    Process(
        name="migrate",
        argv=("{python}", "-m", "infra.stack.migrate"),
        after=("postgres",),
        restart=Restart.UNTIL_DONE,
    ),
    Process(
        name="samples",
        argv=("{python}", "-m", "infra.samples", "{state}/samples"),
        after=(),
        restart=Restart.UNTIL_DONE,
    ),
    Process(
        name="emulator",
        argv=("{python}", "-m", "infra.emulator"),
        ports=("emulator", "emulator_admin"),
        ready="http://127.0.0.1:{emulator_admin}/stats",
        after=("samples",),
        environment={
            "HANWAVE_EMULATOR_PORT": "{emulator}",
            "HANWAVE_EMULATOR_ADMIN_PORT": "{emulator_admin}",
            "HANWAVE_EMULATOR_STATE": "{state}/emulator",
            "HANWAVE_EMULATOR_PKI": _PKI,
            "HANWAVE_EMULATOR_FLEET": "{state}/samples/emulator-fleet.csv",
            "HANWAVE_EMULATOR_CPL": "{state}/samples/cpl.csv",
            "HANWAVE_EMULATOR_RECEIVE_URL": "https://127.0.0.1:{receive}/dcc",
        },
    ),
    Process(
        name="receive",
        argv=("{python}", "-m", "workers.receive"),
        ports=("receive", "receive_metrics"),
        ready="tcp://127.0.0.1:{receive}",
        after=_LEDGER,
    ),
    Process(
        name="warden",
        argv=("{python}", "-m", "workers.warden"),
        ports=("warden_metrics",),
        after=(*_LEDGER, "temporal"),
    ),
    Process(
        name="campaign",
        argv=("{python}", "-m", "workers.campaign"),
        ports=("campaign_metrics",),
        after=(*_LEDGER, "temporal"),
    ),
    # Not after Temporal: what a halt can still recall is withdrawn without it.
    Process(
        name="gateway",
        argv=("{python}", "-m", "workers.gateway"),
        ports=("gateway_metrics",),
        after=(*_LEDGER, "emulator"),
    ),
    Process(
        name="exporter",
        argv=("{python}", "-m", "workers.exporter"),
        ports=("exporter_metrics",),
        ready="tcp://127.0.0.1:{exporter_metrics}",
        after=_LEDGER,
    ),
    Process(
        name="lookup",
        argv=("{python}", "-m", "workers.lookup"),
        ports=("lookup",),
        ready="http://127.0.0.1:{lookup}/",
        after=_LEDGER,
    ),
    Process(
        name="console",
        argv=("{python}", "-m", "infra.stack.console", "{console}", "http://127.0.0.1:{temporal_ui}"),
        ports=("console",),
        ready="http://127.0.0.1:{console}/",
        after=("temporal",),
    ),
    Process(
        name="webhooks",
        argv=("{python}", "-m", "workers.webhooks"),
        after=_LEDGER,
    ),
    Process(
        name="prometheus-file",
        argv=("{python}", "-m", "infra.prometheus", "{state}/prometheus.yaml", *METRICS_JOBS),
        after=(),
        restart=Restart.UNTIL_DONE,
    ),
)

SETTINGS: Mapping[str, str] = {
    "user_id": str(SUPPLIER),
    "acb_id": str(ACCESS_CONTROL_BROKER),
    "dcc.transform_url": "https://127.0.0.1:{emulator}/api/v1/serviceT",
    "dcc.send_command_url": "https://127.0.0.1:{emulator}/api/v1/serviceS",
    "dcc.non_device_url": "https://127.0.0.1:{emulator}/api/v1/serviceD",
    "dcc.certificate": f"{_PKI}/supplier-tls.pem",
    "dcc.key": f"{_PKI}/supplier-tls.key",
    "dcc.ca": f"{_PKI}/tls-root.pem",
    "receive.port": "{receive}",
    "receive.path": "/dcc",
    "receive.certificate": f"{_PKI}/supplier-tls.pem",
    "receive.key": f"{_PKI}/supplier-tls.key",
    "receive.client_ca": f"{_PKI}/tls-root.pem",
    "signing.xml_key": f"{_PKI}/supplier-xml.key",
    "signing.xml_certificate": f"{_PKI}/supplier-xml.pem",
    "signing.gbcs_key": f"{_PKI}/supplier-gbcs.key",
    "signing.gbcs_certificate": f"{_PKI}/supplier-gbcs.pem",
    "trust.certificates": f'["{_PKI}/transform.pem", "{_PKI}/acb.pem"]',
    **{f"metrics.{name}": f"{{{name}_metrics}}" for name in METRICS},
    "metrics.refresh": "2",
    "lookup.port": "{lookup}",
    "lookup.dsn": "{postgres_lookup_dsn}",
    "lookup.everybody": "this machine",
    "webhooks.secrets": "{state}/webhooks",
    "webhooks.ca": f"{_PKI}/tls-root.pem",
}
"""What these processes are told beside STACK_SETTINGS, by dotted name; values may hold placeholders."""

ONLOOKERS = ("exporter", "prometheus-file", "lookup", "console", "webhooks")
"""What no campaign needs to run."""


def without(*names: str) -> tuple[tuple[Process, ...], dict[str, str]]:
    """The processes but for those, which no other may come after, and what they are told but for what concerns those."""
    kept = tuple(process for process in PROCESSES if process.name not in names)
    gone = {f"{{{port}}}" for process in PROCESSES if process.name in names for port in process.ports}
    told = {
        name: value
        for name, value in SETTINGS.items()
        if name.partition(".")[0] not in names and not any(port in value for port in gone)
    }
    return kept, told
