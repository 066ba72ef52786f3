"""The SDK for a program without an event loop: the same calls, each of which waits for its answer.

    with hanwave.BlockingClient.connect() as client:
        campaign = client.start("spring", {"release": "acme-e470-0200", "author": "ann"})
        for progress in campaign.watch():
            print(progress.funnel, progress.waits_for)

Guarantees: each call is the Client's, with its arguments, answers and errors; one event loop, in a thread of its own, serves a
client from `connect` to the end of its block; several threads may share it; a loop that is left early leaves nothing running.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from hanwave import settings
from hanwave.client.bench import Bench
from hanwave.client.campaign import Campaign
from hanwave.client.client import Client, Request
from hanwave.rollout.policy import Policy
from hanwave.rollout.route import LAB

_P = ParamSpec("_P")
_T = TypeVar("_T")
_I = TypeVar("_I")
_END = object()


class _Wrapping(Protocol[_I]):
    """An object of the SDK, and the loop that it lives on."""

    inner: _I
    portal: BlockingPortal


def _waits(
    method: Callable[Concatenate[_I, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[_Wrapping[_I], _P], _T]:
    """A coroutine's blocking face."""

    @wraps(method)
    def call(self: _Wrapping[_I], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        answer: _T = self.portal.call(partial(method, self.inner, *args, **kwargs))
        return answer

    return call


def _walks(
    method: Callable[Concatenate[_I, _P], AsyncIterator[_T]],
) -> Callable[Concatenate[_Wrapping[_I], _P], Iterator[_T]]:
    """An asynchronous iterator's blocking face: one item is asked for at a time."""

    @wraps(method)
    def call(self: _Wrapping[_I], /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        items = method(self.inner, *args, **kwargs)
        try:
            while (item := self.portal.call(_next, items)) is not _END:
                yield item
        finally:
            self.portal.call(items.aclose)  # type: ignore[attr-defined, call-arg] # each is a generator

    return call


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)


class BlockingCampaign:
    """One campaign, by name; see `hanwave.client.Campaign` for what each call does."""

    def __init__(self, portal: BlockingPortal, inner: Campaign) -> None:
        """Made by a BlockingClient."""
        self.portal = portal
        self.inner = inner
        self.name = inner.name

    def __repr__(self) -> str:
        return f"BlockingCampaign({self.name!r})"

    status = _waits(Campaign.status)
    watch = _walks(Campaign.watch)
    wait = _waits(Campaign.wait)
    outcomes = _walks(Campaign.outcomes)
    outcomes_table = _waits(Campaign.outcomes_table)
    story = _waits(Campaign.story)
    halt = _waits(Campaign.halt)
    pause = _waits(Campaign.pause)
    cancel_device = _waits(Campaign.cancel_device)
    approve = _waits(Campaign.approve)
    resume = _waits(Campaign.resume)
    go_on = _waits(Campaign.go_on)
    change_pace = _waits(Campaign.change_pace)
    roll_back = _waits(Campaign.roll_back)


class BlockingBench:
    """One bench, by its name; see `hanwave.client.bench.Bench` for what each call does."""

    def __init__(self, portal: BlockingPortal, inner: Bench) -> None:
        """Made by a BlockingClient."""
        self.portal = portal
        self.inner = inner
        self.name = inner.name

    devices = _waits(Bench.devices)
    permit_join = _waits(Bench.permit_join)
    forget = _waits(Bench.forget)
    transfers = _waits(Bench.transfers)


class BlockingClient:
    """The client; see `hanwave.Client` for what each call does."""

    def __init__(self, portal: BlockingPortal, inner: Client) -> None:
        """Made by `connect`."""
        self.portal = portal
        self.inner = inner

    @classmethod
    @contextmanager
    def connect(cls, given: settings.Settings | None = None, **overrides: Any) -> Iterator[Self]:
        """Connect as `Client.connect` does, by settings or by what overrides them."""
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(Client.connect(given, **overrides)) as inner,
        ):
            yield cls(portal, inner)

    plan = _waits(Client.plan)
    rehearse = _waits(Client.rehearse)
    campaigns = _waits(Client.campaigns)
    halt = _waits(Client.halt)
    lift = _waits(Client.lift)
    story = _waits(Client.story)
    export = _walks(Client.export)

    def start(self, name: str, request: Request) -> BlockingCampaign:
        """Freeze the plan, and start the campaign."""
        return BlockingCampaign(self.portal, self.portal.call(self.inner.start, name, request))

    def retry(
        self,
        campaign: str,
        *,
        author: str,
        outcomes: Sequence[str] = (),
        name: str | None = None,
        policy: Policy | dict[str, Any] | None = None,
    ) -> BlockingCampaign:
        """Start a new run over the devices of a campaign that ended so."""
        again = partial(self.inner.retry, campaign, author=author, outcomes=outcomes, name=name, policy=policy)
        return BlockingCampaign(self.portal, self.portal.call(again))

    def campaign(self, name: str) -> BlockingCampaign:
        """A campaign by its name."""
        return BlockingCampaign(self.portal, self.inner.campaign(name))

    def bench(self, name: str = LAB) -> BlockingBench:
        """A bench by its name."""
        return BlockingBench(self.portal, self.inner.bench(name))
