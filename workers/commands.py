"""What the workers add to the command line, through the entry-point group hanwave.commands."""

COMMANDS = {
    "recover": (
        "workers.recovery_command:recover",
        "Start a campaign, its open wave and its devices again in Temporal, from the ledger alone.",
    ),
}
