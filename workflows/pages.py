"""What the Web UI shows of a workflow as its current details: how it stands at a glance, what it waits for, what to do next.

Guarantees: a page is a pure function of what the workflow knows; it is written anew at each look and costs the history
nothing; what people wrote is shown as text, whatever it holds. Lists and bars, since the Web UI draws tables without gaps.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from hanwave import names
    from hanwave.ledger.overview import SHOWN, View, WaveView
    from hanwave.ledger.waves import Sweep
    from hanwave.report.answers import advice
    from hanwave.rollout.device import State
    from hanwave.rollout.gate import Judgement

_BAR = 20
_LIFE = {str(state): place for place, state in enumerate(State)}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
Act = tuple[str, str, dict[str, Any]]
"""A verb, what it does, and an input of it."""


def campaign(view: View, waiting: str) -> str:
    """A campaign's page; it is over where it waits for nothing."""
    waits = f"**Waits for** {_text(waiting)}.{_until(view.next_due)}" if waiting else _over(view)
    return _joined(
        f"## {view.name}: {_text(view.release)}",
        waits,
        _listed("Stopped by", view.stops),
        "**Waves**\n\n"
        + "".join(f"- Wave {w.number}, {_count(w.size)}: {_verdict(w, over=not waiting)}\n" for w in view.waves),
        f"**Devices**\n\n{_bars(view.funnel)}",
        _listed("Seen instead", [f"{n} devices: {what}" for what, n in view.seen.items()]),
        _next(view) if waiting else "",
        f"Plan `{view.digest[:SHOWN]}` by {_text(view.author)}, {_approved(view)}, {view.status}, {_pace(view)}.",
    )


def wave(campaign_: str, number: int, sweep: Sweep, judged: Judgement | None = None) -> str:
    """A wave's page, as its last sweep found it, and its verdict once that is there."""
    if judged:
        said = f"**{judged.verdict.upper()}**: {_text(judged.reason)}."
    else:
        said = f"**Waits for** {_count(sweep.open)} to end.{_until(sweep.next_due)}"
    return _joined(
        f"## {campaign_}, wave {number}",
        said,
        _listed("Stopped by", [sweep.stopped] if sweep.stopped else []),
        f"**Devices**\n\n{_bars(sweep.funnel)}",
        f"Its verbs are Updates of `{names.campaign_id(campaign_)}`; a device of it is `{names.device_id(campaign_, 'EUI-64')}`.",
    )


def device(campaign_: str, eui: str, state: str, outcome: str | None, reason: str) -> str:
    """A device's page: where it stands and why, and where it did not end well, what to do about it."""
    because = f": {_text(reason)}" if reason else ""
    if outcome:
        said = f"**Ended as {_plain(outcome)}**{because}.\n\n**What to do**: {advice(outcome)}."
    else:
        said = (
            f"**{_plain(state).capitalize() or 'Planned'}**{because}."
            f"\n\nThe Update `cancel_device` of `{names.campaign_id(campaign_)}` ends its update."
        )
    return _joined(f"## {eui}", said, f"Each message to it and from it: `hanwave device {eui}`.")


def end(state: str, outcome: str | None, reason: str) -> str:
    """How a device's workflow ended, in a line: its result."""
    return f"{outcome}: {reason}" if outcome and reason else outcome or state


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _text(said: str) -> str:
    """What somebody wrote, with nothing in it that Markdown or HTML would take for more than text."""
    return _MARKUP.sub(r"\\\1", said)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _count(devices: int) -> str:
    return f"{devices} device{'' if devices == 1 else 's'}"


def _until(due: datetime | None) -> str:
    return f" Something falls due at **{due.astimezone(UTC):%H:%M:%S UTC on %d %B}**." if due else ""


def _listed(title: str, lines: list[str]) -> str:
    return f"**{title}**\n\n" + "".join(f"- {_text(line)}\n" for line in lines) if lines else ""


def _over(view: View) -> str:
    return f"**Over**: rolled back by {_text(', '.join(view.restoring))}." if view.restoring else "**Over.**"


def _verdict(wave: WaveView, *, over: bool) -> str:
    if wave.verdict is None:
        now, later = ("not judged", "never begun") if over else ("running", "to come")
        return now if wave.opened else later
    passed = f" Let on by {_text(wave.passed_by)}." if wave.passed_by else ""
    return f"**{wave.verdict.upper()}**, {_text(wave.reason)}.{passed}"


def _bars(funnel: Mapping[str, int]) -> str:
    """Devices by state, in the order of a device's life; the closed ones by how they ended."""
    most = max(funnel.values(), default=0)
    rows = sorted(funnel.items(), key=lambda row: (_LIFE.get(row[0].partition(":")[0], len(_LIFE)), row[0]))
    named = [(_plain(state.removeprefix("closed:")).replace(":", ", "), n) for state, n in rows]
    wide = max((len(name) for name, _ in named), default=0)
    lines = (f"{name:{wide}}  {'█' * max(1, round(_BAR * n / most)):{_BAR}} {n:6}" for name, n in named if n > 0)
    return "```\n" + "\n".join(lines) + "\n```"


def _approved(view: View) -> str:
    if not view.approvals:
        return "which needs no approval"
    return f"approved by {', '.join(map(_text, view.approvers)) or 'nobody yet'}"


def _pace(view: View) -> str:
    return f"at most {view.pace:g} activations a second" if view.pace else "at its plan's pace"


def _next(view: View) -> str:
    acts = "".join(f"- `{verb}` {does}: `{json.dumps(given)}`\n" for verb, does, given in _acts(view))
    return f"**What you may do next**, by *Send an Update*\n\n{acts}"


def _acts(view: View) -> Iterator[Act]:
    """What may be done as it stands, the likeliest first: with inputs that are right once YOU and WHY are filled in."""
    you = {"actor": "YOU", "reason": "WHY"}
    widening = {**you, "digest": view.digest[:SHOWN]}
    judged = next((w for w in view.waves if w.closed and not w.passed), None)
    if view.approvals > len(view.approvers):
        yield "approve", "lets its first wave begin", {"actor": "YOU", "digest": view.digest}
    # What is withdrawn is not taken up again: what goes on is the rollback's own.
    if view.status != "withdrawn" and not view.restoring:
        if judged and judged.number < len(view.waves):
            yield "go_on", f"begins wave {judged.number + 1} in spite of that verdict", widening
        if view.stops:
            yield "resume", "lifts what stops it", widening
        if any(w.opened for w in view.waves):
            yield (
                "roll_back",
                "ends it, and takes its devices back",
                {**widening, "releases": view.fallbacks or ["RELEASE"]},
            )
            yield "pause", "stops it for a while", you
            yield "change_pace", "sets how many activations a second it may have", {**widening, "per_second": 1}
            yield "cancel_device", "ends one device's update", {**you, "device": "EUI-64"}
    yield "halt", "stops everything forward at once", you
