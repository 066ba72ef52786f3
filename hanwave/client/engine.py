"""The one way from the library to Temporal. Every call has a time limit, and fails with one sentence."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client, RPCTimeoutOrCancelledError, WorkflowUpdateFailedError, WorkflowUpdateStage
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from hanwave import names, settings
from hanwave.client.errors import EngineError, NotRunningError, RefusedError
from hanwave.errors import HanwaveError
from hanwave.words import line

PLANNING = timedelta(minutes=5)
"""What a verb may take once it is accepted: a rollback plans its campaigns over the whole fleet."""


class _Sentences(DefaultFailureConverter):
    """A refusal travels as its sentence alone: whoever reads it in the Web UI has no use for where in hanwave it was raised."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert as ever, but for the trace of a refusal."""
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ApplicationError) and exception.type in REFUSALS:
            failure.stack_trace = ""


class _Readable(PydanticPayloadConverter):
    """Reads what nobody can read as a text that says so, where anything may come: a workflow refuses it with a sentence.

    As an error it would end no workflow: its first task would be tried again for ever, and hold its id; nor would it halt.
    """

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Convert as ever, but for what cannot be and of which no type is expected."""
        hints: list[Any] = type_hints or [None] * len(payloads)
        return [self._read(payload, hint) for payload, hint in zip(payloads, hints, strict=False)]

    def _read(self, payload: Payload, hint: Any) -> Any:
        try:
            return super().from_payloads([payload], [hint])[0]
        except Exception as error:
            if hint not in (None, Any):
                raise
            return f"what was sent cannot be read: {line(str(error), 120)}"


REFUSALS = ("BadInput", "Refused")
"""The types of the errors that are a sentence for whoever asked."""
CONVERTER = replace(pydantic_data_converter, payload_converter_class=_Readable, failure_converter_class=_Sentences)


async def connect(settings: settings.Temporal, *, lazy: bool = False, runtime: Runtime | None = None) -> Client:
    """A client of the engine, with TLS where a certificate or an authority is named; a lazy one connects when used.

    runtime: where its metrics, and those of its workers, are told; none are where it is None.
    """
    tls: TLSConfig | bool = False
    if settings.ca or settings.certificate:
        tls = TLSConfig(
            server_root_ca_cert=_read(settings.ca),
            client_cert=_read(settings.certificate),
            client_private_key=_read(settings.key),
        )
    return await Client.connect(
        settings.address,
        namespace=settings.namespace,
        tls=tls,
        data_converter=CONVERTER,
        lazy=lazy,
        runtime=runtime,
    )


def _read(path: Any) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise settings.SettingsError(f"{path} cannot be read: {error.strerror}") from error


@asynccontextmanager
async def asking(client: Client, patience: float) -> AsyncIterator[None]:
    """Turn whatever the engine's client raises into one sentence, and give up after patience seconds."""
    address = client.service_client.config.target_host
    try:
        async with asyncio.timeout(patience):
            yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotRunningError(f"it does not run: {error.message}") from error
        late = error.status in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}
        why = f"did not answer within {patience:g} s" if late else f"refused: {error.message}"
        raise EngineError(f"Temporal at {address} {why}") from error
    except (TimeoutError, RPCTimeoutOrCancelledError) as error:
        raise EngineError(f"Temporal at {address} did not answer within {patience:g} s") from error
    except RuntimeError as error:
        # A lazy client that cannot connect says so with a bare RuntimeError, and pages of its layers' names.
        raise EngineError(f"Temporal at {address} cannot be reached: is it running?") from error


async def update(client: Client, campaign: str, verb: str, argument: dict[str, Any], patience: float) -> Any:
    """Send a campaign's Update; its result, or RefusedError, NotRunningError or EngineError."""
    handle = client.get_workflow_handle(names.campaign_id(campaign))
    within = timedelta(seconds=patience)
    try:
        async with asking(client, patience):
            sent = await handle.start_update(
                verb, argument, wait_for_stage=WorkflowUpdateStage.ACCEPTED, rpc_timeout=within
            )
    except WorkflowUpdateFailedError as error:
        raise RefusedError(_sentence(error)) from error
    except NotRunningError as error:
        raise NotRunningError(
            f"campaign {campaign!r} does not run in Temporal: it is over, or `hanwave recover {campaign}` starts it again"
        ) from error
    except EngineError as error:
        raise EngineError(
            f"{error}, or no worker did: it is not known whether {verb} was taken (`hanwave campaign status {campaign}`)"
        ) from error
    try:
        async with asking(client, PLANNING.total_seconds()):
            return await sent.result(rpc_timeout=PLANNING)
    except WorkflowUpdateFailedError as error:
        raise RefusedError(_sentence(error)) from error


def _sentence(error: WorkflowUpdateFailedError) -> str:
    """What the handler or the ledger said, without the names of the layers that it came through."""
    cause = error.cause
    text = cause.message if isinstance(cause, ApplicationError) else str(cause)
    kind, colon, rest = text.partition(": ")
    return rest if colon and kind.endswith("Error") and kind.isidentifier() else text


async def is_up(client: Client, patience: float) -> None:
    """Nothing where the engine answers; else EngineError."""
    async with asking(client, patience):
        await client.service_client.check_health(timeout=timedelta(seconds=patience))


async def tell(client: Client, workflow_ids: dict[str, tuple[str, list[Any]]], patience: float) -> bool:
    """Send each workflow its signal; False where the engine did not answer. One that does not run is none to tell."""

    async def send(workflow_id: str, signal: str, arguments: list[Any]) -> bool:
        try:
            async with asking(client, patience):
                await client.get_workflow_handle(workflow_id).signal(signal, args=arguments)
        except NotRunningError:
            return True
        except HanwaveError:
            return False
        return True

    told = await asyncio.gather(*(send(workflow_id, *what) for workflow_id, what in workflow_ids.items()))
    return all(told)
