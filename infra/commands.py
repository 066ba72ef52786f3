"""What infra adds to the command line, through the entry-point group hanwave.commands: the library may not know of infra."""

COMMANDS = {
    "up": ("infra.stack.commands:up", "Start the embedded stack, or go on where the last one stopped."),
    "down": ("infra.stack.commands:down", "Stop the embedded stack; leave nothing running, and the data where it is."),
    "status": (
        "infra.stack.commands:status",
        "Show each process of the embedded stack; exit with 1 unless all are ready.",
    ),
    "doctor": ("infra.stack.commands:doctor", "Find what is wrong with this installation, and say what to do."),
}
