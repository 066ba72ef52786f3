"""xmlsec1 (libxmlsec) and hanwave, each verifying what the other signed."""

import re

import pytest

from hanwave.credentials import Role
from hanwave.duis import Request, SignatureError, TrustStore, read_signed, sign
from tests.peer.conftest import run
from tests.peer.messages import REQUESTS, RESPONSES, pretty, tampered
from tests.support.npm import program

pytestmark = pytest.mark.peer

MESSAGES = REQUESTS | RESPONSES


@pytest.fixture(scope="module")
def xmlsec1():
    return program("xmlsec1")


@pytest.fixture
def signer(supplier, dcc):
    return lambda message: supplier if isinstance(message, Request) else dcc


@pytest.fixture
def ours(signer, now):
    """A message as hanwave signs it."""

    def sign_it(message):
        return sign(message, signer(message).key, signer(message).certificate, now)

    return sign_it


@pytest.fixture
def verified(xmlsec1, file):
    """Whether xmlsec1 verifies a file with a certificate."""

    def verify(data, identity):
        certificate = file(identity.certificate_pem, "certificate.pem")
        return run(xmlsec1, "--verify", "--pubkey-cert-pem", certificate, file(data)).returncode == 0

    return verify


@pytest.fixture
def theirs(xmlsec1, file, signer, ours):
    """A message as xmlsec1 signs it, by a template of exactly our form."""

    def sign_it(message, template=None):
        template = template or emptied(ours(message))
        key = file(signer(message).key_pem, "key.pem")
        done = run(xmlsec1, "--sign", "--privkey-pem", key, file(template))
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return sign_it


def emptied(data):
    """A signed message as a template: without its digest and signature value."""
    return re.sub(rb"(<ds:(?:Digest|Signature)Value>)[^<]*", rb"\1", data)


def believe(data, identity, message, now):
    role = Role.XML_SIGN if isinstance(message, Request) else Role.DSP_XML_SIGN
    return read_signed(data, TrustStore([identity.certificate], role), now)


@pytest.mark.parametrize("name", MESSAGES)
def test_xmlsec1_verifies_what_hanwave_signs(name, ours, verified, signer):
    assert verified(ours(MESSAGES[name]), signer(MESSAGES[name]))


@pytest.mark.parametrize("name", MESSAGES)
def test_hanwave_verifies_what_xmlsec1_signs(name, theirs, signer, now):
    message, identity = MESSAGES[name], signer(MESSAGES[name])
    signed = believe(theirs(message), identity, message, now)
    assert (signed.message, signed.signer) == (message, identity.certificate)


def test_both_verify_a_message_that_was_laid_out_before_it_was_signed(ours, theirs, verified, signer, now):
    message = MESSAGES["11.3 CV4 dated"]
    data = theirs(message, pretty(emptied(ours(message))))
    assert verified(data, signer(message))
    assert believe(data, signer(message), message, now).message == message


@pytest.mark.parametrize("name", ["11.3 CV5", "11.3 answer", "N62"])
def test_neither_verifies_what_was_changed(name, ours, theirs, verified, signer, now):
    message, identity = MESSAGES[name], signer(MESSAGES[name])
    for data in (ours(message), theirs(message)):
        for changed in tampered(data).values():
            assert not verified(changed, identity)
            with pytest.raises(SignatureError):
                believe(changed, identity, message, now)


def test_neither_verifies_with_a_strangers_key(ours, theirs, verified, dcc, now):
    message = MESSAGES["11.3 CV5"]
    for data in (ours(message), theirs(message)):
        assert not verified(data, dcc)
        with pytest.raises(SignatureError):
            believe(data, dcc, message, now)
