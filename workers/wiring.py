"""How the processes are put together: engines, clients and workers from settings, each made in one place."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from activities.beat import Beating
from activities.campaign import CampaignActivities
from activities.clocks import Timely
from activities.gateway import Deliver, GatewayActivities
from activities.wave import WaveActivities, now
from hanwave import names
from hanwave.client.engine import connect as connect  # noqa: PLC0414 - the processes' way to the engine
from hanwave.identifiers import EUI64
from hanwave.settings import Metrics
from workflows.bench import BenchDesk
from workflows.campaign import FirmwareCampaign
from workflows.device import DeviceUpdate
from workflows.wave import RolloutWave


def telemetry(metrics: Metrics, port: int | None) -> Runtime | None:
    """The engine's SDK with its own metrics at that port; None where no port is set."""
    if port is None:
        return None
    served = PrometheusConfig(
        bind_address=f"{metrics.host}:{port}", counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
    )
    return Runtime(telemetry=TelemetryConfig(metrics=served))


_THREADS = 16
"""Activities at once: each holds at most one ledger connection, and the pool has as many."""


def campaign_worker(client: Client, ledger: Engine, user_id: str) -> Worker:
    """Runs the workflows, and the activities that ask the ledger and the engine."""
    wave, campaign = WaveActivities(ledger, client), CampaignActivities(ledger, user_id)
    return Worker(
        client,
        task_queue=names.CAMPAIGN_QUEUE,
        workflows=[FirmwareCampaign, RolloutWave, DeviceUpdate, BenchDesk],
        activities=[
            *(wave.open_wave, wave.sweep_wave, wave.close_wave),
            *(wave.start_devices, wave.wake_devices, wave.tell_devices),
            *(campaign.freeze_plan, campaign.view_campaign, campaign.close_campaign, campaign.are_closed),
            *(campaign.approve_plan, campaign.let_go_on, campaign.plan_rollback),
            *(campaign.change_pace, campaign.cancel_device),
            *(campaign.halt_campaign, campaign.pause_campaign, campaign.resume_campaign),
        ],
        interceptors=[Beating(), Timely(ledger, now)],
        activity_executor=ThreadPoolExecutor(_THREADS),
        max_concurrent_activities=_THREADS,
    )


def gateway_worker(client: Client, ledger: Engine, deliver: Deliver, acb: EUI64) -> Worker:
    """Runs the activities that speak to the DCC."""
    gateway = GatewayActivities(ledger, deliver, acb)
    return Worker(
        client,
        task_queue=names.GATEWAY_QUEUE,
        activities=[gateway.distribute, gateway.read_versions, gateway.advance],
        interceptors=[Beating(), Timely(ledger, now)],
        activity_executor=ThreadPoolExecutor(_THREADS),
        max_concurrent_activities=_THREADS,
    )
