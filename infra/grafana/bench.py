"""The dashboard of the benches: what goes over the air, as the workers tell it, and their campaigns, as the ledger does."""

from infra.grafana import Board, Panel, Query, Shape

_OF = '* on (job, instance, campaign) group_left ({label}) hanwave_campaign_info{{route=~"bench/.*"}}'
_ROUTE = _OF.format(label="route")


def _by_bench(expr: str) -> str:
    """The series of each bench's process, under the bench's name."""
    return f"sum by (bench) ({expr} * on (job, instance) group_left (bench) hanwave_bench_info)"


def _rate(name: str) -> str:
    return f"rate(hanwave_bench_{name}_total[$__rate_interval])"


BENCH = Board(
    uid="hanwave-bench",
    title="hanwave: bench",
    description="Updates over ZigBee on a bench: the coordinator, the transfers, and what became of the devices.",
    rows={
        "Coordinators": (
            Panel(
                "There",
                "1 while a bench has its coordinator. Without it every device waits where it is, and loses nothing.",
                (Query(_by_bench("hanwave_bench_coordinator_up"), "{{bench}}"),),
            ),
            Panel(
                "Lost so far",
                "How often a coordinator went since its worker started. More than a few: its power, or its cable.",
                (Query(_by_bench("hanwave_bench_coordinator_losses_total"), "{{bench}}"),),
            ),
            Panel(
                "Devices on the network",
                "Those that have joined. A device that is not here waits in its campaign until it is.",
                (Query(_by_bench("hanwave_bench_devices"), "{{bench}}"),),
            ),
            Panel(
                "Room",
                "Free shares, and all there are. A device that listens takes one, one that sleeps takes four.",
                (
                    Query(_by_bench("hanwave_bench_shares_free"), "{{bench}} free"),
                    Query(_by_bench("hanwave_bench_shares"), "{{bench}} in all"),
                ),
            ),
        ),
        "Transfers": (
            Panel(
                "Under way, by stage",
                "Many in `queued`: the coordinator's room is what they wait for. In `paused`: a stop, or the permit.",
                (Query("sum by (stage) (hanwave_bench_transfers)", "{{stage}}"),),
                shape=Shape.STACK,
            ),
            Panel(
                "Octets a second",
                "Of blocks that devices acknowledged, of all of a bench's transfers together.",
                (Query(_by_bench(_rate("octets")), "{{bench}}"),),
                unit="Bps",
            ),
            Panel(
                "Blocks a second, and those sent twice",
                "Blocks that a device had acknowledged before and asked for again: it forgot them, or its radio is weak.",
                (
                    Query(_by_bench(_rate("blocks")), "{{bench}}"),
                    Query(_by_bench(_rate("repeats")), "{{bench}} again"),
                ),
                unit="ops",
            ),
            Panel(
                "How they ended",
                "Transfers since the workers started, by outcome. docs/bench.md says what each means, and what to do.",
                (Query("sum by (outcome) (hanwave_bench_transfers_ended_total)", "{{outcome}}"),),
                shape=Shape.STACK,
            ),
        ),
        "Campaigns on benches": (
            Panel(
                "Devices by state",
                "Every device of the campaigns on a bench, by where its update stands; closed ones by how they ended.",
                (Query(f"sum by (route, state) (hanwave_campaign_devices {_ROUTE})", "{{route}} {{state}}"),),
                shape=Shape.STACK,
            ),
            Panel(
                "By release and model",
                "What one model makes of a release is seen here before any home has it.",
                (
                    Query(
                        f"sum by (release, model, state) (hanwave_campaign_devices {_OF.format(label='release')})",
                        now=True,
                    ),
                ),
                shape=Shape.TABLE,
            ),
            Panel(
                "Verdicts",
                "Of the waves on benches. A campaign whose gates all passed is the evidence for `hanwave bench pass`.",
                (Query(f"hanwave_wave_verdict {_ROUTE}", now=True),),
                shape=Shape.TABLE,
            ),
            Panel(
                "What people did",
                "Releases that passed the lab, devices that were let join or were forgotten, in all.",
                (Query('sum by (verb) (hanwave_notes_total{verb=~"bench .*|pass_lab"})', "{{verb}}"),),
            ),
        ),
    },
)
