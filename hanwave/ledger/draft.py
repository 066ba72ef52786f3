"""A campaign's plan as a person is shown it before anything is kept: what it would do, to how many, and where it stops.

Guarantee: drawing one changes nothing; the database itself refuses to write in that transaction.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from hanwave.ledger import planning
from hanwave.rollout.plan import Plan
from hanwave.rollout.policy import DeviceType, Policy
from hanwave.rollout.request import CampaignRequest, check_name


@dataclass(frozen=True, slots=True)
class Part:
    """Some devices of a wave: one model in one region."""

    model: str
    region: str
    devices: int


@dataclass(frozen=True, slots=True)
class DraftWave:
    """One wave of a drawn plan."""

    number: int
    devices: int
    homes: int
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Draft:
    """A drawn plan; its digest is the one that `start` under that name would freeze, while nothing else changes."""

    name: str
    release: str
    device_type: str
    version: str
    digest: str
    devices: int
    waves: list[DraftWave]
    left_out: dict[str, int]
    """How many devices are left out, by reason."""
    policy: Policy
    approvals: int
    requests: dict[str, int]
    """Service Requests if nothing goes wrong, by reference ("11.3")."""


def draft(connection: Connection, name: str, request: CampaignRequest, user_id: str) -> Draft:
    """Draw a campaign's plan, of a connection that has not been used yet; LedgerError or PlanError says why not."""
    connection.execute(text("SET TRANSACTION READ ONLY"))
    check_name(name)
    release = planning.release(connection, request.release)
    plan = planning.draw(connection, name, request, user_id)
    device_type = DeviceType(release.device_type.value)
    return Draft(
        name=name,
        release=release.name,
        device_type=device_type,
        version=str(release.firmware_version),
        digest=plan.digest,
        devices=sum(map(len, plan.waves)),
        waves=[_wave(connection, number, euis) for number, euis in enumerate(plan.waves, 1)],
        left_out=planning.summary(name, plan).left_out,
        policy=request.policy,
        approvals=request.approvals,
        requests=_requests(plan, device_type, request.policy),
    )


def _wave(connection: Connection, number: int, euis: tuple[str, ...]) -> DraftWave:
    rows = connection.execute(
        text(
            "SELECT manufacturer || '/' || model AS model, region, coalesce(home, hub) AS home FROM device WHERE eui = ANY(:euis)"
        ),
        {"euis": list(euis)},
    ).all()
    parts = Counter((row.model, row.region) for row in rows)
    return DraftWave(number, len(euis), len({row.home for row in rows}), [Part(*key, n) for key, n in _most(parts)])


def _most(parts: Counter[tuple[str, str]]) -> Iterable[tuple[tuple[str, str], int]]:
    return sorted(parts.items(), key=lambda item: (-item[1], item[0]))


def _requests(plan: Plan, device_type: DeviceType, policy: Policy) -> dict[str, int]:
    """A batch of images at a time, an activation each where distribution is not one already, and a version read each."""
    sizes = [len(wave) for wave in plan.waves]
    batches = sum(-(-size // policy.batch) for size in sizes)
    reads = {"11.2": sum(sizes)} if policy.soak_check else {}
    return {"11.4": batches, **reads} if device_type.one_step else {"11.1": batches, "11.3": sum(sizes), **reads}
