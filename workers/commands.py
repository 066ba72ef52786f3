"""What the workers add to the command line, through the entry-point group hanwave.commands."""

COMMANDS = {
    "recover": (
        "workers.recovery_command:recover",
        "Start a campaign, its open wave and its devices again in Temporal, from the ledger alone.",
    ),
    "reconcile": (
        "workers.reconcile_command:reconcile",
        "After the ledger was restored from a backup: find out what happened since, then go on.",
    ),
    "schema": ("workers.schema_command:schema", "Print the JSON Schemas of a campaign's inputs and results."),
}
