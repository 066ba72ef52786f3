"""The secrets of webhooks, a file each, and the signatures made with them: the scheme of Standard Webhooks.

Guarantee: a secret is in its file, in the memory of whoever signs with it, and nowhere else: in no error, no table, no log.
"""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hanwave.errors import HanwaveError

PREFIX = "whsec_"
_LEAST, _MOST, _OURS = 24, 64, 32
"""Octets of a secret: as the scheme has it, and as we make them."""


class WebhookSecretError(HanwaveError):
    """A hook's secret is missing, or is none."""


def ensure(folder: Path, hook: str) -> Path:
    """The file of a hook's secret, made with a new secret and for its owner alone where there is none yet."""
    path = folder / hook
    made = PREFIX + base64.b64encode(secrets.token_bytes(_OURS)).decode() + "\n"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made)
    except FileExistsError:
        read(folder, hook)
    except OSError as error:
        raise WebhookSecretError(f"the secret of webhook {hook} cannot be kept in {path}: {error.strerror}") from error
    return path


def read(folder: Path, hook: str) -> list[bytes]:
    """A hook's secrets, one a line: the one that signs and, while a receiver changes over, the one before."""
    path = folder / hook
    try:
        lines = path.read_text().split()
        found = [base64.b64decode(line.removeprefix(PREFIX), validate=True) for line in lines]
    except OSError as error:
        raise WebhookSecretError(
            f"the secret of webhook {hook} cannot be read from {path}: {error.strerror}"
        ) from error
    except ValueError:  # neither text nor base64
        found = []
    if not found or any(not _LEAST <= len(secret) <= _MOST for secret in found):
        raise WebhookSecretError(
            f"the secret file {path} should hold a line of {PREFIX} and {_LEAST} to {_MOST} octets in base64"
        )
    return found


def headers(keys: Sequence[bytes], message: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that a webhook is sent with at that time: its id, the time, and a signature by each secret."""
    sent = str(int(at.timestamp()))
    signed = b".".join((message.encode(), sent.encode(), body))
    made = (base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": sent,
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
    }
