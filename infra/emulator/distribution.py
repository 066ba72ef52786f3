"""SR 11.1 and 11.4: what the DCC checks of a request, and how an image comes to a hub and a device.

The DCC checks the image once and each device of the list; the hub checks the hardware range; an ESME, GSME or HCALCS
checks its own supplier's signature, and a PPMID installs what it gets.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hanwave import duis
from hanwave.credentials import CredentialError, Role
from hanwave.firmware.errors import ImageError
from hanwave.firmware.image import Form, OtaImage
from hanwave.firmware.terms import GbcsVersion
from hanwave.gbcs import AlertCode, ImageVerification, MessageCode
from hanwave.identifiers import EUI64, RequestID
from infra.emulator import activation, codes
from infra.emulator.answers import Answer, Refused
from infra.emulator.draw import fraction
from infra.emulator.faults import Fault, Leg, Occasion
from infra.emulator.messages import dcc_alert, device_alert
from infra.emulator.pki import SUPPLIERS
from infra.emulator.tables import Device, Timer, Upload
from infra.emulator.world import World

TAKES = {"11.1": frozenset({"ESME", "GSME", "HCALCS"}), "11.4": frozenset({"PPMID"})}
MAY_TAKE = frozenset({"Commissioned", "Suspended"})
"""[I] A Suspended device must be able to get the firmware that rescues it (MP105)."""
LEAST_GBCS = {"PPMID": GbcsVersion(4, 1), "HCALCS": GbcsVersion(4, 1)}
"""[I] SECMP0007 came with GBCS 4.1."""
TELLS_DELIVERY = frozenset({"ESME", "GSME", "HCALCS", "PPMID"})
"""[I] The device types for which N60 and N61 are sent; SECAS names ESME and GSME."""
TELLS_TRANSFER = frozenset({"HCALCS", "PPMID"})
"""[I] The device types of which the hub reports the transfer (N62)."""


@dataclass(slots=True)
class _Sorted:
    """The devices of a request: those that go ahead, and those left out, by list."""

    accepted: list[Device] = field(default_factory=list)
    invalid: list[EUI64] = field(default_factory=list)
    not_commissioned: list[EUI64] = field(default_factory=list)
    not_applicable: list[EUI64] = field(default_factory=list)
    in_progress: list[EUI64] = field(default_factory=list)
    gbcs: list[EUI64] = field(default_factory=list)

    def warning(self, service: str) -> duis.UpdateFirmwareWarning:
        """The lists, as the request's warning carries them."""
        kind = duis.UpdatePPMIDFirmwareWarning if service == "11.4" else duis.UpdateFirmwareWarning
        lists = (self.invalid, self.not_commissioned, self.not_applicable, self.in_progress, self.gbcs)
        return kind(*(tuple(each) or None for each in lists))


def accept(world: World, request: duis.Request, body: duis.UpdateFirmware) -> Answer:
    """Check the request and set its devices going; the answer names those that were left out."""
    service = request.service_reference
    upload = _dissect(world, request, body)
    entries = _entries(world, upload)
    sorted_devices = _sort(world, upload, body.device_ids, entries)
    if not sorted_devices.accepted:
        raise Refused(codes.NO_DEVICE_LEFT[service])
    world.store.add_upload(upload)
    _begin(world, upload, sorted_devices.accepted)
    _tell_others(world, upload, sorted_devices.accepted)
    occasion = Occasion(sorted_devices.accepted[0], Leg.DISTRIBUTE, sorted_devices.accepted[0].distributions)
    if len(sorted_devices.accepted) == len(body.device_ids):
        return Answer(codes.ACKNOWLEDGED, occasion=occasion)
    return Answer(codes.PARTLY[service], sorted_devices.warning(service), occasion)


def _dissect(world: World, request: duis.Request, body: duis.UpdateFirmware) -> Upload:
    service = request.service_reference
    try:
        image = OtaImage.read(body.image, Form.PPMID if service == "11.4" else Form.SIGNED)
    except ImageError as error:
        raise Refused(codes.BAD_IMAGE[service], str(error)) from error
    version = str(image.header.file_version)
    if version != body.firmware_version.upper():
        raise Refused(codes.BAD_IMAGE[service], f"the header says {version}, the request {body.firmware_version}")
    hardware = image.header.hardware
    low, high = (hardware.minimum, hardware.maximum) if hardware else (0, 0xFFFF)
    user = str(request.request_id.originator)
    signed_by = _signer(world, image)
    return Upload(str(request.request_id), user, service, version, image.hash.hex().upper(), signed_by, low, high)


def _signer(world: World, image: OtaImage) -> str:
    """Whose signature a device would find on the image: it is checked once, and compared for each device."""
    for name, eui in SUPPLIERS.items():
        certificate = world.pki.certificate(f"{name}-gbcs")
        try:
            certificate.check(Role.SUPPLIER, world.now())
            image.check_signature(certificate, world.now())
        except (ImageError, CredentialError):
            continue
        return str(eui)
    return ""


_Key = tuple[str, str, str, str]


def _entries(world: World, upload: Upload) -> dict[_Key, str]:
    """The list's Active entries for this image: (type, manufacturer, model, hardware) and the least GBCS version."""
    found = world.store.query(
        "SELECT device_type, manufacturer, model, hardware, image_hash, gbcs FROM cpl WHERE version = ? AND status = 'Active'",
        upload.version,
    )
    rows = [row for row in found if row[0] in TAKES[upload.service]]
    if not rows:
        raise Refused(codes.NOT_LISTED[upload.service])
    entries = {row[:4]: row[5] for row in rows if row[4] == upload.image_hash}
    if not entries:
        raise Refused(codes.HASH_DIFFERS[upload.service])
    return entries


def _sort(world: World, upload: Upload, euis: Iterable[EUI64], entries: dict[_Key, str]) -> _Sorted:
    asked = {str(eui): eui for eui in euis}
    found = world.store.named_devices(list(asked))
    result = _Sorted()
    for text, eui in asked.items():
        device = found.get(text)
        if device is None or device.device_type not in TAKES[upload.service] or not device.is_of(upload.user):
            result.invalid.append(eui)
        elif device.smi_status not in MAY_TAKE:
            result.not_commissioned.append(eui)
        elif (device.device_type, device.manufacturer, device.model, device.hardware_version) not in entries:
            result.not_applicable.append(eui)
        elif device.in_progress:
            result.in_progress.append(eui)
        elif _gbcs_is_too_old(device, entries):
            result.gbcs.append(eui)
        else:
            result.accepted.append(device)
    return result


def _gbcs_is_too_old(device: Device, entries: dict[_Key, str]) -> bool:
    listed = entries[device.device_type, device.manufacturer, device.model, device.hardware_version]
    least = GbcsVersion.parse(listed) if listed else LEAST_GBCS.get(device.device_type, GbcsVersion(0, 0))
    return GbcsVersion.parse(device.gbcs_version) < least


def _begin(world: World, upload: Upload, devices: list[Device]) -> None:
    now = world.clock()
    for device in devices:
        device.distributions += 1
        device.distribution, device.in_progress = upload.request_id, True
    world.store.save(*devices)
    world.store.notes((now, device.eui, "requested", upload.request_id, upload.image_hash) for device in devices)
    world.store.timers(
        (now + world.delay("deliver", device, device.distributions), "deliver", device.eui, upload.request_id, {})
        for device in devices
    )


def _tell_others(world: World, upload: Upload, devices: list[Device]) -> None:
    """N59: the other supplier of a shared PPMID learns that an upgrade was requested [I]."""
    others: dict[str, list[Device]] = {}
    for device in devices:
        if device.device_type != "PPMID":
            continue
        for user in {device.import_supplier, device.gas_supplier} - {upload.user, ""}:
            others.setdefault(user, []).append(device)
    for user, shared in others.items():
        alert = duis.FirmwareUpgradeRequested(
            duis.DeviceType.PPMID, upload.version, tuple(EUI64.parse(device.eui) for device in shared)
        )
        occasion = Occasion(shared[0], Leg.DISTRIBUTE, shared[0].distributions, upload.version)
        dcc_alert(world, occasion, user, codes.UPGRADE_REQUESTED_ALERT, alert)


def _occasion(device: Device, upload: Upload) -> Occasion:
    return Occasion(device, Leg.DISTRIBUTE, device.distributions, upload.version, upload.request_id)


def deliver(world: World, device: Device, timer: Timer) -> None:
    """The image reaches the hub, or does not: N60, N61."""
    if device.distribution != timer.request_id:
        return
    if away := world.outage_until(device.region):
        world.store.later(away + world.delay("deliver", device, 0), "deliver", device.eui, timer.request_id)
        return
    upload, attempt = world.upload(timer.request_id), device.distributions
    failed = world.strike(Fault.DELIVERY_FAILURE, _occasion(device, upload))
    device.in_progress = False
    if device.device_type in TELLS_DELIVERY:
        _tell_delivery(world, device, upload, delivered=not failed)
    if failed:
        world.note(device, "delivery failed", timer.request_id)
        return
    device.delivered += 1
    world.note(device, "delivered", timer.request_id)
    due = world.clock() + world.delay("transfer", device, attempt)
    world.store.later(due, "transfer", device.eui, timer.request_id)


def _tell_delivery(world: World, device: Device, upload: Upload, *, delivered: bool) -> None:
    status = duis.CSPFirmwareDeliveryStatus(
        RequestID.parse(upload.request_id),
        EUI64.parse(device.hub),
        EUI64.parse(device.eui),
        upload.version,
        world.now(),
        duis.TransferStatus.SUCCESS if delivered else duis.TransferStatus.FAILURE,
    )
    code = codes.DELIVERED_ALERT if delivered else codes.NOT_DELIVERED_ALERT
    dcc_alert(world, _occasion(device, upload), upload.user, code, status)


def transfer(world: World, device: Device, timer: Timer) -> None:
    """The image passes from the hub to the device, once that is there: 8F8A or 8F89 from the hub."""
    if device.distribution != timer.request_id:
        world.note(device, "superseded", timer.request_id)
        return
    if away := world.away_until(device):
        due = away + world.delay("transfer", device, device.distributions, "again")
        world.store.later(due, "transfer", device.eui, timer.request_id, waits=True)
        return
    upload = world.upload(timer.request_id)
    result = _transfer_result(world, device, upload)
    good = result is duis.TransferResponse.SUCCESS
    if device.device_type in TELLS_TRANSFER or not good:
        _tell_transfer(world, device, upload, result)
    if not good:
        world.note(device, "transfer failed", timer.request_id, result)
        return
    device.transferred += 1
    world.note(device, "transferred", timer.request_id)
    _receive(world, device, upload)
    _leave(world, device, upload)


def _transfer_result(world: World, device: Device, upload: Upload) -> duis.TransferResponse:
    if not upload.hardware_low <= int(device.hardware_version, 16) <= upload.hardware_high:
        return duis.TransferResponse.HARDWARE_MISMATCH
    attempt = device.distributions
    if world.strike(Fault.TRANSFER_FAILURE, _occasion(device, upload)):
        kinds = (duis.TransferResponse.FAILURE, duis.TransferResponse.DISCARDED)
        return kinds[int(fraction(world.seed, "transfer", device.eui, attempt) * len(kinds))]
    return duis.TransferResponse.SUCCESS


def _tell_transfer(world: World, device: Device, upload: Upload, result: duis.TransferResponse) -> None:
    code = "8F8A" if result is duis.TransferResponse.SUCCESS else "8F89"
    told = duis.FirmwareTransferAlert(
        EUI64.parse(device.eui), upload.version, result, RequestID.parse(upload.request_id)
    )
    alert = duis.CommsHubAlert(EUI64.parse(device.hub), code, world.now(), told)
    dcc_alert(world, _occasion(device, upload), upload.user, codes.HUB_ALERT, alert, (code,))


def _receive(world: World, device: Device, upload: Upload) -> None:
    """What the device does with an image that it got whole."""
    attempt = device.distributions
    if device.device_type == "PPMID":
        due = world.clock() + world.delay("install", device, attempt)
        world.store.later(due, "install", device.eui, upload.request_id)
        return
    bad = upload.signed_by != device.responsible or world.strike(Fault.VERIFICATION_FAILURE, _occasion(device, upload))
    image_hash = upload.image_hash
    if world.strike(Fault.WRONG_HASH, _occasion(device, upload)):
        image_hash = f"{int(image_hash, 16) ^ 1:064X}"
    # The new image took the pending one's place, whether it is good or not (domain 4.4).
    device.held_hash, device.held_version = ("", "") if bad else (image_hash, upload.version)
    world.note(device, "not verified" if bad else "held", upload.request_id, image_hash)
    _tell_verification(world, device, upload, image_hash, good=not bad)


def _tell_verification(world: World, device: Device, upload: Upload, image_hash: str, *, good: bool) -> None:
    """8F72 or 8F1C; an HCALCS raises none [I]."""
    if device.device_type == "HCALCS":
        return
    code = AlertCode.IMAGE_VERIFIED if good else AlertCode.IMAGE_NOT_VERIFIED
    message_code = MessageCode.FDRA_DLMS if device.device_type == "ESME" else MessageCode.FDRA_GBZ
    at = datetime.fromtimestamp(int(world.clock()), UTC)
    body = ImageVerification(code, at, bytes.fromhex(image_hash))
    device_alert(world, _occasion(device, upload), code, message_code, body)


def _leave(world: World, device: Device, upload: Upload) -> None:
    """A change of supplier befalls a device between its image and its activation."""
    if world.strike(Fault.CHANGE_OF_SUPPLIER, _occasion(device, upload)):
        other = next(str(eui) for eui in SUPPLIERS.values() if str(eui) != device.responsible)
        activation.change_supplier(world, device, other)


def install(world: World, device: Device, timer: Timer) -> None:
    """A PPMID activates the image that it got, and says so: N39 with 8F8B."""
    if device.distribution != timer.request_id:
        world.note(device, "superseded", timer.request_id)
        return
    if away := world.away_until(device):
        world.store.later(away + world.delay("install", device, 0), "install", device.eui, timer.request_id, waits=True)
        return
    upload = world.upload(timer.request_id)
    worked = activation.install(world, _occasion(device, upload))
    activation.inventory_learns(world, device)
    if device.is_quiet and not worked:
        return
    result = duis.ActivationResult.SUCCESS if worked else duis.ActivationResult.FAILURE
    upgrade = duis.PPMIDFirmwareUpgradeAlert(device.firmware_version, result)
    alert = duis.PPMIDAlert(EUI64.parse(device.eui), "8F8B", world.now(), upgrade)
    dcc_alert(world, _occasion(device, upload), upload.user, codes.PPMID_ALERT, alert, ("8F8B",))
