"""The client: plans, starts and finds campaigns, halts anything, and tells a device's story."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Self

from sqlalchemy import Connection
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from hanwave import names, settings
from hanwave.client import campaign as campaigns
from hanwave.client import engine, rehearsing, search
from hanwave.client.bench import Bench
from hanwave.client.campaign import Campaign, Halted
from hanwave.client.errors import EngineError, NameTakenError
from hanwave.client.link import Link, now
from hanwave.client.rehearsing import How
from hanwave.identifiers import EUI64
from hanwave.ledger import audit, database, lifting, planning, progress, retrying, scopes, story
from hanwave.ledger.draft import Draft, draft
from hanwave.ledger.progress import Listed
from hanwave.ledger.story import Story
from hanwave.rollout.policy import Policy
from hanwave.rollout.rehearsal.forecast import Forecast
from hanwave.rollout.request import CampaignRequest, RequestError, check_name, parse_policy, parse_request
from hanwave.rollout.route import LAB

Request = CampaignRequest | dict[str, Any] | str
"""A campaign's request: the object, its fields, or JSON text."""
_LINES = 1000
"""Of an export, in memory at a time: a megabyte."""


class Client:
    """A ledger and an engine in a program's hands. `async with Client.connect() as client`."""

    def __init__(self, link: Link, user_id: str | None) -> None:
        """Made by connect."""
        self._link = link
        self._user_id = user_id

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        given: settings.Settings | None = None,
        *,
        address: str | None = None,
        namespace: str | None = None,
        dsn: str | None = None,
        user_id: str | None = None,
        patience: float = 10.0,
    ) -> AsyncIterator[Self]:
        """Connect by settings (those of this environment where none are given), or by what overrides them.

        address is Temporal's frontend ("host:port"), dsn the ledger's (postgresql://...), user_id the EUI-64 that
        sends, and whose campaigns alone are seen and acted upon. Temporal is not waited for until it is needed; patience
        is how many seconds it is then given.
        """
        found = given or settings.load()
        changes = {"address": address, "namespace": namespace}
        temporal = found.temporal.model_copy(update={name: value for name, value in changes.items() if value})
        dsn = dsn or settings.needed(found.postgres, "postgres").dsn.get_secret_value()
        ours = user_id or (str(found.user_id) if found.user_id else None)
        ledger = database.engine(dsn, pool=2)
        try:
            sender = str(EUI64.parse(ours)) if ours else None
            link = Link(ledger, await engine.connect(temporal, lazy=True), patience, sender)
            await link.run(database.check_revision)
            yield cls(link, sender)
        finally:
            ledger.dispose()

    async def plan(self, name: str, request: Request) -> Draft:
        """Draw the plan that `start` would freeze; nothing is changed, and nothing is asked of the engine."""
        wanted = parse_request(request)
        return await self._link.ask(lambda connection: draft(connection, name, wanted, self._sender(wanted), now()))

    async def rehearse(self, name: str, request: Request, how: How | None = None) -> Forecast:
        """Run the plan that `start` would freeze in virtual time, and keep the forecast: `status` compares with it.

        It takes some seconds to minutes of one processor. BehaviourError or LedgerError where there is nothing to go by.
        """
        wanted = parse_request(request)
        return await rehearsing.rehearse(self._link, name, wanted, self._sender(wanted), how or How())

    async def start(self, name: str, request: Request) -> Campaign:
        """Freeze the plan, and start the campaign. Again, with the same request: the same campaign.

        NameTakenError where another request has the name; RequestError, LedgerError or PlanError where the request is
        wrong; EngineError where Temporal does not answer: then nothing is kept.
        """
        check_name(name)
        wanted = parse_request(request)
        # A campaign that cannot start should not take the name; but what is wrong with the request is said first.
        down = await self._engine_is_down()
        await self._link.ask(lambda connection: _freeze(connection, name, wanted, self._sender(wanted), down))
        await self._run(name, wanted.route)
        return self.campaign(name)

    async def retry(
        self,
        campaign: str,
        *,
        author: str,
        outcomes: Sequence[str] = (),
        name: str | None = None,
        policy: Policy | dict[str, Any] | None = None,
    ) -> Campaign:
        """Start a new run over the devices of a campaign that ended so (without outcomes: that did not end well).

        It is that campaign's request over those devices alone, under another name and author, with its lineage; its plan
        is approved anew. It keeps the campaign's policy unless another is given: a few devices are often too few for the
        waves and gates of a great campaign. NoCampaignError where there is no such campaign, LedgerError where no such outcome or device.
        """
        await self.campaign(campaign).status()
        instead = None if policy is None else parse_policy(policy)
        request, free = await self._link.ask(
            lambda connection: (
                retrying.request_for(connection, campaign, outcomes, author, instead),
                retrying.next_name(connection, campaign),
            )
        )
        return await self.start(name or free, request)

    async def _engine_is_down(self) -> EngineError | None:
        try:
            await engine.is_up(self._link.temporal, self._link.patience)
        except EngineError as error:
            return error
        return None

    async def _run(self, name: str, route: str) -> None:
        """Start its workflow, which goes on from the ledger. One that ended is not begun again: that is `recover`'s."""
        async with engine.asking(self._link.temporal, self._link.patience):
            try:
                await self._link.temporal.start_workflow(
                    names.CAMPAIGN_WORKFLOW,
                    id=names.campaign_id(name),
                    task_queue=names.CAMPAIGN_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    static_summary=names.CAMPAIGN_SUMMARY,
                    search_attributes=search.of_workflow(names.campaign_id(name), route),
                )
            except WorkflowAlreadyStartedError:
                return

    def _sender(self, request: CampaignRequest) -> str:
        ours = settings.needed(self._user_id, "user_id")
        if request.user_id and str(EUI64.parse(request.user_id)) != ours:
            raise RequestError(
                f"user_id: {request.user_id[:30]} is not the User ID of this client, {ours}: leave it out"
            )
        return ours

    def campaign(self, name: str) -> Campaign:
        """A campaign by its name; whether there is one is asked when it is used."""
        return Campaign(self._link, name)

    def bench(self, name: str = LAB) -> Bench:
        """A bench by its name; whether anybody works at it is seen when it is asked."""
        return Bench(self._link, name)

    async def campaigns(self) -> list[Listed]:
        """Every campaign, newest first."""
        return await self._link.ask(lambda connection: progress.listed(connection, self._user_id))

    async def halt(
        self, kind: str, value: str = "", *, reason: str, actor: str, patience: float = 90.0, key: str | None = None
    ) -> Halted:
        """Stop everything forward: of all, or of one user (EUI-64), model ("121D/1111"), campaign or wave ("spring/2").

        Never gated, and done in the ledger straight: it works with Temporal down. A name that names nothing is refused.
        """
        scope = await self._link.ask(lambda connection: scopes.named(connection, kind, value, self._user_id))
        return await campaigns.halt(self._link, scope, reason, actor, patience, key)

    async def lift(self, stop_id: int, *, reason: str, actor: str, key: str | None = None) -> str:
        """Lift a halt of all, of a user or of a model, by its number, which `halt` gave; what it stopped.

        LedgerError where another command lifts it. It sends nothing by itself: waves find at their next sweep that they may go on.
        """
        campaigns.check(reason, actor, "lifting a halt")
        return await self._link.run(
            lambda ledger: lifting.lift(ledger, stop_id, reason, actor, key=key, user_id=self._user_id)
        )

    async def story(self, eui: str, campaign: str | None = None) -> Story:
        """A device's whole story, over every campaign or in one."""
        return await self._link.ask(lambda connection: story.story(connection, eui, campaign, self._user_id))

    async def export(self) -> AsyncIterator[bytes]:
        """The audit chain with the rows behind it, a line of JSON at a time, of every User ID: one proves nothing alone.

        `hanwave audit verify` needs nothing but a file of these lines.
        """
        lines = audit.export(self._link.ledger)
        try:
            while page := await self._link.run(lambda _: list(islice(lines, _LINES))):
                for line in page:
                    yield line
        finally:
            await self._link.run(lambda _: lines.close())


def _freeze(
    connection: Connection, name: str, request: CampaignRequest, user_id: str, down: EngineError | None
) -> None:
    if planning.kept(connection, name) and not planning.is_same(connection, name, request):
        raise NameTakenError(planning.taken(name))
    planning.freeze(connection, name, request, user_id, now())
    if down:
        raise down
