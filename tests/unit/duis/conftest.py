from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, settings

from hanwave.credentials import Role
from hanwave.identifiers import EUI64
from infra.pki import Authority

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck))
"""For a machine that is busy with other things; the fixtures that are used never change."""

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SUPPLIER, DEVICE, ACB = (EUI64.parse(e) for e in ("90B3D51F30010000", "00DB1234567890A0", "90B3D51F30000002"))


@pytest.fixture(scope="session")
def authority():
    return Authority(at=AT)


@pytest.fixture(scope="session")
def supplier(authority):
    return authority.organisation(SUPPLIER, Role.XML_SIGN)


@pytest.fixture(scope="session")
def dcc(authority):
    return authority.organisation(ACB, Role.DSP_XML_SIGN)
