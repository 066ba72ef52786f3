"""Webhooks on a real ledger and a real HTTPS receiver: in order, at least once, under one id, and none for another's sake."""

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest
from jsonschema import Draft202012Validator

from hanwave.ledger import campaigns, control, gauges, lifting, notes, stops, webhook_events, webhooks
from hanwave.ledger.database import LedgerError
from hanwave.ledger.stops import Scope
from hanwave.ledger.webhooks import START, Again, Refused
from tests.support.hooks import say
from tests.support.ledger import US, World
from workers import schemas
from workers.webhooks import judged

pytestmark = pytest.mark.ledger
URL = "https://events.example.com/hanwave"
DAY = timedelta(days=1)
OTHER = "90-B3-D5-1F-30-01-00-FF"


class Posts:
    """What a hook was sent, without a network; `answer` decides."""

    def __init__(self, answer: Callable[[dict], Refused | None] = lambda _: None) -> None:
        self.sent: list[tuple[str, dict]] = []
        self.answer = answer

    def __call__(self, _name, _url, event):
        body = json.loads(event.body)
        self.sent.append((event.message, body))
        return self.answer(body)

    @property
    def types(self) -> list[str]:
        return [body["type"] for _, body in self.sent]


def hook(world: World, name: str = "billing", url: str = URL, user_id: str | None = None) -> None:
    with world.engine.begin() as connection:
        webhooks.add(connection, name, url, "ann", world.now, user_id)


def number(world: World, **how: bool) -> int:
    with world.engine.begin() as connection:
        return webhook_events.number(connection, **how)


def tell(world: World, post: Posts, name: str = "billing") -> list[bool]:
    """Tell a hook whatever is due."""
    number(world)
    return list(iter(lambda: webhooks.tell_one(world.engine, name, post, lambda: world.now, 3 * DAY), None))


def resend(world: World, **what: str) -> int:
    with world.engine.begin() as connection:
        return webhooks.resend(connection, "billing", Again("ann", **what), world.now)


def behind(world: World) -> list[webhooks.Told]:
    with world.engine.begin() as connection:
        return webhooks.listed(connection)[0].behind


def test_what_happens_to_a_campaign_is_told_in_order_by_the_published_schema(world):
    hook(world)
    world.campaign(world.fleet(3))
    say(world, "plan", digest="d", release="r2", waves=[3])
    control.approve(world.engine, "spring", "digest-spring", "bob")
    with world.engine.begin() as connection:
        notes.add(connection, notes.Said("hanwave", "open wave", "campaign/spring/wave/1"), world.now)
        stops.open_breaker(connection, "spring/1", "harmed", world.now)
    control.halt(world.engine, Scope("wave", "spring/1"), "too many", "ann", patience=0)
    control.resume(world.engine, "spring", notes.By("ann", "mended", "digest-spring"))
    control.pause(world.engine, "spring", None, "storm", "ann")
    with world.engine.begin() as connection:
        campaigns.close(connection, "spring", world.now)
    post = Posts()
    assert set(tell(world, post)) == {True}
    assert post.types == [
        *("campaign.planned", "campaign.approved", "wave.opened", "wave.breaker_opened", "halted"),
        *("campaign.resumed", "campaign.paused", "campaign.closed"),
    ]
    told = [body["data"] for _, body in post.sent]
    assert {each["campaign"] for each in told} == {"spring"}
    assert [each["wave"] for each in told] == [None, None, 1, 1, 1, None, None, None]
    assert (told[0]["releases"], told[0]["waves"]) == (["r2"], [3])
    assert (told[4]["scope"], told[4]["reason"], told[4]["actor"]) == ("wave spring/1", "too many", "ann")
    check = Draft202012Validator(schemas.schema("webhook"))
    assert [error.message for _, body in post.sent for error in check.iter_errors(body)] == []
    assert not any(eui in json.dumps(post.sent) for eui in world.exposed() or ["00-DB-00"])
    assert tell(world, post) == []


def test_a_rollback_and_a_verdict_are_told_with_what_came_of_them(world):
    hook(world)
    world.campaign(world.fleet(1))
    say(world, "roll back", releases=["r1"], digest="d", answer={"campaigns": ["spring-back-1"], "left_out": {}})
    with world.engine.begin() as connection:
        verdict = notes.Said("hanwave", "judge", "campaign/spring/wave/2", "harm", {"verdict": "fail", "inputs": {}})
        notes.add(connection, verdict, world.now)
    post = Posts()
    tell(world, post)
    back, judgement = (body["data"] for _, body in post.sent)
    assert (back["releases"], back["rollbacks"]) == (["r1"], ["spring-back-1"])
    assert (judgement["wave"], judgement["verdict"], judgement["reason"]) == (2, "fail", "harm")


def test_what_was_before_and_what_is_of_a_device_is_not_told(world):
    say(world, "plan")
    hook(world)
    with world.engine.begin() as connection:
        for verb, subject in (
            ("cancel device", "campaign/spring/device/00-DB-00-00-00-00-00-00"),
            ("halt", "campaign/spring/device/00-DB-00-00-00-00-00-00"),
            ("left", "device/00-DB-00-00-00-00-00-00"),
            ("lookup", "home"),
        ):
            notes.add(connection, notes.Said("ann", verb, subject), world.now)
    post = Posts()
    assert tell(world, post) == []


def test_a_note_that_commits_behind_a_younger_one_is_told_all_the_same(world):
    """The trap of tailing a table by its ids."""
    hook(world)
    post = Posts()
    with world.engine.begin() as slow:
        notes.add(slow, notes.Said("ann", "plan", "campaign/autumn"), world.now)
        say(world, "plan", "spring")
        tell(world, post)
        assert [body["data"]["campaign"] for _, body in post.sent] == ["spring"]
    tell(world, post)
    assert [body["data"]["campaign"] for _, body in post.sent] == ["spring", "autumn"]


def test_one_that_took_hours_to_commit_is_found_by_the_whole_pass(world, monkeypatch):
    monkeypatch.setattr(webhook_events, "_MARGIN", 2)
    hook(world)
    with world.engine.begin() as slow:
        notes.add(slow, notes.Said("ann", "plan", "campaign/autumn"), world.now)
        for _ in range(5):
            say(world, "approve")
        number(world)
    assert (number(world), number(world, whole=True), number(world, whole=True)) == (0, 1, 0)


def test_a_failing_event_is_tried_less_and_less_often_under_its_id_and_keeps_the_later_ones_of_its_campaign_back(world):
    hook(world)
    say(world, "plan")
    say(world, "approve")
    say(world, "plan", "autumn")
    post = Posts(lambda body: Refused("it answered 500") if body["data"]["campaign"] == "spring" else None)
    assert sorted(tell(world, post)) == [False, True]
    assert tell(world, post) == []
    waits = []
    for _ in range(4):
        [told] = behind(world)
        waits.append((told.next_try - world.now).total_seconds())
        world.now = told.next_try
        assert tell(world, post) == [False]
    assert [5 * 2**n * 0.8 <= wait <= 5 * 2**n * 1.2 for n, wait in enumerate(waits)] == [True] * 4
    assert (told.campaign, told.events, told.tries, told.error) == ("spring", 2, 4, "it answered 500")
    assert len({message for message, body in post.sent if body["data"]["campaign"] == "spring"}) == 1
    post.answer = lambda _: None
    world.later(hours=2)
    assert tell(world, post) == [True, True]
    assert post.types[-2:] == ["campaign.planned", "campaign.approved"]
    assert behind(world) == []


def test_it_is_given_up_after_a_while_goes_on_where_it_was_when_asked_and_says_what_it_is_behind_with(world):
    hook(world)
    say(world, "plan")
    say(world, "approve")
    post = Posts(lambda _: Refused("it could not be reached"))
    while not tell(world, post) or behind(world)[0].gave_up_at is None:
        world.later(hours=1)
    assert 3 * DAY <= behind(world)[0].gave_up_at - behind(world)[0].failing_since < 3 * DAY + timedelta(hours=3)
    world.later(days=30)
    with world.engine.begin() as connection:
        found = {(each.name, each.labels): each.value for each in gauges.read(connection, world.now, gauges.Bounds())}
    assert found["webhook_given_up_campaigns", ("billing",)] == found["webhook_failing_campaigns", ("billing",)] == 1
    assert found["webhook_waiting_events", ("billing",)] == 2
    assert found["webhook_failing_timestamp_seconds", ("billing",)] == behind(world)[0].failing_since.timestamp()
    say(world, "close")
    assert tell(world, post) == []
    assert behind(world)[0].events == 3
    post.answer = lambda _: None
    assert resend(world) == 1
    post.sent.clear()
    assert tell(world, post) == [True] * 3
    assert post.types == ["campaign.planned", "campaign.approved", "campaign.closed"]
    with pytest.raises(LedgerError, match="nothing has failed for webhook 'billing'"):
        resend(world)


def test_who_says_that_it_is_gone_is_given_up_at_once(world):
    assert judged(410).gone
    hook(world)
    say(world, "plan")
    tell(world, Posts(lambda _: judged(410)))
    assert behind(world)[0].gave_up_at == world.now


def test_events_are_sent_again_from_the_start_or_past_one_that_a_system_will_never_take(world):
    say(world, "plan")
    hook(world)
    say(world, "approve")
    say(world, "pause")
    post = Posts(lambda body: Refused("it answered 400") if body["type"] == "campaign.approved" else None)
    tell(world, post)
    [(poison, _)] = post.sent
    assert resend(world, campaign="spring", after=poison) == 1
    assert tell(world, post) == [True]
    post.answer = lambda _: None
    assert resend(world, campaign="spring", after=START) == 1
    post.sent.clear()
    assert tell(world, post) == [True] * 3
    assert post.types == ["campaign.planned", "campaign.approved", "campaign.paused"]
    assert post.sent[1][0] == poison
    for what, why in (
        ({"after": START}, "--after is of one campaign"),
        ({"campaign": "spring", "after": "msg_0"}, "campaign 'spring' has no event 'msg_0'"),
        ({"campaign": "autumn", "after": START}, "campaign 'autumn' has no event"),
    ):
        with pytest.raises(LedgerError, match=why):
            resend(world, **what)


def test_nobody_tells_a_hook_that_another_process_is_telling_and_what_that_did_not_record_is_told_again(world):
    hook(world)
    say(world, "plan")
    number(world)
    again = Posts()

    def meanwhile(_: dict) -> None:
        assert webhooks.tell_one(world.engine, "billing", again, lambda: world.now, DAY) is None
        raise KeyboardInterrupt

    first = Posts(meanwhile)
    with pytest.raises(KeyboardInterrupt):
        tell(world, first)
    assert again.sent == []
    assert tell(world, again) == [True]
    assert again.sent == first.sent


def test_each_user_id_hears_of_its_own_campaigns_and_everybody_of_what_stops_all(world):
    world.campaign(world.fleet(1))
    hook(world, user_id=US)
    hook(world, "theirs", user_id=OTHER)
    hook(world, "all")
    say(world, "approve")
    for scope in (Scope("all"), Scope("user", US), Scope("model", "121D/1111"), Scope("user", OTHER)):
        control.halt(world.engine, scope, "storm", "ann", patience=0)
    lifting.lift(world.engine, 1, "it is over", "bob")
    told = {}
    for name in ("billing", "theirs", "all"):
        tell(world, post := Posts(), name)
        told[name] = [body["data"]["scope"] for _, body in post.sent if not body["data"]["campaign"]]
        assert ("campaign.approved" in post.types) == (name != "theirs")
    model = "model 121D/1111"
    assert told["billing"] == ["all", f"user {US}", model, "all"]
    assert told["theirs"] == ["all", model, f"user {OTHER}", "all"]
    assert told["all"] == ["all", f"user {US}", model, f"user {OTHER}", "all"]
    assert post.types[-1] == "lifted"
    with world.engine.begin() as connection:
        assert [each.name for each in webhooks.listed(connection, OTHER)] == ["theirs"]
        with pytest.raises(LedgerError, match="there is no webhook 'billing'; there are theirs"):
            webhooks.remove(connection, "billing", "mine now", "eve", world.now, OTHER)


def test_nobody_has_a_hook_told_again_of_a_campaign_that_is_not_of_its_user_id(world):
    world.campaign(world.fleet(1))
    say(world, "approve", reason="a secret of ours")
    hook(world, "theirs", user_id=OTHER)
    for after in (None, START):
        for asks in (OTHER, None):
            with world.engine.begin() as connection, pytest.raises(LedgerError, match="no campaign 'spring'"):
                webhooks.resend(connection, "theirs", Again("eve", "spring", after), world.now, asks)
    post = Posts()
    assert tell(world, post, "theirs") == []
    control.halt(world.engine, Scope("all"), "storm", "ann", patience=0)
    tell(world, post, "theirs")
    with world.engine.begin() as connection:
        assert webhooks.resend(connection, "theirs", Again("eve", "", START), world.now, OTHER) == 1
    tell(world, post, "theirs")
    assert post.types == ["halted"] * 2


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("../etc", URL),
        ("Billing", URL),
        ("", URL),
        ("billing", "http://events.example.com"),
        ("billing", "https://bob:pass@events.example.com"),
        ("billing", "https://"),
        ("billing", "https://[::1"),
        ("billing", "https://events.example.com:70000/"),
        ("billing", "https://events.example.com/\x1b[31m"),
    ],
)
def test_what_is_no_name_or_no_address_is_refused_and_a_password_not_repeated(world, name, url):
    with pytest.raises(LedgerError, match="should be") as refused:
        hook(world, name, url)
    assert "pass" not in str(refused.value).replace("password", "")


def test_as_many_as_there_may_be(world):
    hook(world)
    with pytest.raises(LedgerError, match="there is a webhook 'billing' already"):
        hook(world)
    numbers = count()
    while world.count("webhook") < webhooks.MOST:
        hook(world, f"h{next(numbers)}")
    with pytest.raises(LedgerError, match="there are 20 webhooks"):
        hook(world, "one-more")
