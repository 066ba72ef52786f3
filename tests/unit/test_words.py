"""What people write is kept as they meant it, however it was written; and a halt is never refused for it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanwave.ledger.notes import Said
from hanwave.plain_json import read_json
from hanwave.rollout.request import RequestError, parse_request
from hanwave.words import line, person
from workflows import verbs

pytestmark = pytest.mark.unit

ANY = st.text(st.characters(), max_size=300)
"""With surrogates, controls and NUL, which a JSON input may hold and PostgreSQL does not take."""
VALUES = st.one_of(ANY, st.none(), st.integers(), st.floats(), st.lists(ANY, max_size=2))
AS_SENT = st.one_of(VALUES, st.dictionaries(st.sampled_from(["actor", "reason", "key", "x"]), VALUES, max_size=4))


@given(AS_SENT)
def test_whatever_is_sent_is_a_halt_that_the_ledger_takes(raw):
    verb = verbs.read_halt(raw)
    said = Said(verb.actor, "halt", "campaign/spring", verb.reason, key=verb.key)
    for kept in (said.actor, said.reason, said.key or "x"):
        assert kept.isprintable()
        assert 0 < len(kept.encode()) <= 4 * 1000


@given(ANY, st.integers(3, 50))
def test_a_line_is_printable_and_no_longer_than_it_may_be(text, most):
    assert line(text, most).isprintable()
    assert len(line(text, most)) <= most


@pytest.mark.parametrize("name", ["Ann", " ann", "ANN\n", "\uff41nn", "a\u200bnn".replace("\u200b", ""), "ann\u00a0"])
def test_the_same_name_in_another_spelling_is_the_same_person(name):
    assert person(name) == person("ann") != person("anna")


def test_another_spelling_of_the_author_is_no_other_person():
    verb = verbs.read(verbs.Approve, {"actor": " Ann\t", "digest": "0"})
    assert verb.actor == "Ann"
    assert person(verb.actor) == person(parse_request({"release": "r2", "author": "ann "}).author)


@pytest.mark.parametrize("author", [{}, {"author": ""}, {"author": " "}, {"author": "claimed:unknown"}])
def test_a_plan_whose_author_nobody_knows_cannot_ask_for_approvals_by_others(author):
    assert parse_request({"release": "r2", **author})
    with pytest.raises(RequestError, match="so it should say who that is: author"):
        parse_request({"release": "r2", "approvals": 1, **author})


@pytest.mark.parametrize("field", ["release", "seed", "author", "user_id", "rollback_of", "retry_of", "fallbacks"])
@pytest.mark.parametrize("value", ["\x00", "\ud800", "\x1b[2J", "a\nb", "x" * 201])
def test_a_request_that_the_ledger_could_not_keep_is_refused_in_a_sentence(field, value):
    with pytest.raises(RequestError, match=f"{field}.*(printable|200 characters|unicode string)"):
        parse_request({"release": "r2", field: value})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"release": "r2", "release": "r3"}', "'release' stands twice"),
        ('{"release": "r2", "approvals": NaN}', "NaN is no number"),
        ("[" * 100_000, "it nests too deep"),
        ('{"a":' * 100_000, "it nests too deep"),
    ],
)
def test_json_that_says_two_things_or_has_no_bottom(text, why):
    with pytest.raises(RequestError, match=why):
        parse_request(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_plain_json_is_read_as_it_is(value):
    assert read_json(json.dumps(value)) == value
