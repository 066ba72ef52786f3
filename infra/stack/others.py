"""What is wrong with what an installation works with: its keys, the ledger and what stands in it, the engine, the DCC.

Nothing is changed, and nothing is sent: of the DCC's services the TLS handshake alone is made.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from activities import clocks
from hanwave import keys, names, webhook_secrets
from hanwave.errors import HanwaveError
from hanwave.ledger import beats, stops, webhooks
from hanwave.ledger.database import engine, revision
from hanwave.settings import SEARCH_ATTRIBUTES, Dcc, Settings
from infra.stack.finding import Finding

if TYPE_CHECKING:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesResponse
    from temporalio.client import Client

PATIENCE_SECONDS = 5
_EXPIRY_WARNING = timedelta(days=30)
_LATELY = timedelta(minutes=2)


def pairs(settings: Settings) -> Iterator[Finding]:
    """Whether each key belongs to the certificate beside it, and all of a User ID's to that User ID."""
    for section in ("dcc", "receive", "temporal"):
        held = getattr(settings, section)
        if held and held.key and held.certificate:
            yield _tls_pair(section, held.certificate, held.key)
    if settings.signing and settings.trust:
        try:
            found = ", ".join(keys.load_keys(settings))
        except (HanwaveError, OSError) as error:
            yield Finding("signing keys", str(error), "mend the files or the settings under [signing] and [trust]")
        else:
            yield _own(settings, found)


def _own(settings: Settings, found: str) -> Finding:
    if settings.user_id and str(settings.user_id) not in found:
        remedy = "correct user_id, or name its keys under [signing]"
        return Finding("signing keys", f"they sign for {found}, and user_id is {settings.user_id}", remedy)
    return Finding("signing keys", f"they sign for {found}")


def _tls_pair(section: str, certificate: Path, key: Path) -> Finding:
    name = f"{section} TLS key"
    try:
        ssl.create_default_context().load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ssl.SSLError):
        found = f"{key} is not the key that {certificate} certifies, or one of them cannot be read"
        return Finding(name, found, f"mend the files or the settings {section}.key and {section}.certificate")
    return Finding(name, f"{certificate} is of that key")


def ledger(settings: Settings) -> Iterator[Finding]:
    """Whether the ledger can be used, by this version and this machine's clock, and what in it keeps things from going on."""
    if settings.postgres is None:
        yield Finding("database", "postgres.dsn is not set", "set it, or `hanwave up`, which writes it for you")
        return
    found = engine(settings.postgres.dsn.get_secret_value(), pool=1)
    try:
        yield (schema := _schema(found))
        if schema.is_well:
            yield _clock(found)
            with found.connect() as connection:
                yield _warden(connection)
                yield from _stops(connection)
                yield from _webhooks(connection, settings)
    except SQLAlchemyError as error:
        # Only the kind: a driver's message may repeat the address with its password.
        start = "start it (`hanwave up` starts the embedded one) or correct postgres.dsn"
        yield Finding("database", f"postgres.dsn cannot be used ({type(error).__name__})", start)
    finally:
        found.dispose()


def _schema(ledger: Engine) -> Finding:
    current, newest = revision(ledger)
    found = f"reachable, at migration {current or 'none'}"
    if current != newest:
        return Finding(
            "database", f"{found}, not {newest}", "bring it there as its owner: python -m infra.stack.migrate"
        )
    return Finding("database", found)


def _clock(ledger: Engine) -> Finding:
    try:
        clocks.check(ledger, lambda: datetime.now(UTC))
    except HanwaveError as error:
        return Finding("clock", str(error).partition(":")[0], "have both machines set by the same time servers")
    return Finding("clock", f"within {clocks.LIMIT.total_seconds():.0f} s of the ledger's")


def _warden(connection: Connection) -> Finding:
    if why := beats.silent(connection, beats.WARDEN, datetime.now(UTC)):
        found = f"{why.partition(': ')[0]}, and nothing forward is permitted without it"
        return Finding("warden", found, "start it: python -m workers.warden")
    return Finding("warden", "it makes its rounds")


def _stops(connection: Connection) -> Iterator[Finding]:
    """What stops everybody is for somebody to look at; a campaign that is stopped was stopped by its own people."""
    found = stops.open_stops(connection)
    for stop in found:
        if stop.scope.kind in {"all", "user", "model"}:
            remedy = (
                f"once it should not: hanwave campaign lift {stop.id} --reason ... (hanwave reconcile after a restore)"
            )
            yield Finding("stops", f"since {stop.at:%Y-%m-%d %H:%M}Z nothing forward leaves: {stop}", remedy)
    own = sorted({stop.scope.value.partition("/")[0] for stop in found if stop.scope.kind in {"campaign", "wave"}})
    yield Finding("stopped campaigns", ", ".join(own) or "none")


def _webhooks(connection: Connection, settings: Settings) -> Iterator[Finding]:
    hooks = webhooks.listed(connection)
    if hooks and (why := beats.silent(connection, beats.WEBHOOKS, datetime.now(UTC))):
        found = f"{why.partition(': ')[0].replace('the webhooks was', 'they were')}, and nobody is told anything"
        yield Finding("webhooks", found, "start them: python -m workers.webhooks")
    for hook in hooks:
        name = f"webhook {hook.name}"
        try:
            if settings.webhooks:
                webhook_secrets.read(settings.webhooks.secrets, hook.name)
        except HanwaveError as error:
            yield Finding(name, str(error), "mend the file: one line, as `hanwave webhook add` makes it")
            continue
        given_up = [each for each in hook.behind if each.gave_up_at]
        if given_up:
            found = f"it is told no more of {len(given_up)} campaigns: {given_up[0].error}"
            yield Finding(name, found, f"mend that, then: hanwave webhook resend {hook.name}")
        else:
            yield Finding(name, f"{sum(each.events for each in hook.behind)} events wait to be taken")


def dcc(settings: Settings) -> Iterator[Finding]:
    """Whether each of the DCC's services is there, is who it should be, and takes us for who we are."""
    if settings.dcc:
        addresses = {
            (url.host, url.port)
            for url in (settings.dcc.transform_url, settings.dcc.send_command_url, settings.dcc.non_device_url)
        }
        for host, port in sorted(addresses, key=str):
            yield _handshake(settings.dcc, host or "", port or 443)


def _handshake(told: Dcc, host: str, port: int) -> Finding:
    name, where = "dcc", f"{host}:{port}"
    try:
        context = ssl.create_default_context(cafile=told.ca)
        context.load_cert_chain(told.certificate, told.key, password=lambda: b"")
    except (OSError, ssl.SSLError):
        return Finding(name, f"{where} cannot be tried without TLS files that can be read", "mend those first")
    try:
        with (
            socket.create_connection((host, port), PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return _greeted(secure, where)
    except ssl.SSLCertVerificationError as error:
        found = f"{where} is not certified by dcc.ca: {error.verify_message}"
        return Finding(name, found, "have the DCC say which authority certifies it, and put that into dcc.ca")
    except ssl.SSLError as error:
        found = f"{where} does not take our certificate: {error.reason}"
        return Finding(name, found, "have the DCC say whether it knows dcc.certificate, and until when")
    except UnicodeError:
        return Finding(name, f"{where} is no host's name", "correct the addresses under [dcc]")
    except OSError as error:
        found = f"{where} cannot be reached: {error.strerror or error}"
        return Finding(name, found, "start it (`hanwave up` starts the emulator), or have the way to the DCC mended")


def _greeted(secure: ssl.SSLSocket, where: str) -> Finding:
    """By TLS 1.3 a server refuses a client's certificate only after the handshake: it is heard where one listens for it."""
    secure.settimeout(0.2)
    with suppress(TimeoutError):
        secure.recv(1)
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"])), UTC)
    remedy = "have the DCC renew it" if ends < datetime.now(UTC) + _EXPIRY_WARNING else ""
    return Finding("dcc", f"{where} greets us ({secure.version()}); its certificate ends on {ends:%Y-%m-%d}", remedy)


def temporal(settings: Settings) -> list[Finding]:
    """The engine: reachable, with its namespace and search attributes, and with workers that take what it gives."""
    return asyncio.run(_ask_temporal(settings))


async def _ask_temporal(settings: Settings) -> list[Finding]:
    # Here and not above: the client is large, and the other checks, and commands, do without it.
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest  # noqa: PLC0415
    from temporalio.client import Client  # noqa: PLC0415
    from temporalio.service import RPCError, RPCStatusCode, TLSConfig  # noqa: PLC0415

    temporal = settings.temporal
    start = "start it (`hanwave up` starts the embedded one) or correct temporal.address"
    try:
        tls = TLSConfig(
            server_root_ca_cert=temporal.ca.read_bytes() if temporal.ca else None,
            client_cert=temporal.certificate.read_bytes() if temporal.certificate else None,
            client_private_key=temporal.key.read_bytes() if temporal.key else None,
        )
        secure = tls if temporal.ca or temporal.certificate else False
        async with asyncio.timeout(PATIENCE_SECONDS):
            client = await Client.connect(temporal.address, namespace=temporal.namespace, tls=secure)
            request = ListSearchAttributesRequest(namespace=temporal.namespace)
            answer = await client.operator_service.list_search_attributes(request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            remedy = f"temporal operator namespace create --namespace {temporal.namespace}"
            return [Finding("temporal", f"{temporal.address} has no namespace {temporal.namespace}", remedy)]
        return [Finding("temporal", f"{temporal.address} refuses: {error.message}", start)]
    except (RuntimeError, OSError, TimeoutError):
        return [Finding("temporal", f"{temporal.address} cannot be reached", start)]
    queues = [names.CAMPAIGN_QUEUE, *([names.GATEWAY_QUEUE] if settings.dcc else [])]
    return [_attributes(settings, answer), *await asyncio.gather(*(_worker(client, queue) for queue in queues))]


def _attributes(settings: Settings, answer: "ListSearchAttributesResponse") -> Finding:
    temporal = settings.temporal
    if missing := [name for name in SEARCH_ATTRIBUTES if name not in answer.custom_attributes]:
        create = " ".join(f"--name {name} --type Keyword" for name in missing)
        remedy = f"temporal operator search-attribute create --namespace {temporal.namespace} {create}"
        return Finding("temporal", f"the namespace lacks the search attributes {', '.join(missing)}", remedy)
    return Finding("temporal", f"{temporal.address} has the namespace {temporal.namespace} and its search attributes")


async def _worker(client: "Client", queue: str) -> Finding:
    """Whether somebody takes from a queue, or begins to within PATIENCE_SECONDS. Who is there asks once a minute."""
    from temporalio.api.enums.v1 import TaskQueueType  # noqa: PLC0415
    from temporalio.api.taskqueue.v1 import TaskQueue  # noqa: PLC0415
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest  # noqa: PLC0415

    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    for _ in range(PATIENCE_SECONDS):
        answer = await client.workflow_service.describe_task_queue(request)
        lately = (datetime.now(UTC) - _LATELY).replace(tzinfo=None)
        if any(each.last_access_time.ToDatetime() > lately for each in answer.pollers):
            return Finding(f"{queue} worker", "it takes what Temporal has for it")
        await asyncio.sleep(1)
    return Finding(f"{queue} worker", "nobody takes what Temporal has for it", f"start it: python -m workers.{queue}")
