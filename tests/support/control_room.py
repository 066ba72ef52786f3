"""A real Prometheus over a running stack, and the dashboards' queries asked through its API."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from infra.grafana import Panel
from infra.grafana.pictures import Prometheus
from infra.stack.ports import HOST, Ports


@contextmanager
def prometheus(configuration: Path, folder: Path) -> Iterator[Prometheus]:
    """Prometheus with that configuration, asking every second; its data lies in the folder."""
    document = yaml.safe_load(configuration.read_text())
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    folder.mkdir()
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(document))
    ports = Ports()
    port = ports.claim(["prometheus"], before={})["prometheus"]
    argv = [
        *("prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"),
        *(f"--web.listen-address={HOST}:{port}", "--log.level=warn"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
    asked = Prometheus(f"http://{HOST}:{port}")
    try:
        _wait_until_all_answer(asked, len(document["scrape_configs"]), folder / "log")
        yield asked
    finally:
        asked.close()
        process.terminate()
        process.wait(20)
        ports.close()


def _wait_until_all_answer(asked: Prometheus, jobs: int, log: Path) -> None:
    deadline = time.monotonic() + 45
    up: list[Any] = []
    while time.monotonic() < deadline:
        try:
            up = asked.now("up == 1")
        except httpx.HTTPError:
            up = []
        if len(up) == jobs:
            return
        time.sleep(0.3)
    raise AssertionError(f"only {[each['metric'] for each in up]} answer: {log.read_text()[-500:]}")


def empty(asked: Prometheus, panel: Panel) -> list[str]:
    """The queries of a panel that give nothing; one that Prometheus refuses raises."""
    return [query.expr for query in panel.queries if not asked.now(query.expr)]
