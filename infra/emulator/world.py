"""What every step of the emulator needs at hand, and what it may ask of it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from infra.emulator.delays import Delays
from infra.emulator.faults import Fault, Faults, Occasion, Rule
from infra.emulator.pki import Pki
from infra.emulator.store import Store
from infra.emulator.tables import Device, Upload
from infra.pki import Identity


@dataclass(slots=True)
class World:
    """One emulator's state and surroundings; everything runs in one thread."""

    seed: str
    store: Store
    pki: Pki
    delays: Delays
    faults: Faults = field(default_factory=Faults)
    outages: list[tuple[str, float, float]] = field(default_factory=list)
    """(region, start, end), seconds since 1970."""
    duplicate_code: str = ""
    clock: Callable[[], float] = time.time
    stir: Callable[[], None] = lambda: None
    """Tells the loops that something may be due earlier than they think."""
    transform: Identity = field(init=False)
    acb: Identity = field(init=False)

    def __post_init__(self) -> None:
        """Read the DCC's keys, and what was told before a restart."""
        self.transform, self.acb = self.pki.identity("transform"), self.pki.identity("acb")
        self.faults = Faults.model_validate_json(self.store.fact("faults") or "{}")
        self.outages = [tuple(each) for each in json.loads(self.store.fact("outages") or "[]")]

    def now(self) -> datetime:
        """The clock, as messages write it."""
        return datetime.fromtimestamp(self.clock(), UTC)

    def set_faults(self, faults: Faults) -> None:
        """From now on these and no others; their outages are counted from now."""
        self.faults = faults
        self.store.remember("faults", faults.model_dump_json())
        now = self.clock()
        self.set_outages([(each.region, now + each.start, now + each.end) for each in faults.outages])

    def set_outages(self, outages: list[tuple[str, float, float]]) -> None:
        """From now on these and no others."""
        self.outages = outages
        self.store.remember("outages", json.dumps(outages))

    def strike(self, fault: Fault, occasion: Occasion, kinds: tuple[str, ...] = ()) -> Rule | None:
        """The rule by which the fault strikes here, or None."""
        return self.faults.strike(self.seed, fault, occasion, kinds)

    def delay(self, leg: str, device: Device, attempt: int, *question: object) -> float:
        """Seconds that a leg takes for this device this time."""
        return self.delays.draw(leg, device.device_type, device.eui, attempt, *question)

    def outage_until(self, region: str) -> float:
        """When the region can be reached again; 0 when it can be."""
        now = self.clock()
        return max((end for held, start, end in self.outages if held == region and start <= now < end), default=0.0)

    def away_until(self, device: Device) -> float:
        """When the device can be reached again, reboots aside; 0 when it can be."""
        unplugged = device.unplugged_until if device.unplugged_until > self.clock() else 0.0
        return max(unplugged, self.outage_until(device.region))

    def note(self, device: Device, what: str, request_id: str = "", detail: str = "") -> None:
        """Write into the books what happened to a device now."""
        self.store.note(self.clock(), device.eui, what, request_id, detail)

    def is_listed(self, device: Device, version: str) -> bool:
        """Whether the Central Products List has that version for the device's model as Active."""
        found = self.store.value(
            "SELECT 1 FROM cpl WHERE device_type = ? AND manufacturer = ? AND model = ? AND hardware = ? AND version = ?"
            " AND status = 'Active'",
            *(device.device_type, device.manufacturer, device.model, device.hardware_version, version),
        )
        return bool(found)

    def upload(self, request_id: str) -> Upload:
        """An accepted image by its request."""
        return self.store.upload(request_id)
