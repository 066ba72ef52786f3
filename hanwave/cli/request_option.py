"""A campaign's request on the command line: a file, or the options that say the same."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from hanwave.cli.ledger_option import actor_or_user
from hanwave.cli.output import read_file
from hanwave.errors import HanwaveError
from hanwave.plain_json import read_json
from hanwave.rollout.policy import Policy as RolloutPolicy
from hanwave.rollout.request import CampaignRequest, RequestError, parse_policy, parse_request

Name = Annotated[str, typer.Option(help="The name it will have: who is in which wave depends on it.")]
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="The request, JSON, as docs/schemas/campaign.json describes it; or say it by options."
    ),
]
Release = Annotated[str | None, typer.Option(metavar="RELEASE", help="The release to be installed.")]
Many = list[str] | None
Region = Annotated[Many, typer.Option(metavar="REGION", help="Only devices there. May be given again.")]
Model = Annotated[
    Many, typer.Option(metavar="MODEL", help='Only of this model ("1111" or "121D/1111"). May be given again.')
]
From = Annotated[Many, typer.Option("--from", metavar="VERSION", help="Only those that run it. May be given again.")]
Device = Annotated[Many, typer.Option(metavar="EUI", help="Only this device. May be given again.")]
Fallback = Annotated[Many, typer.Option(metavar="RELEASE", help="What a rollback goes back to. May be given again.")]
Policy = Annotated[Path | None, typer.Option(metavar="FILE", help="How it is run, JSON (default: see docs/sdk.md).")]
Forecast = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help='The demand forecast that the DCC has, JSON: {"11.3": [5000, 5000]}, by month.'),
]
Approvals = Annotated[int | None, typer.Option(metavar="N", help="How many people, other than you, must approve it.")]


_FIELDS = {
    "region": "regions",
    "model": "models",
    "from_": "firmware_versions",
    "device": "devices",
    "fallback": "fallbacks",
}
"""The request's own names of the options that may be given again."""


def read_request(file: Path | None, policy: Path | None, actor: str | None, **options: Any) -> CampaignRequest:
    """The request of a file or of options, by whoever asks for it; RequestError names the file and the field.

    The options are named as the commands' parameters are: in the singular, since each is given once a value.
    """
    given = _options(options)
    if file is not None and (given or policy):
        raise HanwaveError("give the request by a file or by options, not by both")
    if file is None and not given.get("release"):
        raise HanwaveError("name a file with the request, or a release by --release")
    if file is not None:
        given = _object(file, "the request")
    if policy is not None:
        given["policy"] = _object(policy, "the policy")
    given.setdefault("author", actor_or_user(actor))
    try:
        return parse_request(given)
    except RequestError as error:
        raise RequestError(f"{file or policy}: {error}" if file or policy else str(error)) from error


def read_policy(file: Path) -> RolloutPolicy:
    """The policy of a file; RequestError names the file and the field."""
    try:
        return parse_policy(_object(file, "the policy"))
    except RequestError as error:
        raise RequestError(f"{file}: {error}") from error


def _options(options: dict[str, Any]) -> dict[str, Any]:
    given = {_FIELDS.get(name, name): value for name, value in options.items() if value}
    cohort = {name: given.pop(name) for name in ("regions", "models", "firmware_versions", "devices") if name in given}
    return given | ({"cohort": cohort} if cohort else {})


def _object(path: Path, what: str) -> dict[str, Any]:
    try:
        found = read_json(read_file(path, what))
    except ValueError as error:
        raise RequestError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RequestError(f"{path} should hold a JSON object with the fields of {what}")
    return found


def read_forecast(path: Path) -> dict[str, list[int]]:
    """A demand forecast: Service Requests by variant and month, counted from the start; RequestError names the file."""
    try:
        found: dict[str, list[int]] = TypeAdapter(dict[str, list[NonNegativeInt]]).validate_python(
            _object(path, "the demand forecast"), strict=True
        )
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise RequestError(
            f'{path}: {where[:60]} should hold whole numbers of requests by month, as in {{"11.3": [5000, 5000]}}'
        ) from error
    return found
