"""The pre-command of an activation (CS06): what DCC's Transform Service returns, rebuilt here to be compared, and signed.

precommand is a pure function of its arguments and gives the octets that DCC gives (checked against DCC's vectors), so a
pre-command that differs by one octet is not the one that was asked for.
"""

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from hanwave.gbcs.bodies import ActivateFirmware, Cancel
from hanwave.gbcs.header import CRA, Header, MessageCode
from hanwave.gbcs.message import Form, build, read
from hanwave.gbcs.octets import GbcsError
from hanwave.gbcs.protection import signed
from hanwave.gbcs.values import check_activation_counter
from hanwave.identifiers import EUI64


def precommand(
    originator: EUI64, target: EUI64, counter: int, image_hash: bytes, at: datetime | Cancel | None = None
) -> bytes:
    """The CS06 pre-command: activate now (None), at a time (aware, whole seconds), or withdraw (CANCEL).

    counter is from 0 to 2^63-1, image_hash has 32 octets (GBCS 11.5); else GbcsError.
    """
    check_activation_counter(counter)
    header = Header(CRA.COMMAND, counter, originator, target, MessageCode.CS06)
    return build(header, ActivateFirmware(image_hash, counter, at))


def sign_precommand(precommand: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signed pre-command, for CV 5; GbcsError unless it is a CS06 pre-command that reads without fault.

    The caller has compared it with the one that it asked for: a signature is an order to a device.
    """
    message = read(precommand)
    if message.form is not Form.PRE_COMMAND or not isinstance(message.body, ActivateFirmware):
        raise GbcsError(
            f"only a CS06 pre-command is signed, this is a {message.form.value} with message code {message.header.code:04X}"
        )
    return signed(precommand, key)
