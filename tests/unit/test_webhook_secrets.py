"""A webhook's secret and its signatures, held against the vector that the Standard Webhooks libraries publish."""

import base64
import json
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hanwave import webhook_secrets as ws
from hanwave.ledger.webhook_events import Type
from workers import schemas

pytestmark = pytest.mark.unit
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_signature_is_the_one_of_the_published_vector(tmp_path):
    (tmp_path / "billing").write_text(SECRET + "\n")
    at = datetime.fromtimestamp(1614265330, UTC)
    made = ws.headers(ws.read(tmp_path, "billing"), "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert made["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert made["webhook-timestamp"] == "1614265330"
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_receiver_changes_over_both_secrets_sign(tmp_path):
    ws.ensure(tmp_path, "billing")
    path = tmp_path / "billing"
    path.write_text(path.read_text() + SECRET + "\n")
    both = ws.headers(ws.read(tmp_path, "billing"), "msg_1", datetime(2026, 11, 23, tzinfo=UTC), b"{}")
    assert len(both["webhook-signature"].split()) == 2


def test_a_secret_is_made_once_and_for_its_owner_alone(tmp_path):
    folder = tmp_path / "secrets"
    made = ws.ensure(folder, "billing").read_text()
    assert ws.ensure(folder, "billing").read_text() == made
    assert stat.S_IMODE((folder / "billing").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(base64.b64decode(made.strip().removeprefix("whsec_"))) == 32


@pytest.mark.parametrize(
    "held",
    [
        "",
        "whsec_",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_ünïcode",
        SECRET + " whsec_short",
        json.dumps(SECRET),
    ],
)
def test_what_is_no_secret_is_refused_and_never_repeated(tmp_path, held):
    (tmp_path / "billing").write_text(held)
    with pytest.raises(ws.WebhookSecretError, match="should hold a line of whsec_") as refused:
        ws.ensure(tmp_path, "billing")
    assert not held.strip() or held.split()[0].removeprefix("whsec_") not in str(refused.value) or held == "whsec_"


def test_a_secret_that_is_not_there_is_named_by_its_file(tmp_path):
    with pytest.raises(ws.WebhookSecretError, match=r"billing cannot be read from .*/billing: No such file"):
        ws.read(tmp_path, "billing")


GUIDE = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text().partition("## Webhooks")[2]


def test_the_guides_example_verifies_what_is_sent_and_nothing_else(tmp_path):
    example = next(block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "def verify" in block)
    exec(example, names := {})
    secret = ws.ensure(tmp_path, "billing").read_text()
    sent = ws.headers(ws.read(tmp_path, "billing"), "msg_1", datetime.now(UTC), b"{}")
    names["verify"](secret, sent, b"{}")
    old = ws.headers(ws.read(tmp_path, "billing"), "msg_1", datetime(2026, 1, 1, tzinfo=UTC), b"{}")
    for headers, body, why in (
        (sent, b'{"a": 1}', "not signed"),
        (sent | {"webhook-id": "msg_2"}, b"{}", "not signed"),
        (old, b"{}", "too old"),
    ):
        with pytest.raises(ValueError, match=why):
            names["verify"](secret, headers, body)


def test_the_guide_has_every_type_and_an_example_by_the_schema():
    assert [each for each in Type if f"`{each}`" not in GUIDE] == []
    [example] = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    assert list(Draft202012Validator(schemas.schema("webhook")).iter_errors(json.loads(example))) == []
