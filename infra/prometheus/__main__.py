"""`python -m infra.prometheus FILE JOB=HOST:PORT...` writes a configuration; without arguments, the one for production."""

import sys
from pathlib import Path

import yaml

from infra.prometheus import PRODUCTION, configuration, production


def main(arguments: list[str]) -> None:
    """Write the file."""
    if not arguments:
        PRODUCTION.write_text(production())
        return
    file, *jobs = arguments
    targets = {job: [address] for job, _, address in (each.partition("=") for each in jobs)}
    Path(file).write_text(yaml.safe_dump(configuration(targets, interval="2s"), sort_keys=False))


if __name__ == "__main__":
    main(sys.argv[1:])
