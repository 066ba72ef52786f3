"""hanwave's own processes, in the order in which they start; `hanwave up` runs them after PostgreSQL and Temporal."""

from collections.abc import Mapping

from infra.stack.processes import Process

PROCESSES: tuple[Process, ...] = ()

SETTINGS: Mapping[str, str] = {}
"""What these processes are told beside STACK_SETTINGS, by dotted name; values may hold placeholders."""
