"""What a Service Request, an engine's action and a visit cost: a table that a supplier fills in.

Guarantee: what has no rate is counted and not priced; no price is made up.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hanwave.errors import HanwaveError
from hanwave.plain_yaml import read_yaml
from hanwave.rollout.policy import DeviceType

ACTIONS = {DeviceType.ESME: 4, DeviceType.GSME: 4, DeviceType.HCALCS: 4, DeviceType.PPMID: 2}
"""Billable actions of the engine for a device that ends well, as benchmarks/engine.py counts them for ESME and PPMID."""

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RatesError(HanwaveError):
    """A rate table cannot be used; the text names the field."""


class Rates(BaseModel):
    """Prices in one currency; None: not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str = Field(default="GBP", pattern=r"^[A-Z]{3}$")
    service_requests: Mapping[str, Price] = Field(default_factory=dict)
    """By variant, as "11.1"; the price of one request."""
    engine_action: Price | None = None
    visit: Price | None = None

    def money(self, amount: float) -> str:
        """An amount, as it is written: 1,234.50 GBP."""
        return f"{amount:,.2f} {self.currency}"


def parse(data: bytes, what: str) -> Rates:
    """A rate table of YAML; RatesError says what ("the rate table x.yaml") and which field is wrong."""
    try:
        return Rates.model_validate(read_yaml(data, what, RatesError) or {})
    except ValidationError as error:
        first = error.errors()[0]
        raise RatesError(f"{what}, {'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg'][:120]}") from error
