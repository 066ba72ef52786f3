"""Scenarios that run at once on one stack: each over devices of its own, in homes of its own, with faults of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from infra.emulator.pki import SUPPLIER
from tests.support.rollout_world import Rollout


@dataclass(frozen=True)
class Home:
    """What a scenario wants in each of some homes: types with their models and versions ("1001", "1001/01020004")."""

    homes: int
    wanted: dict[str, str]


@dataclass(frozen=True)
class Scenario:
    """A scenario, and the devices that it is given: a list of EUI-64s for each type of each home that it wants."""

    run: Callable[..., Awaitable[None]]
    wants: Sequence[Home]


@dataclass
class Scenarios:
    """A table of scenarios; `@scenarios.over(...)` adds one."""

    table: list[Scenario] = field(default_factory=list)

    def over(self, *wants: Home) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
        """Add a scenario over devices of such homes."""

        def add(run: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
            self.table.append(Scenario(run, wants))
            return run

        return add


@contextmanager
def started(world: Rollout, scenarios: Sequence[Scenario]) -> Iterator[dict[str, "Future[float]"]]:
    """Start them all; by name, what each comes to: the seconds that it took, or why it failed."""
    homes = _Homes(world)
    given = [[euis for want in each.wants for euis in homes.take(want)] for each in scenarios]
    world.faults()
    with ThreadPoolExecutor(len(scenarios)) as pool:
        yield {
            each.run.__name__: pool.submit(_timed, each, world, euis)
            for each, euis in zip(scenarios, given, strict=True)
        }


def _timed(scenario: Scenario, world: Rollout, euis: list[list[str]]) -> float:
    began = time.monotonic()

    async def run() -> None:
        await scenario.run(world, *euis)

    asyncio.run(run())
    return time.monotonic() - began


class _Homes:
    """The fleet's homes that are ours, in use, and in no protected class, each given once, in their order."""

    def __init__(self, world: Rollout) -> None:
        rows = world.rows(
            "SELECT home, eui, device_type, model || '/' || firmware_version AS runs, smi_status = 'Commissioned'"
            " AND protected_class IS NULL AND payment_mode = 'credit' AND :us ="
            " CASE device_type WHEN 'GSME' THEN gas_supplier ELSE import_supplier END AS fit FROM device ORDER BY home, eui",
            us=str(SUPPLIER),
        )
        self._free: dict[str, dict[str, tuple[str, str]]] = {}
        for row in rows:
            if row.fit:
                self._free.setdefault(row.home, {})[row.device_type] = (row.runs, row.eui)

    def take(self, want: Home) -> list[list[str]]:
        """The EUI-64s of each wanted type, in the order of the homes; those homes are nobody else's."""
        fit = [home for home, held in self._free.items() if _has(held, want)][: want.homes]
        assert len(fit) == want.homes, f"the fleet has {len(fit)} homes like {want}: make it larger"
        taken = [self._free.pop(home) for home in fit]
        return [[held[kind][1] for held in taken] for kind in want.wanted]


def _has(held: dict[str, tuple[str, str]], want: Home) -> bool:
    # A home with more than is wanted may be the very one that another scenario wants: it is left to it.
    if "ESME" in want.wanted and "GSME" in held and "GSME" not in want.wanted:
        return False
    return all(kind in held and held[kind][0].startswith(runs) for kind, runs in want.wanted.items())
