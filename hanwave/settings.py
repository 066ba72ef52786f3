"""hanwave's settings: from the environment, else from one TOML file; the same names on a laptop and in production.

`HANWAVE_DCC__TRANSFORM_URL` in the environment is `transform_url` under `[dcc]` in the file, and the environment wins.
The file is the one that HANWAVE_CONFIG names; else hanwave.toml here; else the one that an embedded stack has written
to .hanwave here. Keys and passwords are never in an error or a repr: keys are named by their path, DSNs are hidden.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, PlainSerializer, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as SourceError

from hanwave.errors import HanwaveError
from hanwave.identifiers import EUI64, IdentifierError

PREFIX = "HANWAVE_"
SEARCH_ATTRIBUTES = (
    "Campaign",
    "Wave",
    "DeviceType",
    "Model",
    "Region",
    "Supplier",
    "FirmwareVersion",
    "Route",
    "Outcome",
)
"""The Temporal search attributes that hanwave sets, each a Keyword; nine of the ten that SQL visibility has."""

_OTHER_VARIABLES = {"HANWAVE_CONFIG", "HANWAVE_STACK"}
_SECRET = {"postgres", "postgres.dsn", "postgres.owner_dsn", "lookup", "lookup.dsn"}
_Port = Annotated[int, Field(ge=1, le=65535)]
_T = TypeVar("_T")


class SettingsError(HanwaveError):
    """A setting is missing or wrong; the text names it and where it came from."""


class Environment(StrEnum):
    """Where the messages go. Keys are bound to one of these."""

    EMULATOR = "emulator"
    BOXED = "boxed"
    TEST = "test"
    PRODUCTION = "production"


def _parsed(value: object) -> object:
    try:
        return EUI64.parse(value) if isinstance(value, str) else value
    except IdentifierError as error:
        raise ValueError(str(error)) from error


def _many(value: object) -> object:
    # A file that a program wrote holds the list as the environment does: as JSON.
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


Eui = Annotated[EUI64, BeforeValidator(_parsed), PlainSerializer(str)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)


class Temporal(_Section):
    """The Temporal frontend. TLS is on when a certificate authority or a client certificate is named."""

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Postgres(_Section):
    """The ledger's database: the application's role and, for migrations, its owner's."""

    dsn: SecretStr
    owner_dsn: SecretStr | None = None


class Dcc(_Section):
    """The DCC gateway's three services (or the emulator's), and the TLS client that calls them."""

    transform_url: HttpUrl
    send_command_url: HttpUrl
    non_device_url: HttpUrl
    certificate: Path
    key: Path
    ca: Path


class Receive(_Section):
    """Where DCC delivers responses and alerts to: our own TLS server."""

    host: str = "127.0.0.1"
    port: _Port = 8443
    path: str = Field("/", pattern="^/")
    certificate: Path
    key: Path
    client_ca: Path
    forward_url: HttpUrl | None = None
    """Where the messages of the supplier's other systems on our User IDs are handed on to, by POST."""
    forward_ca: Path | None = None
    """Who certifies that server; the system's own authorities where none is named."""


class Signing(_Section):
    """The keys that sign DUIS XML and GBCS commands: two different ones."""

    xml_key: Path
    xml_certificate: Path
    gbcs_key: Path
    gbcs_certificate: Path


class Trust(_Section):
    """The SMKI certificates that messages are verified with: files, or folders of files."""

    certificates: Annotated[tuple[Path, ...], BeforeValidator(_many)]


class Metrics(_Section):
    """Where each process serves Prometheus; a port that is not set is not opened."""

    host: str = "127.0.0.1"
    campaign: _Port | None = None
    gateway: _Port | None = None
    receive: _Port | None = None
    warden: _Port | None = None
    exporter: _Port | None = None
    bench: _Port | None = None
    refresh: Annotated[int, Field(ge=1)] = 10
    """Seconds between the exporter's readings of the ledger."""
    keep_closed: Annotated[int, Field(ge=0)] = 7
    """Days for which a campaign that is over is still shown."""
    models: Annotated[int, Field(ge=1)] = 20
    """Models that are shown by themselves, the largest; the rest is `other`."""


class Lookup(_Section):
    """The contact centre's page: where it listens, its own role in the ledger, and who vouches for its users."""

    host: str = "127.0.0.1"
    port: _Port
    dsn: SecretStr
    """Of the role that may read the fleet and its updates and write holds and notes, and nothing else."""
    user_header: str = "X-Forwarded-User"
    """The header in which the supplier's sign-on names the person. Only its proxy may reach the port."""
    everybody: str | None = None
    """Who it is when no header says so; unset, such a request is refused. For one machine alone."""


class Training(_Section):
    """Simulated devices for a bench whose radio is virtual: a lab to learn on."""

    devices: Annotated[int, Field(ge=1, le=500)] = 5
    first: Eui = Field(default=EUI64(bytes.fromhex("00DB120000000001")), validate_default=True)
    """The EUI-64 of the first; each further one's is one more."""
    manufacturer: Annotated[str, Field(pattern="^[0-9A-Fa-f]{4}$")] = "121D"
    image_type: Annotated[int, Field(ge=0, le=0xFFFF)] = 0
    hardware: Annotated[str, Field(pattern="^[0-9A-Fa-f]{4}$")] = "1111"
    version: Annotated[str, Field(pattern="^[0-9A-Fa-f]{8}$")] = "00000001"
    rest: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that each waits between two blocks."""
    failures: dict[str, str] = {}
    """What goes wrong with a version, by its hexadecimal: rejected, kept_old or silent."""


class Bench(_Section):
    """A bench: one ZigBee coordinator, which one process uses (`python -m workers.bench`)."""

    name: str = Field(default="lab", pattern="^[a-z0-9][a-z0-9._-]{0,62}$")
    """Campaigns of the route bench/NAME are done here."""
    radio: str = "bellows"
    """By zigpy's name of it (bellows, znp, deconz, ...), or "virtual": no hardware, but the devices of training."""
    path: str | None = None
    """The coordinator's port: /dev/serial/by-id/..., or socket://host:port."""
    baudrate: Annotated[int, Field(ge=1)] | None = None
    database: Path | None = None
    """The coordinator's devices, in a file; bench-NAME.db in the state folder where none is named."""
    requests: Annotated[int, Field(ge=1, le=256)] = 8
    """What the coordinator has under way at once; a quarter of it is for devices that sleep."""
    policy: dict[str, Any] = {}
    """What differs from the usual of a device's kind, as BenchPolicy names it: {"stall_after": "1h"}."""
    training: Training = Training()


class Webhooks(_Section):
    """How the supplier's own systems are told of campaigns (`hanwave webhook`)."""

    secrets: Path
    """The folder of their secrets: each stands in a file of the webhook's name."""
    ca: Path | None = None
    """Who certifies those systems; the system's own authorities where none is named."""
    give_up: Annotated[float, Field(gt=0)] = 72
    """Hours for which an event is tried again before it waits for a person."""


class Settings(BaseSettings):
    """Everything that a process may be told. A section that a process needs is asked for with `needed`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    environment: Environment = Environment.EMULATOR
    state: Path = Path(".hanwave")
    user_id: Eui | None = None
    acb_id: Eui | None = None
    queries: Path | None = None
    """The file of the supplier's own queries, by name (see `hanwave.ledger.queries`)."""
    response_codes: Path | None = None
    """A file of YAML that corrects the table of the DCC's response codes, row by row (`hanwave duis codes` shows it)."""
    alert_codes: Path | None = None
    """The same for the codes of the DCC's and devices' alerts."""
    temporal: Temporal = Temporal()
    metrics: Metrics = Metrics()
    postgres: Postgres | None = None
    dcc: Dcc | None = None
    receive: Receive | None = None
    lookup: Lookup | None = None
    bench: Bench | None = None
    signing: Signing | None = None
    suppliers: dict[str, Signing] = {}
    """The keys of further User IDs that send from here, by any name: whose each is, its XML certificate says."""
    trust: Trust | None = None
    webhooks: Webhooks | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then one file; nothing else."""
        path = config_file()
        file = (TomlConfigSettingsSource(settings_cls, path),) if path else ()
        return (init_settings, env_settings, *file)


def config_file() -> Path | None:
    """The TOML file that settings come from, if any; SettingsError when HANWAVE_CONFIG names one that is not there."""
    named = os.environ.get("HANWAVE_CONFIG")
    if named:
        if not Path(named).is_file():
            raise SettingsError(f"HANWAVE_CONFIG names {named}, and there is no such file")
        return Path(named)
    return next((path for path in (Path("hanwave.toml"), Path(".hanwave/hanwave.toml")) if path.is_file()), None)


def load() -> Settings:
    """Read the settings; SettingsError is one sentence about the first that is wrong."""
    _refuse_unknown_variables()
    path = config_file()
    try:
        return _in_force(Settings())
    except ValidationError as error:
        # A misspelt name is also a missing one: the misspelling says more.
        errors = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        raise SettingsError(_sentence(errors[0], path)) from None
    except SourceError as error:
        raise SettingsError(f"{error}: it should be JSON") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None


def _in_force(settings: Settings) -> Settings:
    """The settings, once the tables that they correct are."""
    if settings.response_codes or settings.alert_codes:
        # Here and not above: most processes correct nothing, and need not wait for lxml.
        from hanwave.duis import DuisError, codes  # noqa: PLC0415

        try:
            codes.correct(_text(settings.response_codes), _text(settings.alert_codes))
        except DuisError as error:
            raise SettingsError(f"response_codes or alert_codes names a file that is no such table: {error}") from error
    return settings


def _text(path: Path | None) -> str:
    try:
        return path.read_text("utf-8-sig") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the table {path} cannot be read as text in UTF-8: {error}") from error


def needed(section: _T | None, name: str) -> _T:
    """The section, or SettingsError: for a process that cannot do without it."""
    if section is None:
        path = config_file()
        where = f"in {path}" if path else "in hanwave.toml here (`hanwave up` writes one into .hanwave)"
        raise SettingsError(f"the setting {name} is missing: set {_variable(name)}__..., or [{name}] {where}")
    return section


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings by dotted name ("dcc.key") as environment variables."""
    return {_variable(name): value for name, value in settings.items()}


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", "__").upper()


def _refuse_unknown_variables() -> None:
    known = {_variable(name) for name in Settings.model_fields}
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES:
            continue
        if variable.split("__")[0] not in known:
            raise SettingsError(
                f"the environment variable {variable} is no setting of hanwave: mend its name, or unset it"
            )


def _sentence(error: ErrorDetails, path: Path | None) -> str:
    name = ".".join(str(part) for part in error["loc"] if isinstance(part, str))
    if error["type"] == "missing":
        where = f" in {path}" if path else ""
        section, _, field = name.rpartition(".")
        return f"the setting {name} is missing: set {_variable(name)}, or {field} under [{section}]{where}"
    source = _source(name, path)
    if error["type"] == "extra_forbidden":
        return f"{name}, from {source}, is no setting of hanwave"
    problem = error["msg"].removeprefix("Value error, ")
    text = str(error["input"])[:80]
    # A URL with a name and a password before an @ is not repeated either.
    held = "is wrong" if name in _SECRET or "@" in text else f"holds {text!r}"
    return f"the setting {name}, from {source}, {held}: {problem[0].lower() + problem[1:]}"


def _source(name: str, path: Path | None) -> str:
    variable = _variable(name)
    held = next((key for key in os.environ if key.upper() == variable), None)
    # A section may also be given whole, as JSON, in one variable.
    section = _variable(name.partition(".")[0])
    if held or section in os.environ or path is None:
        return f"the environment variable {held or (section if section in os.environ else variable)}"
    return str(path)


def dump(settings: Mapping[str, str], base: Mapping[str, Any]) -> str:
    """TOML of a file's settings (base) with others, by dotted name, over them."""
    tables: dict[str, dict[str, Any]] = {}
    _gather(base, "", tables)
    for name, value in settings.items():
        section, _, field = name.rpartition(".")
        tables.setdefault(section, {})[field] = value
    return "".join(_table(name, values) for name, values in tables.items() if values)


def _gather(values: Mapping[str, Any], name: str, tables: dict[str, dict[str, Any]]) -> None:
    """Each table within a table, by its dotted name."""
    tables[name] = {field: value for field, value in values.items() if not isinstance(value, Mapping)}
    for field, value in values.items():
        if isinstance(value, Mapping):
            _gather(value, f"{name}.{field}" if name else field, tables)


def _table(name: str, values: Mapping[str, Any]) -> str:
    heading = f"[{name}]\n" if name else ""
    return heading + "".join(f"{field} = {_value(value)}\n" for field, value in values.items()) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool | int):
        return str(value).lower()
    # JSON's strings are TOML's, but for one character that only TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
