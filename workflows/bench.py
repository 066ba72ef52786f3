"""BenchDesk: one question to a bench, or one order, so that whoever asks need not be where its coordinator is.

The engine keeps who asked for what; the bench writes into the ledger what it changes.
"""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import TypeAdapter

    from hanwave import names
    from hanwave.rollout.bench_desk import DESK, DeskAnswer, DeskOrder
    from hanwave.rollout.request import RequestError, check_name, parse
    from hanwave.rollout.route import bench as route_of

_EXAMPLE = '{"bench": "lab", "verb": "permit_join", "actor": "ann"}'
_ORDER = TypeAdapter(DeskOrder)
_TAKEN_WITHIN = timedelta(seconds=10)
_DONE_WITHIN = timedelta(minutes=1)


@workflow.defn(name=names.DESK_WORKFLOW)
class BenchDesk:
    """One order."""

    @workflow.run
    async def run(self, raw: Any = None) -> DeskAnswer:
        """Have it done; a bench that nobody works at has it fail within seconds."""
        try:
            order: DeskOrder = parse(_ORDER, raw, _EXAMPLE)
            check_name(order.bench)
        except RequestError as error:
            raise ApplicationError(str(error), type="BadInput", non_retryable=True) from error
        answer: DeskAnswer = await workflow.execute_activity(
            DESK,
            order,
            task_queue=route_of(order.bench),
            result_type=DeskAnswer,
            schedule_to_start_timeout=_TAKEN_WITHIN,
            start_to_close_timeout=_DONE_WITHIN,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary=str(order.verb),
        )
        return answer
