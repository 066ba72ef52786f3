"""The dashboards: the campaigns' and the gateway's panels and queries; installation.py and bench.py have the rest."""

from infra.grafana import Board, Panel, Query, Shape
from infra.grafana.bench import BENCH
from infra.grafana.installation import ENGINE, FLEET

OF = '{campaign=~"$campaign"}'
"""The campaigns that were chosen at the top of the page."""
_ENDED = 'state=~"settled|closed:.*"'
_BUDGET = "(user, variant, period)"
_LEG = "(le, type, leg, until)"

CAMPAIGN = Board(
    uid="hanwave-campaign",
    title="hanwave: campaign",
    description="How campaigns stand: devices by state, waves and their gates, forecast against fact, the time left.",
    by_campaign=True,
    rows={
        "How it stands": (
            Panel(
                "Devices by state",
                "Every device of the campaigns, by where its update stands; closed ones by how they ended.",
                (Query(f"sum by (state) (hanwave_campaign_devices{OF})", "{{state}}"),),
                shape=Shape.STACK,
            ),
            Panel(
                "Done",
                "The share of the devices whose updates have ended, well or not.",
                (
                    Query(
                        f'sum(hanwave_campaign_devices{{campaign=~"$campaign",{_ENDED}}}) / sum(hanwave_campaign_devices{OF})',
                        now=True,
                    ),
                ),
                unit="percentunit",
                shape=Shape.NUMBER,
                width=4,
            ),
            Panel(
                "Time left",
                "Devices that have not ended, at the rate of the last hour. It knows nothing of gates, people or windows.",
                (
                    Query(
                        f"(sum(hanwave_wave_devices{OF}) - sum(hanwave_campaign_devices{{"
                        f'campaign=~"$campaign",{_ENDED}}})) / clamp_min(sum(rate(hanwave_device_events_total{{'
                        'campaign=~"$campaign",kind=~"settled|closed"}[1h])), 1e-9)',
                        now=True,
                    ),
                ),
                unit="s",
                shape=Shape.NUMBER,
                width=4,
            ),
            Panel(
                "Stops that hold",
                "Halts, pauses and breakers. Anything but 0 wants a person: see the runbook of the alert.",
                (Query("sum by (kind) (hanwave_stops)", "{{kind}}", now=True),),
                shape=Shape.NUMBER,
                width=4,
            ),
        ),
        "Waves": (
            Panel(
                "Verdicts",
                "Each judged wave's verdict. `hanwave campaign explain` says what it was judged by.",
                (Query(f"hanwave_wave_verdict{OF}", now=True),),
                shape=Shape.TABLE,
            ),
            Panel(
                "Waves that hold, or run",
                "1 while a wave runs; 1 while the gate of a closed one keeps the next from beginning.",
                (
                    Query(f"hanwave_wave_open{OF}", "{{campaign}}/{{wave}} runs"),
                    Query(f"hanwave_wave_held{OF}", "{{campaign}}/{{wave}} holds"),
                ),
            ),
            Panel(
                "Silence against what is tolerable",
                "Silent devices of those that settled or are silent, and the limit: the ordinary, and the gate's excess.",
                (
                    Query(f"hanwave_wave_silent_ratio{OF}", "{{campaign}}/{{wave}}"),
                    Query(f"hanwave_wave_silent_limit_ratio{OF}", "{{campaign}}/{{wave}} limit"),
                ),
                unit="percentunit",
            ),
            Panel(
                "Harm against what is tolerable",
                "Devices harmed, of those with evidence, and the gate's limit. The breaker opens before the gate judges.",
                (
                    Query(f"hanwave_wave_harm_ratio{OF}", "{{campaign}}/{{wave}}"),
                    Query(f"hanwave_wave_harm_limit_ratio{OF}", "{{campaign}}/{{wave}} limit"),
                ),
                unit="percentunit",
            ),
        ),
        "Forecast against fact": (
            Panel(
                "Settled, and what the rehearsal had",
                "Devices settled, between what nine in ten rehearsals had by the end of the day. Only rehearsed plans.",
                (
                    Query(
                        'sum by (campaign) (hanwave_campaign_devices{campaign=~"$campaign",state="settled"})',
                        "{{campaign}}",
                    ),
                    Query(f"hanwave_forecast_settled_devices{OF}", "{{campaign}} {{bound}}"),
                ),
            ),
            Panel(
                "Expected end",
                "When the rehearsal ends: the earliest, the middle and the latest of nine in ten.",
                (Query(f"1000 * hanwave_forecast_end_timestamp_seconds{OF}", "{{campaign}} {{bound}}", now=True),),
                unit="dateTimeAsIso",
                shape=Shape.NUMBER,
            ),
        ),
        "What takes how long, and what waits": (
            Panel(
                "From sending to what was learnt: 95 in 100",
                "By type, leg and what came: a leg that grows slower is the first sign of a network that is unwell.",
                (
                    Query(
                        f"histogram_quantile(0.95, sum by {_LEG} (hanwave_leg_duration_seconds_bucket))",
                        "{{type}} {{leg}} {{until}}",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "What the permit refused",
                "Devices refused a second, by the check that did: budgets, windows, homes, stops.",
                (
                    Query(
                        "sum by (leg, check) (rate(hanwave_permit_refusals_total"
                        '{campaign=~"$campaign"}[$__rate_interval]))',
                        "{{leg}} {{check}}",
                    ),
                ),
            ),
            Panel(
                "By model",
                "Devices by model and state: harm or silence that has one model is a release that does not suit it.",
                (Query(f"sum by (model, state) (hanwave_campaign_devices{OF})", "{{model}} {{state}}"),),
                shape=Shape.STACK,
            ),
            Panel(
                "Deadlines that passed",
                "Legs whose deadline passed in silence, and those that no sweep has recorded yet.",
                (
                    Query(
                        'sum by (leg) (hanwave_device_events_total{campaign=~"$campaign",kind="overdue"})',
                        "{{leg}} in all",
                    ),
                    Query(f"sum(hanwave_wave_deadlines_due{OF})", "not recorded yet"),
                ),
            ),
        ),
    },
)

GATEWAY = Board(
    uid="hanwave-gateway",
    title="hanwave: DCC gateway",
    description="What is sent to the DCC, what comes back, and what of the anomaly-detection thresholds is used.",
    rows={
        "Requests": (
            Panel(
                "Requests granted",
                "Service Requests that the permit let out, a second, by reference. A halt brings forward ones to 0.",
                (
                    Query(
                        "sum by (service_reference, permit_class) (rate(hanwave_requests_granted_total[$__rate_interval]))",
                        "{{service_reference}} {{permit_class}}",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Answered, by the DCC's code",
                "Requests by the code of their acknowledgement, in all.",
                (Query("sum by (state, code) (hanwave_requests_ended_total)", "{{state}} {{code}}"),),
                shape=Shape.STACK,
            ),
            Panel(
                "Without an answer",
                "Requests in the outbox: granted, ready, being sent, or sent without an acknowledgement.",
                (Query("hanwave_requests_open", "{{state}}"),),
            ),
            Panel(
                "POSTs a request",
                "More than 1: acknowledgements are lost, and the same bytes are sent again.",
                (
                    Query(
                        "sum by (service_reference) (hanwave_request_posts_total)"
                        " / sum by (service_reference) (hanwave_requests_ended_total)",
                        "{{service_reference}}",
                    ),
                ),
            ),
        ),
        "Answers of devices": (
            Panel(
                "Facts learnt",
                "What was recorded of devices, a second, by whose word.",
                (
                    Query(
                        "sum by (kind, evidence) (rate(hanwave_device_events_total[$__rate_interval]))",
                        "{{kind}} ({{evidence}})",
                    ),
                ),
            ),
            Panel(
                "Refused or not reached, by code",
                "Devices by the DCC's code: `hanwave campaign outcomes` says what to do about each.",
                (Query("sum by (leg, code) (hanwave_device_codes_total)", "{{leg}} {{code}}"),),
            ),
        ),
        "Thresholds": (
            Panel(
                "Used of the thresholds",
                "The share that is used by everybody, in the threshold's own period. Above 1 the DCC holds requests.",
                (
                    Query(
                        f"sum by {_BUDGET} (hanwave_budget_used) / sum by {_BUDGET} (hanwave_budget_limit)",
                        "{{user}} {{variant}} in {{period}}",
                    ),
                ),
                unit="percentunit",
            ),
            Panel(
                "Held in quarantine",
                "Requests that the DCC holds, until a person records what became of them.",
                (
                    Query("sum(hanwave_quarantined_requests)", "requests"),
                    Query("sum(hanwave_quarantined_devices)", "devices"),
                ),
            ),
        ),
        "Messages": (
            Panel(
                "At the door",
                "Messages a second, by the HTTP status that they were answered with; 400 were kept apart.",
                (Query("sum by (status) (rate(hanwave_inbox_received_total[$__rate_interval]))", "{{status}}"),),
                unit="reqps",
            ),
            Panel(
                "Routed, by what they were to us",
                "Messages a second: ours, late, of other systems, or not understood.",
                (Query("sum by (route) (rate(hanwave_inbox_routed_total[$__rate_interval]))", "{{route}}"),),
                unit="reqps",
            ),
            Panel(
                "Waiting to be routed",
                "Messages that are stored and not yet routed, and those not handed on to the supplier's other systems.",
                (
                    Query("hanwave_inbox_waiting_messages", "to be routed"),
                    Query("hanwave_inbox_to_forward_messages", "to be handed on"),
                ),
            ),
            Panel(
                "Age of the oldest",
                "How long the oldest of them has waited; 0 where none does.",
                (
                    Query(
                        "(time() - hanwave_inbox_oldest_timestamp_seconds) * (hanwave_inbox_oldest_timestamp_seconds > bool 0)",
                        "oldest",
                    ),
                ),
                unit="s",
            ),
        ),
        "The emulator (not the DCC)": (
            Panel(
                "Requests at the emulator",
                "By service and code. There is no emulator in production: this row is empty there.",
                (Query("hanwave_emulator_requests_total", "{{service}} {{code}}"),),
            ),
            Panel(
                "Breaches that the emulator noticed",
                "Anything but 0 is an error of hanwave's.",
                (
                    Query("hanwave_emulator_violations_total", "violations"),
                    Query("hanwave_emulator_reposts_total", "re-POSTs"),
                ),
            ),
        ),
    },
)

BOARDS = (CAMPAIGN, GATEWAY, FLEET, ENGINE, BENCH)
