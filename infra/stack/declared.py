"""hanwave's own processes, in the order in which they start; `hanwave up` runs them after PostgreSQL and Temporal."""

from collections.abc import Mapping

from infra.stack.processes import Process, Restart

PROCESSES: tuple[Process, ...] = (
    Process(
        name="migrate",
        argv=("{python}", "-m", "infra.stack.migrate"),
        after=("postgres",),
        restart=Restart.UNTIL_DONE,
    ),
)

SETTINGS: Mapping[str, str] = {}
"""What these processes are told beside STACK_SETTINGS, by dotted name; values may hold placeholders."""
