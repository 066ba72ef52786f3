"""The dashboards of what no campaign owns: the fleet, and the engine with the processes."""

from infra.grafana import Board, Panel, Query, Shape

_JOBS = 'job=~"hanwave-.*"'
_OURS = 'job=~"hanwave-(campaign|gateway|warden)"'
"""Those of ours that ask Temporal; its server has series of the same names about its own workers."""

FLEET = Board(
    uid="hanwave-fleet",
    title="hanwave: fleet and versions",
    description="Which firmware the fleet runs, as its feed, the DCC's inventory and its own answers have it.",
    rows={
        "Versions": (
            Panel(
                "Versions",
                "Devices by type and firmware version: the new one grows as the old one goes.",
                (Query("sum by (type, version) (hanwave_fleet_devices)", "{{type}} {{version}}"),),
                shape=Shape.STACK,
                width=24,
            ),
            Panel(
                "Who runs what now",
                "By type, model and version. `hanwave fleet exposure` says whether the CPL bears it out.",
                (Query("sum by (type, model, version) (hanwave_fleet_devices)", now=True),),
                shape=Shape.TABLE,
            ),
            Panel(
                "By status in the DCC's inventory",
                "A Suspended device is one whose model left the CPL: firmware must rescue it.",
                (Query("sum by (status) (hanwave_fleet_devices)", "{{status}}"),),
                shape=Shape.STACK,
            ),
        ),
    },
)

ENGINE = Board(
    uid="hanwave-engine",
    title="hanwave: engine and workers",
    description="Temporal, hanwave's processes, the warden's heart and the audit chain.",
    rows={
        "Processes": (
            Panel(
                "Up",
                "1 where Prometheus reached the process.",
                (Query(f"up{{{_JOBS}}}", "{{job}}"),),
            ),
            Panel(
                "Since the warden's last round",
                "Nothing forward is permitted once it is silent for two minutes.",
                (Query("time() - hanwave_beat_timestamp_seconds", "{{name}}"),),
                unit="s",
            ),
            Panel(
                "Memory",
                "Of the processes that tell it.",
                (Query(f"process_resident_memory_bytes{{{_JOBS}}}", "{{job}}"),),
                unit="bytes",
            ),
            Panel(
                "Reading the ledger",
                "How long the exporter's last reading took, and its failures in all.",
                (
                    Query("hanwave_exporter_read_duration_seconds", "seconds"),
                    Query("hanwave_exporter_failures_total", "failures"),
                ),
            ),
        ),
        "Temporal": (
            Panel(
                "Workflow tasks: 95 in 100",
                "How long they take. Above a second, a history is too long or the worker has too little.",
                (
                    Query(
                        "histogram_quantile(0.95, sum by (le, workflow_type)"
                        ' (temporal_workflow_task_execution_latency_seconds_bucket{job="hanwave-campaign"}))',
                        "{{workflow_type}}",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Workflow tasks that fail",
                "A second. Anything but 0 is a workflow that does not go on: code that does not replay, or throws.",
                (
                    Query(
                        "sum by (job) (rate(temporal_workflow_task_execution_failed_total[$__rate_interval]))"
                        ' or 0 * up{job="hanwave-campaign"}',
                        "{{job}}",
                    ),
                ),
            ),
            Panel(
                "Activities",
                "Executed a second, by kind.",
                (
                    Query(
                        "sum by (activity_type) (rate(temporal_activity_execution_latency_seconds_count[$__rate_interval]))",
                        "{{activity_type}}",
                    ),
                ),
                unit="ops",
            ),
            Panel(
                "Room of the workers",
                "Task slots that are free. At 0, work waits for the worker.",
                (
                    Query(
                        'sum by (job, worker_type) (temporal_worker_task_slots_available{job=~"hanwave-(campaign|gateway)"})',
                        "{{job}} {{worker_type}}",
                    ),
                ),
            ),
            Panel(
                "Waiting for a worker: 95 in 100",
                "From when an activity or a workflow task was there until a worker began it.",
                (
                    Query(
                        "histogram_quantile(0.95, sum by (le, job)"
                        " (temporal_activity_schedule_to_start_latency_seconds_bucket))",
                        "{{job}} activities",
                    ),
                    Query(
                        "histogram_quantile(0.95, sum by (le, job)"
                        " (temporal_workflow_task_schedule_to_start_latency_seconds_bucket))",
                        "{{job}} workflow tasks",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Asked of the server",
                "Requests a second, by process.",
                (Query(f"sum by (job) (rate(temporal_request_total{{{_OURS}}}[$__rate_interval]))", "{{job}}"),),
                unit="reqps",
            ),
        ),
        "Webhooks": (
            Panel(
                "Events that wait",
                "Of which the supplier's own systems have yet to be told, and the campaigns whose next one failed.",
                (
                    Query("sum by (webhook) (hanwave_webhook_waiting_events) or on () vector(0)", "{{webhook}}"),
                    Query(
                        "sum by (webhook) (hanwave_webhook_failing_campaigns) or on () vector(0)",
                        "{{webhook}} failing campaigns",
                    ),
                    Query(
                        "sum by (webhook) (hanwave_webhook_given_up_campaigns) or on () vector(0)",
                        "{{webhook}} given up",
                    ),
                ),
            ),
            Panel(
                "For how long one has failed",
                "Since the first try of the event that has failed for longest; after three days it is given up.",
                (
                    Query(
                        "(time() - hanwave_webhook_failing_timestamp_seconds)"
                        " * (hanwave_webhook_failing_timestamp_seconds > bool 0) or on () vector(0)",
                        "{{webhook}}",
                    ),
                ),
                unit="s",
            ),
        ),
        "Audit": (
            Panel(
                "The chain and its tail",
                "Rows chained, rows counted by these counters, and rows that wait to be chained: the warden does, each round.",
                (
                    Query("hanwave_audit_chained_rows", "chained"),
                    Query("hanwave_audit_counted_rows", "counted"),
                    Query("sum(hanwave_audit_tail_rows)", "tail"),
                ),
            ),
            Panel(
                "First row that is not what was chained",
                "0 where every row that was looked at is. Anything else: somebody changed the database.",
                (Query("hanwave_audit_broken_row", "row"), Query("hanwave_audit_checked_row", "looked at, up to")),
            ),
        ),
    },
)
