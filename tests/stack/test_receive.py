"""The receive service over real HTTPS and PostgreSQL: what was answered 204 is kept, whatever dies when."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

import hanwave.cli.inbox
import workers.loops
import workers.receive
from hanwave import duis, settings
from hanwave.identifiers import EUI64
from hanwave.ledger import inbox, receipt, routing
from hanwave.rollout.device import State
from hanwave.rollout.events import Leg
from tests.support import messages as m
from tests.support.ledger import World, eui
from tests.support.receiving import HOST, Tls, free_port, receiving, until
from tests.support.routing import activating, ask, distributed, post

pytestmark = [pytest.mark.part, pytest.mark.fault]


@pytest.fixture(scope="module")
def pki():
    return m.Pki()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def world(ledger):
    return World(ledger, now=datetime.now(UTC))


def routes(world: World) -> list[str | None]:
    with world.engine.connect() as connection:
        return list(connection.execute(text("SELECT route FROM inbox ORDER BY id")).scalars())


def all_routed(world: World) -> bool:
    return world.count("inbox", "routed_at IS NULL AND verified") == 0


def signed(pki: m.Pki, message: duis.Response) -> bytes:
    return pki.signed(message, at=datetime.now(UTC))


def test_a_message_is_kept_routed_and_its_workflow_woken(world, tls, pki):
    update_id, request = activating(world)
    with receiving(world.engine, tls, pki) as service:
        assert service.post(signed(pki, m.outcome(request, at=world.now))) == 204
        until(lambda: service.woken)
    assert world.state(update_id) is State.CONFIRMED
    assert [(w.campaign, w.update_id, w.wake.state) for w in service.woken] == [("spring", update_id, "confirmed")]


def test_a_message_of_the_transform_signer_is_taken_too(world, tls, pki):
    distributed(world)
    with receiving(world.engine, tls, pki) as service:
        assert service.post(pki.signed(m.verified(at=world.now), pki.transform, datetime.now(UTC))) == 204


def test_a_message_delivered_again_newly_signed_and_dated_counts_as_a_copy(world, tls, pki):
    _, request = activating(world)
    message = m.outcome(request, at=world.now)
    with receiving(world.engine, tls, pki) as service:
        for at in (world.now, world.now, world.later(minutes=5)):
            assert service.post(signed(pki, dataclasses.replace(message, at=at))) == 204
        until(lambda: all_routed(world))
    assert world.count("inbox", "verified") == 2  # the verification that `activating` stored, and one outcome
    assert world.count("inbox", "copies = 3") == 1
    assert world.count("device_event", "kind = 'activated'") == 1


def test_two_messages_under_one_response_id_are_both_kept(world, tls, pki):
    with receiving(world.engine, tls, pki) as service:
        for image_hash in (bytes(32), m.HASH):
            assert service.post(signed(pki, m.verified(image_hash=image_hash))) == 204
    assert world.count("inbox") == 2


def test_with_the_engine_down_messages_are_kept_and_routed_and_the_sweep_finds_the_device(world, tls, pki):
    update_id, request = activating(world)
    with receiving(world.engine, tls, pki) as service:
        service.engine_is_down = True
        assert service.post(signed(pki, m.error(request, "E21", at=world.now))) == 204
        until(lambda: all_routed(world))
    assert world.state(update_id) is State.UNKNOWN
    assert world.count("campaign_device", "step IN ('read', 'wait') AND due_at IS NOT NULL") == 1


# The ledger, or this process, goes at each step in turn.


def break_once(monkeypatch, module, name, error, *, after=False):
    real, broken = getattr(module, name), []

    def step(*args, **kwargs):
        done = real(*args, **kwargs) if after or broken else None
        if not broken:
            broken.append(True)
            raise error
        return done

    monkeypatch.setattr(module, name, step)


class Killed(BaseException):
    """Nothing of ours catches it: as good as the end of the process, for a step."""


def test_with_the_ledger_down_the_dcc_is_asked_to_try_again(world, tls, pki):
    raw = signed(pki, m.verified())
    with receiving(world.engine, tls, pki) as service:
        with world.engine.begin() as connection:
            connection.execute(text("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE"))
            service.client.timeout = 40
            pytest.MonkeyPatch().setattr(workers.receive, "STORE_SECONDS", 0.5)
            assert service.post(raw) == 503
        assert service.post(raw) == 204
        until(lambda: all_routed(world))
    assert routes(world) == ["foreign"]


@pytest.mark.parametrize("after", [False, True], ids=["before it is stored", "after it was stored"])
def test_killed_before_the_answer_the_next_delivery_loses_and_doubles_nothing(world, tls, pki, monkeypatch, after):
    update_id, request = activating(world)
    raw = signed(pki, m.outcome(request, at=world.now))
    break_once(monkeypatch, workers.receive, "keep", RuntimeError("killed"), after=after)
    with receiving(world.engine, tls, pki) as service:
        assert service.post(raw) == 500
        assert service.post(raw) == 204
        until(lambda: world.state(update_id) is State.CONFIRMED)
    assert world.count("device_event", "kind = 'activated'") == 1


def test_killed_after_the_answer_another_process_routes_what_was_kept(world, tls, pki):
    update_id, request = activating(world)
    raw = signed(pki, m.outcome(request, at=world.now))
    with world.engine.begin() as connection:
        receipt.keep(connection, receipt.judge(raw, pki.trust, datetime.now(UTC)), raw, datetime.now(UTC))
    with receiving(world.engine, tls, pki) as service:
        until(lambda: service.woken)
    assert world.state(update_id) is State.CONFIRMED


@pytest.mark.parametrize("step", ["_understand", "_match", "record", "_tell_fleet", "_tell_people"])
def test_killed_in_the_middle_of_routing_nothing_is_half_done(world, monkeypatch, step):
    update_id, request = activating(world)
    with world.engine.begin() as connection:
        inbox.store(connection, "k", duis.write(m.outcome(request, at=world.now)), world.now, verified=True)
    before = world.count("device_event")
    with monkeypatch.context() as broken:
        break_once(broken, routing, step, Killed(), after=step != "_understand")
        with pytest.raises(Killed):
            workers.loops.route_some(world.engine, world.now, 1)
    assert world.count("device_event") == before
    assert world.count("inbox", "routed_at IS NULL") == 1
    assert workers.loops.route_some(world.engine, world.now, 1)[0].wakes
    assert world.state(update_id) is State.CONFIRMED


def test_a_message_that_breaks_the_router_is_set_aside_and_holds_up_no_other(world, tls, pki, monkeypatch):
    _, request = activating(world)
    poison = m.device_alert("81AD", b"x", at=world.now)
    real = routing.findings

    def findings(message):
        if message.response_id == poison.response_id:
            raise ZeroDivisionError("a defect")
        return real(message)

    monkeypatch.setattr(routing, "findings", findings)
    with receiving(world.engine, tls, pki) as service:
        assert service.post(signed(pki, poison)) == 204
        assert service.post(signed(pki, m.outcome(request, at=world.now))) == 204
        until(lambda: all_routed(world))
    assert routes(world)[1:] == ["unread", "ours"]
    with world.engine.begin() as connection:
        (waiting,) = receipt.refused(connection)
        assert waiting.verified
        assert "a defect" in waiting.reason
        monkeypatch.undo()
        assert receipt.replay(connection, waiting.id, pki.trust, world.now) is None
    assert workers.loops.route_some(world.engine, world.now, 1)[0].route == "foreign"


# Neighbours.


def test_messages_of_other_systems_are_handed_on_and_ours_are_not(world, tls, pki):
    update_id, request = activating(world)
    handed: list[bytes] = []
    theirs = [signed(pki, m.version_read(m.asked(counter=n), "00000001", at=world.now)) for n in range(10)]

    def hand_on(raw: bytes) -> bool:
        handed.append(raw)
        return True

    with receiving(world.engine, tls, pki, hand_on) as service:
        for raw in [*theirs, signed(pki, m.outcome(request, at=world.later(minutes=1)))]:
            assert service.post(raw) == 204
        until(lambda: len(handed) == 10 and all_routed(world))
    assert sorted(handed) == sorted(theirs)
    assert world.state(update_id) is State.CONFIRMED
    assert world.count("inbox", "forwarded_at IS NOT NULL") == 10


def test_a_message_that_the_other_system_never_takes_holds_up_no_other(world, tls, pki, monkeypatch):
    monkeypatch.setattr(workers.loops, "PAUSE_SECONDS", 0.05)
    bad, good = (signed(pki, m.version_read(m.asked(counter=n))) for n in (1, 2))
    handed: list[bytes] = []

    def hand_on(raw: bytes) -> bool:
        handed.append(raw)
        return raw == good

    with receiving(world.engine, tls, pki, hand_on) as service:
        assert [service.post(bad), service.post(good)] == [204, 204]
        until(lambda: good in handed and handed.count(bad) > 2)
    assert handed.count(good) == 1
    assert world.count("inbox", "forwarded_at IS NULL AND forward_tries > 2") == 1


def test_killed_while_handing_on_the_message_is_handed_on_again(world, pki):
    with world.engine.begin() as connection:
        inbox.store(connection, "k", duis.write(m.version_read(m.asked())), world.now, verified=True)
    workers.loops.route_some(world.engine, world.now, 1)
    handed: list[bytes] = []

    def die(raw: bytes) -> bool:
        handed.append(raw)
        raise Killed

    loops = workers.loops.Loops(world.engine, lambda: world.now, None, die)
    with pytest.raises(Killed):
        loops._forward_one(die)
    assert loops._forward_one(lambda raw: not handed.append(raw)) is True
    assert len(handed) == 2
    assert loops._forward_one(die) is None


def test_a_refused_message_is_taken_in_once_the_trust_store_is_mended(world, tls, pki):
    update_id, request = activating(world)
    raw = pki.signed(m.outcome(request, at=world.now), pki.stranger, datetime.now(UTC))
    with receiving(world.engine, tls, pki) as service:
        assert service.post(raw) == 400
    mended = duis.TrustStore([pki.stranger.certificate])
    with world.engine.begin() as connection:
        (waiting,) = receipt.refused(connection)
        assert "no trusted certificate" in receipt.replay(connection, waiting.id, pki.trust, world.now)
        assert receipt.replay(connection, waiting.id, mended, world.now) is None
        assert receipt.refused(connection) == []
        assert "not one that waits" in receipt.replay(connection, waiting.id, mended, world.now)
    assert workers.loops.route_some(world.engine, world.now, 1)[0].wakes
    assert world.state(update_id) is State.CONFIRMED


# The process itself.


def environment(world: World, tls: Tls, pki: m.Pki, dsn: str, told) -> dict[str, str]:
    tls.file("signer.pem").write_bytes(pki.dcc.certificate_pem)
    return os.environ | settings.variables(
        {
            "postgres.dsn": dsn,
            "temporal.address": f"{HOST}:{free_port()}",
            "trust.certificates": json.dumps([str(tls.file("signer.pem"))]),
            **{f"receive.{name}": str(value) for name, value in told.model_dump(exclude_none=True).items()},
        }
    )


@contextlib.contextmanager
def process(told, variables, folder):
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen([sys.executable, "-m", "workers.receive"], env=variables, stdout=log, stderr=log)
        try:
            until(lambda: _listens(told.port) or running.poll() is not None, 30)
            assert running.poll() is None, (folder / "log").read_text()
            yield running
        finally:
            running.kill()
            running.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port)):
        return True
    return False


def test_the_process_killed_in_the_midst_of_deliveries_loses_nothing_that_it_took(
    world, tls, pki, ledger_dsn, tmp_path
):
    """With the engine down all the while, too."""
    world.fleet(40)
    ids = world.campaign([eui(n) for n in range(40)])
    post(world, ask(world, ids, Leg.DISTRIBUTE, "11.1", m.ACB))
    told = tls.receive(free_port())
    raws = [signed(pki, m.verified(EUI64.parse(eui(n)), at=world.now)) for n in range(40)]
    variables = environment(world, tls, pki, ledger_dsn, told)
    url = f"https://{HOST}:{told.port}{told.path}"
    waiting = list(raws)
    with tls.client() as client:
        for lives in (7, 9, 100):
            with process(told, variables, tmp_path) as running:
                for raw in waiting[:lives]:
                    assert client.post(url, content=raw, headers={"Connection": "close"}).status_code == 204
                waiting = waiting[lives:]
                if not waiting:
                    until(lambda: all_routed(world))
                    running.terminate()
                    assert running.wait(20) in (0, -signal.SIGTERM)
    assert world.count("inbox") == 40
    assert {world.state(update_id) for update_id in ids} == {State.HELD}


def test_the_process_says_in_one_sentence_what_it_lacks(tls, tmp_path):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("HANWAVE_")}
    run = subprocess.run(
        [sys.executable, "-m", "workers.receive"],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "the setting receive is missing" in run.stderr.splitlines()[-1]


def test_the_command_line_lists_what_was_refused_and_takes_it_in(world, tls, pki, ledger_dsn, monkeypatch, capsys):
    _, request = activating(world)
    raw = pki.signed(m.outcome(request, at=world.now), pki.stranger, datetime.now(UTC))
    with world.engine.begin() as connection:
        receipt.keep(connection, receipt.judge(raw, pki.trust, datetime.now(UTC)), raw, datetime.now(UTC))
    for name, value in environment(world, tls, pki, ledger_dsn, tls.receive(1)).items():
        monkeypatch.setenv(name, value)
    assert command(capsys, "list", "--json")["messages"][0]["verified"] is False
    assert command(capsys, "replay", "--json", code=1)["taken_in"] == 0
    tls.file("signer.pem").write_bytes(pki.stranger.certificate_pem)
    assert command(capsys, "replay", "--json") == {"taken_in": 1, "still_refused": {}}
    assert command(capsys, "list", "--json")["waiting_to_be_routed"] == 1
    assert workers.loops.route_some(world.engine, world.now, 1)[0].wakes


def command(capsys, *words: str, code: int = 0) -> dict:
    with pytest.raises(SystemExit) as ended:
        hanwave.cli.inbox.app(words)
    assert ended.value.code == code
    return json.loads(capsys.readouterr().out)
