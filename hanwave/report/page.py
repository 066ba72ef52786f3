"""A report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

Guarantee: whatever a reason or a name holds stands in the page as text.
"""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hanwave.ledger.report import Report
from hanwave.report import answers, plots
from hanwave.report.rates import Rates

_PAGES = Environment(
    loader=PackageLoader("hanwave.report", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["when"] = answers.when
_PAGES.filters["advice"] = answers.advice
_PAGES.filters["many"] = answers.many


def render(report: Report, rates: Rates) -> str:
    """The page, as HTML."""
    return _PAGES.get_template("page.html.j2").render(_material(report, rates))


def _material(report: Report, rates: Rates) -> dict[str, Any]:
    # Markup: what matplotlib drew is markup, in which it has escaped every text itself.
    return {
        "report": report,
        "head": report.heading,
        "answers": answers.answers(report, rates),
        "settled": Markup(plots.settled(report)),  # noqa: S704
        "waves": [(wave, answers.verdict(wave), Markup(plots.gate(wave))) for wave in report.waves],  # noqa: S704
        "prices": [(what, rates.money(amount)) for what, amount in answers.price(report, rates).items()],
        "actions": answers.actions(report),
        "visit": rates.visit,
    }
