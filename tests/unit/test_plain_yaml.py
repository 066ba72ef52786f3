import time

import pytest

from hanwave.errors import HanwaveError
from hanwave.plain_yaml import MAX_DEPTH, MAX_OCTETS, read_yaml

pytestmark = pytest.mark.unit


class TableError(HanwaveError):
    pass


def test_plain_yaml_is_read_from_text_and_from_octets():
    assert read_yaml("a: [1, x]  # why\n", "the table", TableError) == {"a": [1, "x"]}
    assert read_yaml(b"\xef\xbb\xbfa: 1", "the table", TableError) == {"a": 1}
    assert read_yaml("", "the table", TableError) is None


def test_as_deep_as_may_be():
    assert read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "the table", TableError)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "the table is not plain YAML: while parsing"),
        ("a: 1\na: 2", "'a' stands twice in one place"),
        ("b: {a: 1, 'a': 2}", "'a' stands twice in one place"),
        ("a: &x 1\nb: *x", "refers to another part of itself"),
        ("a: !!python/object:os.system {}", "it holds a tag, 'tag:yaml.org,2002:python/object:os"),
        ("!!timestamp x", "it holds a tag"),
        ("a: !!int ''", "it holds a tag"),
        ("!!bool x", "it holds a tag"),
        ("!!map [a, b]", "it holds a tag"),
        ("[a]: 1", "found unhashable key"),
        ("a: 2026-02-30", "day is out of range"),
        ("\0", "unacceptable"),
        (b"\xff\xfe\x00", "is not plain YAML"),
        ("--- a\n--- b", "expected a single document"),
        ("[" * 100_000, f"more than {MAX_DEPTH} levels deep"),
        ("- " * 10_000, f"more than {MAX_DEPTH} levels deep"),
        (" " * (MAX_OCTETS + 1), f"the table has {MAX_OCTETS + 1} octets"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_plain_is_refused_at_once(text, sentence):
    started = time.process_time()
    with pytest.raises(TableError, match=sentence) as refused:
        read_yaml(text, "the table", TableError)
    assert time.process_time() - started < 0.05
    assert "\n" not in str(refused.value)
