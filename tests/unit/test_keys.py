"""The keys of an installation: each User ID's own, read from the files that the settings name."""

from pathlib import Path

import pytest

from hanwave.credentials import CredentialError, Role
from hanwave.identifiers import EUI64
from hanwave.keys import load_keys, of_user
from hanwave.settings import Settings, Signing, Trust
from infra.pki import Authority, Identity

pytestmark = pytest.mark.unit
US, THEM = EUI64.parse("90-B3-D5-1F-30-01-00-00"), EUI64.parse("90-B3-D5-1F-30-02-00-00")
AUTHORITY = Authority()


def files(folder: Path, name: str, identity: Identity) -> tuple[Path, Path]:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    key.write_bytes(identity.key_pem)
    certificate.write_bytes(identity.certificate_pem)
    return key, certificate


def signing(folder: Path, xml: EUI64, gbcs: EUI64) -> Signing:
    """Fresh keys of those User IDs."""
    name = f"{xml}-{gbcs}"
    xml_key, xml_certificate = files(folder, f"{name}-xml", AUTHORITY.organisation(xml, Role.XML_SIGN))
    gbcs_key, gbcs_certificate = files(folder, f"{name}-gbcs", AUTHORITY.organisation(gbcs, Role.SUPPLIER))
    return Signing(
        xml_key=xml_key, xml_certificate=xml_certificate, gbcs_key=gbcs_key, gbcs_certificate=gbcs_certificate
    )


@pytest.fixture
def trust(tmp_path) -> Trust:
    _, certificate = files(tmp_path, "dcc", AUTHORITY.organisation(US, Role.DSP_XML_SIGN))
    return Trust(certificates=(certificate,))


def test_each_user_id_signs_with_its_own_keys_and_whoever_has_none_with_nobodys(tmp_path, trust):
    suppliers = {"gas": signing(tmp_path, THEM, THEM)}
    keys = load_keys(Settings(signing=signing(tmp_path, US, US), suppliers=suppliers, trust=trust))
    for user in (US, THEM):
        own = of_user(keys, str(user))
        assert own.xml_certificate.eui == own.gbcs_certificate.eui == user
    with pytest.raises(CredentialError, match=r"nothing here signs for the User ID 90-B3-D5-1F-30-03-00-00") as refused:
        of_user(keys, "90-B3-D5-1F-30-03-00-00")
    assert len(str(refused.value)) <= 240


def test_keys_of_two_user_ids_are_not_taken_for_ones(tmp_path, trust):
    with pytest.raises(CredentialError, match=f"is of {US} and .* of {THEM}"):
        load_keys(Settings(signing=signing(tmp_path, US, THEM), trust=trust))


def test_two_keys_of_one_user_id_are_refused(tmp_path, trust):
    twice = signing(tmp_path, US, US)
    with pytest.raises(CredentialError, match=f"{US} is signed for twice"):
        load_keys(Settings(signing=twice, suppliers={"again": twice}, trust=trust))
