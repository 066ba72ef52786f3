"""Fuzz one reader with atheris (libFuzzer), from seeds that are made by code.

    python -m tests.fuzz NAME [--seconds N] [--corpus FOLDER]

The last line is JSON: executions, the corpus's size before and after, and the file of a finding, if there is one.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LIMITS = ("-timeout=5", "-rss_limit_mb=1024", "-max_len=20000", "-print_final_stats=1")
"""An input that takes five seconds or a gigabyte is a finding too."""


def fuzz(name: str, seconds: int, corpus: Path) -> None:
    """Run libFuzzer in this process; it ends the process."""
    import atheris  # noqa: PLC0415 - what it instruments may not be imported before

    with atheris.instrument_imports(include=["hanwave"]):
        from tests.fuzz.test_targets import TARGETS  # noqa: PLC0415
    target = TARGETS[name]
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    options = (*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={corpus.parent}/finding-{name}-")

    def once(data: bytes) -> None:
        target.accepts(data)

    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


def run(name: str, seconds: int, corpus: Path) -> dict[str, object]:
    """Fuzz in a process of its own, and gather what it did."""
    corpus.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds), "--corpus", str(corpus), "--inside"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    executed = re.search(r"number_of_executed_units: +(\d+)", done.stderr)
    finding = re.search(r"Test unit written to (\S+)", done.stderr)
    if done.returncode or not executed:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
    return {
        "target": name,
        "seconds": seconds,
        "executions": int(executed[1]) if executed else 0,
        "corpus": len(list(corpus.iterdir())),
        "finding": finding[1] if finding else None,
        "ended": done.returncode,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        fuzz(options.name, options.seconds, options.corpus)
    facts = run(
        options.name, options.seconds, options.corpus or Path(tempfile.mkdtemp(prefix="hanwave-fuzz-")) / "corpus"
    )
    sys.stdout.write(json.dumps(facts) + "\n")
    return 1 if facts["ended"] else 0


if __name__ == "__main__":
    sys.exit(main())
