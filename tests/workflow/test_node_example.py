"""The example in another language, as it stands, on a real Temporal; skipped where Node.js or its registry is not there."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.dcc import quiet
from tests.support.ledger import World
from tests.workflow.test_campaign import FAST, running

pytestmark = [pytest.mark.workflow, pytest.mark.asyncio(loop_scope="session")]
EXAMPLE = Path(__file__).parents[2] / "examples" / "node"
REQUEST = {"release": "r2", "author": "ann", "approvals": 2, "policy": FAST}


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed from its lock."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no Node.js here: the example in JavaScript was not tried")
    folder = tmp_path_factory.mktemp("node") / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm could not install the example: {done.stderr.strip().splitlines()[-1:]}")
    return folder


async def test_a_campaign_is_started_and_approved_from_javascript(world: World, temporal: Client, example: Path):
    world.release_document()
    world.fleet(3)
    (example / "request.json").write_text(json.dumps(REQUEST))
    address = temporal.service_client.config.target_host
    async with running(world, temporal, quiet):
        node = await asyncio.create_subprocess_exec(
            *("node", "campaign.mjs", address, "from-node", "request.json", "bob"),
            cwd=example,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(node.communicate(), 40)
        await temporal.get_workflow_handle("campaign/from-node").terminate()
    assert node.returncode == 0, err.decode()
    said = out.decode().splitlines()
    assert said[0].startswith(f"plan {world.digest()}: 2, 1 devices")
    assert said[1].startswith("approved by bob")
    assert json.loads(said[-1])["approvers"] == ["bob"]
