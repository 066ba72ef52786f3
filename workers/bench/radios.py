"""Which radio: by zigpy's entry points, by the module of a library that has none, or the one of software.

Guarantee: a coordinator's devices are in a file, so that whoever was killed finds them joined; zigpy asks nothing of the
Internet.
"""

import logging
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import zigpy.config
from zigpy.application import RADIO_ENTRY_POINT_GROUP, ControllerApplication

from hanwave.rollout.bench import VIRTUAL
from hanwave.settings import Bench, SettingsError
from workers.bench.errors import BenchError
from workers.bench.radio import BenchDevice, bench_config, bench_radio

_KNOWN = {
    "bellows": "bellows.zigbee.application:ControllerApplication",
    "znp": "zigpy_znp.zigbee.application:ControllerApplication",
    "deconz": "zigpy_deconz.zigbee.application:ControllerApplication",
    "xbee": "zigpy_xbee.zigbee.application:ControllerApplication",
}
"""Libraries whose releases in use announce no entry point."""
_LOG = logging.getLogger("hanwave.bench")


def radio_class(name: str) -> type[ControllerApplication]:
    """The radio library's application; SettingsError where it is not installed, or there is none of that name."""
    found = next((each for each in entry_points(group=RADIO_ENTRY_POINT_GROUP) if each.name == name), None)
    if found is None and name not in _KNOWN:
        known = ", ".join((*_KNOWN, VIRTUAL))
        raise SettingsError(f"bench.radio holds {name[:40]!r}, it should be a radio that is installed: {known}")
    try:
        loaded: type[ControllerApplication] = found.load() if found else resolve_name(_KNOWN[name])
    except ImportError as error:
        raise SettingsError(
            f"the radio {name} is not installed: `pip install {'bellows' if name == 'bellows' else 'zigpy-' + name}`"
        ) from error
    return loaded


def radio_config(bench: Bench, state: Path) -> dict[str, Any]:
    """A zigpy configuration for a bench with hardware; SettingsError where no port is named, or its file has no folder."""
    if bench.path is None:
        raise SettingsError("bench.path is missing: name the coordinator's port, as in /dev/serial/by-id/...")
    device: dict[str, Any] = {zigpy.config.CONF_DEVICE_PATH: bench.path}
    if bench.baudrate:
        device[zigpy.config.CONF_DEVICE_BAUDRATE] = bench.baudrate
    database = bench.database or state / f"bench-{bench.name}.db"
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"bench.database holds {str(database)[:100]!r}, it should be a file in a folder that can be made: {error.strerror}"
        ) from error
    return bench_config(
        {
            zigpy.config.CONF_DEVICE: device,
            zigpy.config.CONF_DATABASE: str(database),
            zigpy.config.CONF_MAX_CONCURRENT_REQUESTS: bench.requests,
            # bellows: with a thread of its own it misses the first word of a coordinator behind a socket.
            "use_thread": False,
        }
    )


async def open_radio(bench: Bench, state: Path) -> ControllerApplication:
    """The coordinator of that bench, started; whatever it raises, it may be there a moment later."""
    # mypy takes the class that is made for one without a constructor of its own.
    application: Any = bench_radio(radio_class(bench.radio))
    config = radio_config(bench, state)
    radio: ControllerApplication = application(config)
    try:
        await radio._load_db()  # noqa: SLF001 - what new() does, whose failure leaves a port open that nobody can close
    except Exception as error:
        await radio.shutdown()
        raise BenchError(
            f"its devices cannot be read from {config[zigpy.config.CONF_DATABASE]} ({error}): put a copy in its place, or move"
            " it away and have them join anew"
        ) from error
    try:
        await radio.startup(auto_form=True)
    except BaseException:
        await radio.shutdown()
        raise
    radio.add_listener(_Register())
    return radio


def quieten() -> None:
    """Leave what zigpy and the radios' libraries tell of each step out of the log: a device's interview is a dozen lines."""
    for library in ("zigpy", *(where.partition(".")[0] for where in _KNOWN.values())):
        logging.getLogger(library).setLevel(logging.WARNING)


class _Register:
    """Says who comes and goes, by the names of zigpy's own events."""

    def device_joined(self, device: BenchDevice) -> None:
        """Say so: it is asked next what it is."""
        _LOG.info("%s joined the network", device.eui)

    def device_initialized(self, device: BenchDevice) -> None:
        """Say what it said of itself."""
        _LOG.info("%s is ready: %s %s", device.eui, device.manufacturer, device.model)

    def device_left(self, device: BenchDevice) -> None:
        """Say so."""
        _LOG.info("%s left the network", device.eui)
