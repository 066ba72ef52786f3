import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hanwave.identifiers import EUI64


@pytest.fixture(scope="session")
def supplier_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def device_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def supplier():
    return EUI64.parse("90-B3-D5-1F-30-01-00-00")


@pytest.fixture(scope="session")
def device():
    return EUI64.parse("00-DB-12-34-56-78-90-A0")
