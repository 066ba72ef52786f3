"""The first page of a report: eight questions, answered in at most 400 words whatever happened.

Guarantee: each answer is a pure function of the report's facts; what is not known is said to be not known.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from hanwave.ledger.report import Heading, Report, Wave
from hanwave.report.rates import ACTIONS, Rates
from hanwave.rollout.decide import Outcome
from hanwave.rollout.policy import DeviceType

WORDS = 400
"""Of the whole first page."""
_SAID = 22
"""Words of a sentence that somebody else wrote: a gate's reason, a cause."""
_CAUSES = 3

ADVICE = {
    Outcome.FAILED: "look into these first, and tell the manufacturer: the image did not do them good",
    Outcome.REJECTED: "read the response code, mend the cause, then retry",
    Outcome.NOT_DELIVERED: "retry when their hub can be reached again",
    Outcome.NOT_VERIFIED: "compare the hash with the CPL's, and tell the manufacturer",
    Outcome.QUIET: "find out whether they are without power; else treat them as harmed",
    Outcome.UNKNOWN: "read the version again, or send somebody to look",
    Outcome.CUSTOMER_ACTION: "ask the customer to plug the device in, then retry",
    Outcome.NEEDS_VISIT: "send somebody: nothing more may be sent over the air",
    Outcome.INSPECT: "find out who answers for the DCC before anything is retried: the notes keep what came",
    Outcome.NOT_STARTED: "retry: nothing was sent",
    Outcome.LEFT: "nothing: another supplier, or an exchange, took the device",
    Outcome.CANCELLED: "nothing, or retry: a person took it out",
    Outcome.SUPERSEDED: "nothing: this campaign was withdrawn before its turn, or another took the device over",
}
"""What to do about each way in which an update can end without settling."""


def answers(report: Report, rates: Rates) -> list[tuple[str, str]]:
    """The eight questions of the first page, each with its answer in plain words."""
    return [
        ("What was planned?", _planned(report)),
        ("Who approved it?", _approved(report)),
        ("What was done?", _done(report)),
        ("Did it do harm?", _harm(report)),
        ("What did not work, and what is to be done?", _failed(report)),
        ("Did it go as forecast?", _forecast(report)),
        ("What did it cost, and what did it save?", _cost(report, rates)),
        ("How can this be proved?", _proof(report)),
    ]


def verdict(wave: Wave) -> str:
    """A wave's verdict in a word or two, and who overruled it."""
    view = wave.view
    if view.verdict is None:
        return "open" if view.opened else "not begun"
    return view.verdict + (f" (let on by {view.passed_by})" if view.passed_by else "")


def when(time: datetime | None) -> str:
    """A time, in UTC, to the minute."""
    return f"{time.astimezone(UTC):%d %B %Y %H:%M} UTC" if time else "not yet"


def advice(outcome: str) -> str:
    """What to do about devices that ended so."""
    return ADVICE[Outcome(outcome)]


def short(sentence: str, most: int = _SAID) -> str:
    """The first words of what somebody else wrote."""
    words = sentence.split()
    return " ".join(words[:most]) + (" ..." if len(words) > most else "")


def _planned(report: Report) -> str:
    head = report.heading
    of = f", a {head.kind} of {head.of}" if head.of else ""
    left = sum(report.left_out.values())
    return (
        f"Version {head.version} (release {head.release}) for {many(report.devices, head.device_type)} in"
        f" {many(len(report.waves), 'wave')}{of}."
        + "".join(f" {many(n, 'device')} by way of release {release}." for release, n in report.by_way.items())
        + (
            f" {many(left, 'device')} of the cohort left out, each with its reason."
            if left
            else " Nobody was left out."
        )
    )


def _approved(report: Report) -> str:
    head = report.heading
    if not report.approvers:
        wanted = (
            f"{many(head.approvals, 'approval')} still wanted" if head.approvals else "The plan asked for no approval"
        )
        return f"Nobody. {wanted}; {head.author} wrote it."
    names = _listed(report.approvers)
    return (
        f"{names}, on the plan {head.digest[:16]}, written by {head.author}; {many(head.approvals, 'approval')} wanted."
    )


def _done(report: Report) -> str:
    head, open_ = report.heading, report.outcomes.get("open", 0)
    over = f"ended {when(head.closed_at)}" if head.closed_at else f"is {head.status}, with {many(open_, 'device')} open"
    came = f"{report.settled:,} of {many(report.devices, 'device')} ({_share(report.settled, report.devices)})"
    if back := report.rolled_back_by:
        return (
            f"It began {when(head.began_at)}, {over}, and was rolled back by {_listed(back)}: what its devices run now stands in"
            f" the reports of these. {came} had come through their soak before."
        )
    return f"It began {when(head.began_at)} and {over}. {came} run the new version and came through their soak."


def _harm(report: Report) -> str:
    judged = [wave for wave in report.waves if wave.view.verdict]
    bad = next((wave for wave in judged if not wave.view.passed or wave.view.passed_by), None)
    failed = report.outcomes.get(Outcome.FAILED, 0) + report.outcomes.get(Outcome.NOT_VERIFIED, 0)
    counts = f"{many(failed, 'device')} failed, {report.outcomes.get(Outcome.QUIET, 0):,} fell silent after activation."
    if not judged:
        return f"No wave was judged yet. {counts}"
    if bad is None:
        return f"{many(len(judged), 'wave')} judged, and every gate passed. {counts}"
    return f"Wave {bad.view.number} did not pass: {verdict(bad)}: {short(bad.view.reason)}. {counts}"


def _failed(report: Report) -> str:
    if not report.causes:
        return "Nothing: no device ended without settling."
    told = (f"{n:,} {outcome.replace('_', ' ')}: {advice(outcome)}" for outcome, n in _by_outcome(report)[:_CAUSES])
    return f"{_sentence('; '.join(told))} The causes are below."


def _by_outcome(report: Report) -> list[tuple[str, int]]:
    ended = [(outcome, n) for outcome, n in report.outcomes.items() if outcome not in {"settled", "open"}]
    return sorted(ended, key=lambda item: (-item[1], item[0]))


def _forecast(report: Report) -> str:
    if not report.forecast:
        return "Not known: the plan was not rehearsed before it began."
    off = [held for held in report.forecast if held.says != "as expected"]
    if not off:
        return f"Yes: all {len(report.forecast)} figures lie where nine in ten rehearsals had them."
    return _sentence(
        "; ".join(f"{held.what} {held.says} ({held.fact:g}, expected {held.expected})" for held in off[:3])
    )


def _cost(report: Report, rates: Rates) -> str:
    sent = many(sum(each.sent for each in report.requests), "Service Request")
    priced = price(report, rates)
    money = (
        f"{rates.money(sum(priced.values()))} in all for {_listed(priced)}"
        if priced
        else "not priced: no rates were given"
    )
    saved = f", worth {rates.money(report.homes.settled * rates.visit)}" if rates.visit is not None else ""
    avoided = "none, since it was rolled back" if report.rolled_back_by else many(report.homes.settled, "home") + saved
    return (
        f"{sent} sent; {money}. Visits avoided: {avoided}."
        f" Visits left: {many(report.homes.visits, 'home')}; {report.homes.customers:,} more wait for their customer."
    )


def price(report: Report, rates: Rates) -> dict[str, float]:
    """What was spent, by what for, as far as there is a rate for it."""
    found = {
        f"SR {each.variant}": each.sent * rates.service_requests[each.variant]
        for each in report.requests
        if each.variant in rates.service_requests
    }
    if rates.engine_action is not None:
        found["engine actions"] = actions(report) * rates.engine_action
    if rates.visit is not None and report.homes.visits:
        found["visits"] = report.homes.visits * rates.visit
    return found


def actions(report: Report) -> int:
    """The engine's billable actions, about: the happy path's, for each device that was begun."""
    begun = report.devices - report.outcomes.get(Outcome.NOT_STARTED, 0)
    return begun * ACTIONS[DeviceType(report.heading.device_type)]


def _proof(report: Report) -> str:
    behind = sum(report.audit.unchained.values())
    return (
        f"Each step stands in a hash chain of {report.audit.rows:,} rows, {behind:,} not chained yet, with the head"
        f" {report.audit.head[:16]}. An auditor checks an export of it with nothing but the verifier: the last section says how."
    )


def many(n: int, what: str) -> str:
    """So many of what, in the singular or the plural: 1 home, 1,200 homes."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _listed(names: Iterable[str], most: int = 4) -> str:
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."


def count(heading: Heading, told: list[tuple[str, str]]) -> int:
    """The words of the first page: its title, the questions and the answers."""
    return len(" ".join([heading.name, *(f"{question} {answer}" for question, answer in told)]).split())
