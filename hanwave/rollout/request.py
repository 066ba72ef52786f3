"""What a person or a supplier's software asks for when it starts a campaign: short, forgiving, and strict in what it means.

The JSON Schema of CampaignRequest is the published input of the FirmwareCampaign workflow.
"""

import re
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from hanwave.errors import HanwaveError
from hanwave.plain_json import read_json
from hanwave.rollout import route as routes
from hanwave.rollout.policy import Device, Policy
from hanwave.words import person

UNKNOWN = "claimed:unknown"
"""Who acts, where nobody said so."""
LONGEST_NAME = 63
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_NAME - 1}}}", re.ASCII)


class RequestError(HanwaveError):
    """An input cannot be understood; the sentence names the field and shows what it should hold."""


_PLAINER = {"model_type": "it should be an object, in braces"}
"""What pydantic says in words of Python, in those of JSON."""


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _readable(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f"holds {value[:40]!r}, which nobody can read: it should be of printable characters")
    return value


Text = Annotated[str, Field(max_length=200), AfterValidator(_readable)]
Names = Annotated[tuple[Text, ...], BeforeValidator(_many)]
Devices = Annotated[tuple[Annotated[Device, Field(max_length=200)], ...], BeforeValidator(_many)]


class Cohort(BaseModel):
    """Which devices of the release's type: those that match every filter that is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Names = ()
    """As manufacturer/model: "121D/1111"."""
    regions: Names = ()
    """The communications provider's, as the fleet has them: "South"."""
    hubs: Devices = ()
    """Communications Hubs, by their EUI-64s."""
    firmware_versions: Names = ()
    """What they run now, eight hexadecimal digits each."""
    devices: Devices = ()
    """EUI-64s: only these."""


class CampaignRequest(BaseModel):
    """A campaign to be planned and run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Text
    """By its name: what is installed (`hanwave release list`)."""
    cohort: Cohort = Cohort()
    """Which devices; every one of the release's type, where nothing is said."""
    policy: Policy = Policy()
    """How it is run; each part that is left out has its default."""
    seed: Text = ""
    """Decides which device is in which wave; the campaign's name where it is not given."""
    author: Text = UNKNOWN
    """Who plans it: a person, who may then not approve it."""
    user_id: Text | None = None
    """The User ID that sends; the installation's own where it is not given."""
    fallbacks: Names = ()
    """Releases to go back to, the first that a device's model takes; the release's own where none is given."""
    approvals: int = Field(default=0, ge=0, le=5)
    """How many people, other than the author, must approve the plan's digest before the first wave."""
    rollback_of: Text | None = None
    """The campaign that this one undoes; a rollback may downgrade, and takes its devices over."""
    retry_of: Text | None = None
    """The campaign whose devices, or some of them, this one takes up again."""

    @property
    def lineage(self) -> tuple[str, str | None]:
        """What kind of campaign it is, and of which it comes."""
        if self.rollback_of:
            return "rollback", self.rollback_of
        return ("retry", self.retry_of) if self.retry_of else ("forward", None)

    urgent: StrictBool = False
    """A security fix: once approved, it takes over devices that are not yet activating in a slower campaign."""
    shadow: StrictBool = False
    """Plan and watch alone: nothing forward is ever permitted."""
    route: Annotated[str, BeforeValidator(routes.read_route)] = routes.DCC
    """dcc; or bench/NAME: every device is updated over the ZigBee coordinator of that bench ("bench": bench/lab)."""

    @model_validator(mode="after")
    def _may_be_approved(self) -> Self:
        if self.approvals and not person(self.author.removeprefix(UNKNOWN)):
            raise ValueError("approvals are by others than its author, so it should say who that is: author")
        return self

    @model_validator(mode="after")
    def _goes_back(self) -> Self:
        if self.release in self.fallbacks:
            raise ValueError(f"fallbacks: {self.release[:80]!r} is what it installs; name a release to go back to")
        return self

    @model_validator(mode="after")
    def _may_be_urgent(self) -> Self:
        if self.urgent and not self.approvals:
            raise ValueError("an urgent campaign takes devices from others, so it needs approvals: at least 1")
        if self.urgent and self.shadow:
            raise ValueError("a campaign is urgent or a shadow, not both: a shadow takes nothing over")
        return self


EXAMPLE = '{"release": "acme-e470-0200", "cohort": {"regions": ["South"]}, "author": "ann"}'


def check_name(name: str) -> str:
    """A campaign's name as its ids and paths can hold it; RequestError otherwise."""
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"the campaign name {name[:70]!r} should be of a-z, 0-9, '.', '_', '-' and at most 63 long, as in"
            " campaign/spring-e470"
        )
    return name


def check_id(workflow_id: str, right: str) -> None:
    """RequestError where a workflow has another id than what it is about: under two ids it would be done twice as fast."""
    if workflow_id != right:
        raise RequestError(f"the workflow's id is {workflow_id[:80]!r}, it should be {right!r}")


def parse_request(raw: Any) -> CampaignRequest:
    """Read a campaign request from JSON text or the object; RequestError with one sentence."""
    if isinstance(raw, CampaignRequest):
        return raw
    request: CampaignRequest = parse(TypeAdapter(CampaignRequest), raw, EXAMPLE)
    return request


def parse_policy(raw: Any) -> Policy:
    """Read a policy from JSON text or the object; RequestError with one sentence."""
    if isinstance(raw, Policy):
        return raw
    policy: Policy = parse(TypeAdapter(Policy), raw, '{"waves": [{"count": 300}, {"share": 1}]}')
    return policy


def parse(adapter: TypeAdapter[Any], raw: Any, example: str) -> Any:
    """Read an input with an adapter; its first mistake as one sentence that shows a right one."""
    if isinstance(raw, str):
        try:
            raw = read_json(raw)
        except ValueError as error:
            raise RequestError(f"the input is not JSON ({str(error)[:80]}); a right one is {example}") from error
    if raw is None:
        raise RequestError(f"the input is missing; a right one is {example}")
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the input"
        said = _PLAINER.get(first["type"]) or f"{first['msg'][0].lower()}{first['msg'][1:]}"
        raise RequestError(f"{where}: {said}; a right one is {example}") from error
