"""The emulator's settings: HANWAVE_EMULATOR_PORT and so on, from the environment."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from infra.emulator.codes import DUPLICATE
from infra.emulator.errors import EmulatorError

PREFIX = "HANWAVE_EMULATOR_"


class EmulatorSettings(BaseSettings):
    """Everything that the emulator may be told before it starts; the rest it is told through its admin port."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8079
    """The three services, HTTPS; 0 takes a free port."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] = 8078
    """Books and faults, plain HTTP on the loopback interface alone."""
    state: Path = Path(".hanwave/emulator")
    pki: Path | None = None
    """The test PKI's folder; else `pki` in the state folder. Made if it is not there."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    """Of the services and of the client that delivers; else the test PKI's."""
    fleet: Path | None = None
    cpl: Path | None = None
    faults: Path | None = None
    delays: Path | None = None
    profile: str = "demo"
    speed: Annotated[float, Field(gt=0)] = 1.0
    seed: str = "hanwave"
    receive_url: HttpUrl | None = None
    """Where the first supplier receives; receivers adds others by their User ID, as JSON."""
    receivers: dict[str, HttpUrl] = {}
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 16
    """Deliveries at the same moment."""
    duplicate_code: str = DUPLICATE


def load() -> EmulatorSettings:
    """Read the settings; EmulatorError is one sentence about the first that is wrong."""
    known = {PREFIX + name.upper() for name in EmulatorSettings.model_fields}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise EmulatorError(
                f"the environment variable {variable} is no setting of the emulator: mend its name, or unset it"
            )
    try:
        return EmulatorSettings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise EmulatorError(f"{name} holds {str(first['input'])[:80]!r}: {first['msg']}") from None
    except SourceError as error:
        raise EmulatorError(f"{error}: it should be JSON") from None
