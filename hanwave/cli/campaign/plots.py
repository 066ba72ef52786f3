"""A forecast, drawn: devices settled, Service Requests a day, and devices exposed before a stop, with their intervals."""

import io
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hanwave.rollout.rehearsal.forecast import Forecast

_SHADE = 0.25


def draw(found: "Forecast", form: str) -> bytes:
    """The picture's bytes, as "svg" or "png"."""
    figure = Figure(figsize=(10, 10), layout="constrained")
    settled, requests, exposed = figure.subplots(3)
    _settled(settled, found)
    _requests(requests, found)
    _exposed(exposed, found)
    figure.suptitle(f"{found.devices} devices; behaviour: {found.source}; shaded and barred: nine in ten runs")
    out = io.BytesIO()
    figure.savefig(out, format=form)
    return out.getvalue()


def _settled(axes: "Axes", found: "Forecast") -> None:
    days = found.good.by_day
    x = [day.day for day in days]
    axes.plot(x, [day.settled.middle for day in days], label="a good image")
    axes.fill_between(x, [day.settled.low for day in days], [day.settled.high for day in days], alpha=_SHADE)
    axes.set(title="Devices settled", xlabel="day", ylabel="devices", ylim=(0, None))


def _requests(axes: "Axes", found: "Forecast") -> None:
    for variant in found.good.requests:
        some = [day.requests[variant] for day in found.good.by_day]
        x = range(len(some))
        axes.plot(x, [each.middle for each in some], label=f"SR {variant}")
        axes.fill_between(x, [each.low for each in some], [each.high for each in some], alpha=_SHADE)
    axes.set(title="Service Requests a day, with a good image", xlabel="day", ylabel="requests", ylim=(0, None))
    axes.legend()


def _exposed(axes: "Axes", found: "Forecast") -> None:
    bad = [scenario for scenario in found.scenarios if scenario.harm]
    if not bad:
        axes.set_axis_off()
        return
    middles = [scenario.exposed.middle for scenario in bad]
    below = [scenario.exposed.middle - scenario.exposed.low for scenario in bad]
    above = [scenario.exposed.high - scenario.exposed.middle for scenario in bad]
    names = [f"{scenario.harm:.1%} harmed\n{scenario.passed} of {scenario.runs} passed" for scenario in bad]
    axes.bar(names, middles, yerr=[below, above], capsize=6)
    axes.axhline(found.devices, linestyle=":", color="grey")
    axes.set(title="Devices exposed before a stop, by how many a bad image harms", ylabel="devices", ylim=(0, None))
