"""What the tests of firmware are made of: a test PKI, images and releases, each a good one until a test changes it."""

from datetime import UTC, datetime, timedelta
from functools import cache

from hypothesis import strategies as st

from hanwave.credentials import Role
from hanwave.firmware.header import Header, header_string
from hanwave.firmware.image import OtaImage, SupplierSignature, manufacturer_image_hash
from hanwave.firmware.life import Stage, Step
from hanwave.firmware.release import Release, SignedImage
from hanwave.firmware.terms import CplStatus, DeviceType, FirmwareVersion, HardwareRange, Model
from hanwave.identifiers import EUI64
from infra.pki import Authority, Identity

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BODY = b"a manufacturer's image " * 20
VERSION = FirmwareVersion(0x0123ABCD)
HARDWARE = HardwareRange(0x1111, 0x1211)
MODEL = Model(0x121D, 0x1111)


@cache
def authority() -> Authority:
    return Authority(at=NOW)


@cache
def supplier(last: int = 1) -> Identity:
    return authority().organisation(EUI64(bytes([0xA0, 0, 0, 0, 0, 0, 0, last])), Role.SUPPLIER)


@cache
def expired_supplier() -> Identity:
    eui = EUI64.parse("A0-00-00-00-00-00-00-0E")
    return authority().organisation(eui, Role.SUPPLIER, start=NOW - timedelta(days=20), life=timedelta(days=10))


def header(**changes) -> Header:
    facts = {
        "manufacturer_code": 0x121D,
        "image_type": 0x0084,
        "file_version": VERSION,
        "header_string": header_string("A test image"),
        "hardware": HARDWARE,
    }
    return Header(**(facts | changes))


def unsigned(body: bytes = BODY, **changes) -> OtaImage:
    return OtaImage(header(**changes), body)


def signed(body: bytes = BODY, by: Identity | None = None, **changes) -> OtaImage:
    by = by or supplier()
    return unsigned(body, **changes).sign(by.key, by.certificate, NOW)


uint16 = st.integers(0, 0xFFFF)
hardware = st.tuples(uint16, uint16).map(lambda ends: HardwareRange(*sorted(ends)))
versions = st.integers(0, 0xFFFFFFFF).map(FirmwareVersion)
gb_headers = st.builds(Header, uint16, uint16, versions, st.binary(min_size=32, max_size=32), hardware)
images = st.builds(
    OtaImage,
    gb_headers,
    st.binary(min_size=1, max_size=300),
    st.none() | st.builds(SupplierSignature, st.binary(min_size=64, max_size=64), st.booleans()),
)

ORDER = {
    DeviceType.ESME: (
        Stage.RECEIVED,
        Stage.VERIFIED,
        Stage.LAB_PASSED,
        Stage.CPL_SUBMITTED,
        Stage.CPL_ACTIVE,
        Stage.SIGNED,
        Stage.PILOT,
        Stage.GENERAL,
    )
}
ORDER[DeviceType.PPMID] = tuple(stage for stage in ORDER[DeviceType.ESME] if stage is not Stage.SIGNED)


def step(stage: Stage, day: int = 0, **changes) -> Step:
    facts = {"actor": "a.person", "at": NOW + timedelta(days=day), "evidence": f"report {stage} 7"}
    if stage is Stage.VERIFIED:
        facts["second_channel_hash"] = manufacturer_image_hash(BODY)
    return Step(stage=stage, **(facts | changes))


def life(until: Stage, device_type: DeviceType = DeviceType.ESME) -> tuple[Step, ...]:
    order = ORDER.get(device_type, ORDER[DeviceType.ESME])
    return tuple(step(stage, day) for day, stage in enumerate(order[: order.index(until) + 1]))


def release(stage: Stage = Stage.RECEIVED, device_type: DeviceType = DeviceType.ESME, **changes) -> Release:
    """A release that got as far as that stage, with what the stages on the way need."""
    facts = {
        "name": "meter-2.1",
        "device_type": device_type,
        "manufacturer_code": 0x121D,
        "image_type": 0x0084,
        "models": (MODEL,),
        "hardware": HARDWARE,
        "firmware_version": VERSION,
        "manufacturer_image_hash": manufacturer_image_hash(BODY),
        "manufacturer_image_length": len(BODY),
        "life": life(stage, device_type),
    }
    order = ORDER.get(device_type, ORDER[DeviceType.ESME])
    if order.index(stage) >= order.index(Stage.CPL_ACTIVE):
        facts |= {"cpl_entry": "CPL-77", "cpl_status": CplStatus.ACTIVE}
        if device_type is not DeviceType.PPMID and stage is not Stage.CPL_ACTIVE:
            facts["signed_images"] = (SignedImage.of(signed(), supplier().certificate, NOW),)
    return Release(**(facts | changes))
