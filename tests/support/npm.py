"""Packages of the npm registry, had at test time and kept in the user's cache; where they can't be had, tests skip and say why."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hanwave" / "peers"
PATIENCE = 50
"""Seconds for any one peer, under pytest's own limit for a test."""
_QUIET = ("--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--loglevel=error")


def program(name: str) -> str:
    """The path of a program of this machine; skips where there is none."""
    return shutil.which(name) or pytest.skip(f"{name} is not on this machine")


def installed(*packages: str) -> Path:
    """The folder that holds these packages and what they need; its name says their versions, so that another version is
    another folder.
    """
    npm = program("npm")
    folder = CACHE / "-".join(name.rpartition("/")[2].replace("@", "-") for name in packages)
    if not folder.is_dir():
        _install(folder, npm, packages)
    return folder


def _install(folder: Path, npm: str, packages: tuple[str, ...]) -> None:
    """Whole or not at all, so that a run that was broken off leaves nothing to be believed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        command = (npm, "install", "--prefix", temporary, *_QUIET, *packages)
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not bring {', '.join(packages)} within {PATIENCE} s")
        if done.returncode:
            pytest.skip(f"npm can't bring {', '.join(packages)}: {done.stderr.decode(errors='replace').strip()[-200:]}")
        (Path(temporary) / "node_modules").rename(folder)
