"""The material for training is of the very devices that a lab trains on, by either way."""

import csv

import pytest

from hanwave.firmware.document import read_release
from hanwave.firmware.life import Stage
from hanwave.settings import Bench, Training
from infra.zigbee import samples
from infra.zigbee.__main__ import OURS
from workers.bench.training import Lab

pytestmark = pytest.mark.bench


def test_the_releases_and_the_fleet_are_of_the_devices_in_training(tmp_path):
    samples.main(tmp_path)
    releases = [read_release(path.read_bytes()) for path in sorted(tmp_path.glob("training-*.json"))]
    rows = list(csv.DictReader((tmp_path / "fleet.csv").read_text().splitlines()))
    devices = Lab(Bench(radio="virtual", training=Training(devices=samples.DEVICES))).devices
    assert [row["eui"] for row in rows] == [str(device.eui) for device in devices]
    for make in (OURS, devices[0].make):
        for release in releases:
            assert (release.manufacturer_code, release.image_type) == (make.manufacturer_code, make.image_type)
            assert make.hardware in release.hardware
            assert release.life[-1].stage is Stage.VERIFIED
        assert {int(row["manufacturer"], 16) for row in rows} == {make.manufacturer_code}
        assert {int(row["hardware_version"], 16) for row in rows} == {make.hardware}
    assert [release.firmware_version.value for release in releases] == [2, 3]
