"""How devices behave: how long each answer takes, how often none comes, and what a bad image would do.

A profile is a guess until it was learnt from campaigns that ran; each says which it is. Shares are of devices or of
requests, times are durations as in a policy. The profile that is shipped is `behaviour.yaml`, to be corrected.
"""

from importlib.resources import files
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from hanwave.errors import HanwaveError
from hanwave.plain_yaml import read_yaml
from hanwave.rollout.policy import DeviceType, Share
from hanwave.rollout.terms import Duration


class BehaviourError(HanwaveError):
    """A profile of behaviour cannot be used; the sentence names the field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Delay(_Strict):
    """A time that half of all cases take at most, and one that 95 in a hundred do; between and beyond it is log-normal."""

    half: Duration
    most: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.most < self.half:
            raise ValueError(
                "most (the time of 95 in a hundred) is shorter than half (the median): it should be as long"
            )
        return self


class Behaviour(_Strict):
    """How devices of one type behave."""

    source: str = Field(min_length=1)
    """Where the figures come from: "guess", or the campaigns that they were learnt from."""
    absent: Share = 0.0
    """Unplugged, or out of reach, when they are first sent something."""
    returns: Delay | None = None
    """How long an absent one stays away; None: for good."""
    delivered: Delay
    """From the request to the Communications Hub."""
    not_delivered: Share = 0.0
    verified: Delay
    """From the hub to the device, with its own verification of the image; for a PPMID until the hub has passed it on."""
    not_verified: Share = 0.0
    activated: Delay
    """From the activation (of a PPMID: from the transfer) to the device's word for the version that it runs."""
    not_activated: Share = 0.0
    """It says that the activation failed."""
    unheard: Share = 0.0
    """Of each word of a device: lost on its way."""
    answers: Delay
    """From a question for its version (11.2) to the answer."""
    unanswered: Share = 0.0
    """Of such questions."""
    falls_silent: Share = 0.0
    """Of devices during a soak, with an image that is good."""


class Harm(_Strict):
    """What a bad image does to a share of the devices that activate it."""

    share: Share
    after: Delay
    """From the activation, of which the device may have reported success."""
    loud: bool = False
    """Whether such a device says so (an alarm); else it goes quiet."""


Profile = dict[DeviceType, Behaviour]
_PROFILE = TypeAdapter(Profile)


def default_profile() -> Profile:
    """The profile that is shipped: guesses, for want of a fleet's own past."""
    text = files("hanwave.rollout.rehearsal").joinpath("behaviour.yaml").read_text(encoding="utf-8")
    return read_profile(read_yaml(text, "the shipped profile of behaviour", BehaviourError))


def read_profile(raw: Any) -> Profile:
    """A profile by device type, from what a YAML or JSON file holds; BehaviourError names the field."""
    try:
        return _PROFILE.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the profile"
        raise BehaviourError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}") from error
