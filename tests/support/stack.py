"""Processes for stack tests that need nothing of hanwave's, and what is left running of a stack."""

from pathlib import Path

from infra.stack.processes import Process, Restart

WEB = Process(
    name="web",
    argv=("{python}", "-m", "http.server", "--bind", "127.0.0.1", "{web}"),
    ports=("web",),
    ready="http://127.0.0.1:{web}/",
)
"""A server, so that something depends on PostgreSQL and Temporal."""


def python(name: str, code: str, *, after: tuple[str, ...] = (), restart: Restart = Restart.ALWAYS) -> Process:
    """A process that runs a line of Python; braces in it are placeholders."""
    return Process(name=name, argv=("{python}", "-c", code), after=after, restart=restart)


def remains(folder: Path) -> list[str]:
    """The command lines of every process that still has to do with a state folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            cwd = str((entry / "cwd").readlink())
        except OSError:
            continue
        # State and socket are named in a postmaster's arguments, the folder in everybody's HANWAVE_CONFIG.
        if str(folder).encode() in text or cwd.startswith(str(folder)):
            found.append((entry / "comm").read_text().strip() + " " + entry.name)
    return found
