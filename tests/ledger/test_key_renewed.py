"""A signing key that is renewed in mid-campaign: what is in flight keeps its bytes, what comes after has the new signature."""

import pytest

from activities.dcc import NoAnswer
from activities.requests import Sender
from hanwave import duis, gbcs
from hanwave.credentials import Role
from hanwave.identifiers import EUI64
from hanwave.keys import Credentials
from hanwave.rollout.device import State
from hanwave.rollout.events import Leg
from tests.ledger.test_permit_and_outbox import hold_image
from tests.support import messages as m
from tests.support.ledger import US, World, eui
from tests.support.requests import Dcc
from tests.support.routing import ask
from tests.support.routing import deliver as hear

pytestmark = pytest.mark.ledger


def signed_by(dcc: Dcc, number: int) -> gbcs.Message:
    """The signed command of the n-th request that the DCC was sent."""
    body = dcc.asked[number].body
    assert isinstance(body, duis.SignedPreCommand)
    return gbcs.read(body.payload)


def test_what_is_in_flight_keeps_its_bytes_and_what_comes_after_is_signed_by_the_new_key(world: World):
    pki = m.Pki()
    dcc = Dcc(pki, lambda: world.now)
    renewed = pki.authority.organisation(EUI64.parse(str(m.US)), Role.SUPPLIER)
    old, new = (
        Sender(
            world.engine,
            dcc,
            {US: Credentials(pki.ours.key, pki.ours.certificate, each.key, each.certificate, pki.trust)},
            lambda: world.now,
        )
        for each in (pki.gbcs, renewed)
    )
    one, two = hold_image(world, 2)
    in_flight = ask(world, [one], Leg.ACTIVATE, "11.3")
    dcc.fails["send_command"] = [NoAnswer("the answer was lost")]
    assert old.deliver(in_flight.outbox_id).state == "ambiguous"
    assert new.deliver(in_flight.outbox_id).state == "acknowledged"
    assert dcc.posts[1] == dcc.posts[2]
    assert gbcs.verify_signature(signed_by(dcc, 2), pki.gbcs.key.public_key())

    after = ask(world, [two], Leg.ACTIVATE, "11.3")
    assert new.deliver(after.outbox_id).state == "acknowledged"
    command = signed_by(dcc, 4)
    assert gbcs.verify_signature(command, renewed.key.public_key())
    assert not gbcs.verify_signature(command, pki.gbcs.key.public_key())

    world.later(minutes=1)
    for number, granted in enumerate((in_flight, after)):
        request = m.asked(EUI64.parse(eui(number)), int(str(granted.request_id).rsplit(":", 1)[-1]))
        assert str(request) == granted.request_id
        hear(world, m.outcome(request, at=world.now))
    assert [world.state(one), world.state(two)] == [State.CONFIRMED, State.CONFIRMED]
