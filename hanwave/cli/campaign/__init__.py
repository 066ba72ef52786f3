"""`hanwave campaign`: plan, start, watch and steer campaigns. This gathers the commands, each with an example."""

import typer

from hanwave.cli.campaign import begin, ends, look, verbs
from hanwave.cli.campaign.explain import explain
from hanwave.cli.campaign.plan_diff import plan_diff
from hanwave.cli.campaign.rehearse import rehearse
from hanwave.cli.campaign.report import report
from hanwave.cli.campaign.when import when

app = typer.Typer(no_args_is_help=True, help="Plan, start, watch and steer campaigns.")
for command, example in (
    (begin.plan, "plan --release acme-e470-0200 --region South"),
    (plan_diff, "plan-diff spring-e470 changed.json"),
    (rehearse, "rehearse --release acme-e470-0200 --region South --harm 0.05 --plots forecast.svg"),
    (begin.start, "start spring-e470 --release acme-e470-0200 --region South --approvals 1"),
    (look.list_, "list --json"),
    (look.status, "status spring-e470"),
    (look.watch, "watch spring-e470"),
    (when, "when spring-e470"),
    (explain, "explain spring-e470 --wave 1"),
    (verbs.approve, "approve spring-e470 --digest $(cat the.plan.that.i.read)"),
    (verbs.pause, "pause spring-e470 --leg activate --reason storm"),
    (verbs.resume, "resume spring-e470 --digest 3f0c8d21a4b96e75 --reason 'the storm is over'"),
    (verbs.halt, "halt spring-e470 --reason 'meters fall silent'"),
    (verbs.lift, "lift 12 --reason 'looked at it with the manufacturer'"),
    (verbs.go_on, "go-on spring-e470 --digest 3f0c8d21a4b96e75 --reason 'looked at it'"),
    (verbs.change_pace, "change-pace spring-e470 2.5 --digest 3f0c8d21a4b96e75 --reason night"),
    (verbs.cancel_device, "cancel-device spring-e470 00-DB-... --reason complaint"),
    (verbs.roll_back, "roll-back spring-e470 --digest 3f0c8d21a4b96e75 --to acme-e470-0100 --reason silence"),
    (ends.outcomes, "outcomes spring-e470 --outcome needs_visit --csv visits.csv"),
    (report, "report spring-e470 --out spring.html --pdf spring.pdf --rates rates.yaml"),
    (ends.retry, "retry spring-e470 --outcome not_delivered --as spring-e470-again"),
):
    name = command.__name__.strip("_").replace("_", "-")
    app.command(name, epilog=f"Example: hanwave campaign {example}")(command)
