"""A fuzzing target for each file and document that people give: it is read, or refused in a sentence."""

import io
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from hanwave.errors import HanwaveError
from hanwave.ledger import adopt, budget_file, load_calendars, outages
from hanwave.ledger.fleet_file import FleetFile
from hanwave.plain_yaml import read_yaml
from hanwave.report import rates
from hanwave.rollout.rehearsal.behaviour import read_profile
from hanwave.rollout.request import EXAMPLE, parse_policy, parse_request
from tests.fuzz.targets import Target
from tests.peer.messages import AT, DEVICE, HUB, SUPPLIER

POLICY = (
    '{"waves": [{"count": 300}, {"share": 1, "gate": {"harm": 0.3, "silence": 0.3, "confidence": 0.8}}], "soak": "2d",'
    ' "activation": "future_dated", "lead": "12h"}'
)
FLEET = (
    "eui,device_type,manufacturer,model,hardware_version,firmware_version,smi_status,hub,region,home\n"
    f'{DEVICE},ESME,0A01,1001,0100,01020003,Commissioned,{HUB},South,"H,1"\n'
)


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines()


def _text(data: bytes) -> io.StringIO:
    return io.StringIO(data.decode("utf-8", "replace"), newline="")


def _target(read: Callable[[bytes], Any], *seeds: str) -> Target:
    return Target(lambda data: read(data) and None, lambda: [seed.encode() for seed in seeds])


TARGETS: Mapping[str, Target] = {
    "fleet": _target(lambda data: [*FleetFile(io.BytesIO(data))], FLEET),
    "outages": _target(
        lambda data: outages.read_outages(_lines(data), "the reports"),
        f'scope,value,from,to,reference\nregion,South,2026-11-22T18:00:00Z,,R1\nhub,{HUB},2026-11-22T18:00:00Z,,"R,2"\n',
    ),
    "load_calendars": _target(
        lambda data: load_calendars._read(_lines(data)), f"eui,hours\n{DEVICE},00:30-07:30;13:00-16:00\n{HUB},\n"
    ),
    "adopt": _target(
        lambda data: adopt._read(_text(data), ["requested", "held"], AT),
        f'eui,state,at,evidence\n{DEVICE},held,2026-01-31T12:00:00Z,a ticket\n{HUB},held,2026-01-31T12:00:00Z,"a,b"\n',
    ),
    "thresholds": _target(
        lambda data: budget_file.read_thresholds(data, "thresholds.csv"),
        f"user_id,variant,period,limit,reserve\n{SUPPLIER},11.1,24h,100,5\n{SUPPLIER},11.3,24h,100,5\n",
    ),
    "thresholds_yaml": _target(
        lambda data: budget_file.read_thresholds(data, "thresholds.yaml"),
        f"- {{user_id: {SUPPLIER}, variant: '11.1', period: 24h, limit: 100, reserve: 5}}\n",
    ),
    "others": _target(
        lambda data: budget_file.read_others(data, "others.csv"),
        f"user_id,variant,at,units\n{SUPPLIER},11.1,2026-01-31T12:00:00Z,100\n",
    ),
    "request": _target(lambda data: parse_request(data.decode("utf-8", "replace")), EXAMPLE),
    "policy": _target(lambda data: parse_policy(data.decode("utf-8", "replace")), POLICY),
    "profile": _target(
        lambda data: read_profile(read_yaml(data, "the profile", HanwaveError)),
        files("hanwave.rollout.rehearsal").joinpath("behaviour.yaml").read_text("utf-8"),
    ),
    "rates": _target(
        lambda data: rates.parse(data, "the rates"),
        "currency: GBP\nservice_requests: {'11.1': 0.1, '11.3': 2}\nengine_action: 0.01\nvisit: 80\n",
    ),
}
