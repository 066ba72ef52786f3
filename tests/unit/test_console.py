"""The operators' door to the Web UI: what it lets through, what it changes, and the links of `hanwave console`."""

import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from hanwave import console
from infra.stack.console import application
from tests.support.command import run

pytestmark = pytest.mark.unit
_WORKFLOW = "/api/v1/namespaces/default/workflows/campaign%2Fspring"


async def echo(request: Request) -> JSONResponse:
    if request.url.path == "/api/v1/settings":
        return JSONResponse({"Version": "2.54.1", **dict.fromkeys(console.TAKEN, False)})
    body = (await request.body()).decode()
    seen = {"path": request.scope["raw_path"].decode(), "query": request.url.query, "body": body}
    return JSONResponse(seen, headers={"set-cookie": "_csrf=x"})


@pytest.fixture
async def door():
    web_ui = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST", "PUT", "DELETE"])])
    behind = httpx.AsyncClient(transport=httpx.ASGITransport(web_ui), base_url="http://web-ui")
    before = httpx.ASGITransport(application(behind))
    async with behind, httpx.AsyncClient(transport=before, base_url="http://door") as client:
        yield client


@pytest.mark.parametrize("end", ["", "/update/halt", "/signal/wake", "/query/view", "/cancel"])
async def test_hanwaves_verbs_go_through_as_they_are(door, end):
    answer = await door.post(f"{_WORKFLOW}{end}?x=%20y", content=b'{"reason": "storm"}')
    assert answer.json() == {"path": _WORKFLOW + end, "query": "x=%20y", "body": '{"reason": "storm"}'}
    assert answer.headers["set-cookie"] == "_csrf=x"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("POST", f"{_WORKFLOW}/{each}")
            for each in ("terminate", "reset", "pause", "unpause", "update", "x/update/y")
        ),
        ("POST", "/api/v1/namespaces/default/batch-operations/one"),
        ("POST", "/api/v1/namespaces/default/activities/reset"),
        ("POST", "/api/v1/namespaces/default/workflows"),
        ("PUT", _WORKFLOW),
        ("DELETE", _WORKFLOW),
    ],
)
async def test_what_goes_round_them_does_not(door, method, path):
    answer = await door.request(method, path, json={})
    assert answer.status_code == 403
    assert "send the workflow an Update" in answer.json()["message"]


async def test_what_is_only_read_goes_through(door):
    assert (await door.get(f"{_WORKFLOW}/history?page=2")).json()["query"] == "page=2"


async def test_the_settings_have_the_buttons_taken(door):
    settings = (await door.get("/api/v1/settings")).json()
    assert settings == {"Version": "2.54.1", **dict.fromkeys(console.TAKEN, True)}


async def test_a_web_ui_that_is_not_there_is_said_to_be():
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as gone:
        before = httpx.ASGITransport(application(gone))
        async with httpx.AsyncClient(transport=before, base_url="http://door") as client:
            for path in ("/api/v1/settings", "/namespaces"):
                answer = await client.get(path)
                assert (answer.status_code, "does not answer" in answer.text) == (502, True)


def test_the_links_save_each_view_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANWAVE_TEMPORAL__NAMESPACE", "meters.x1")
    told = json.loads(run("console", "views", "https://temporal.example/", "--json").out)
    assert list(told["views"]) == [view.name for view in console.VIEWS] == sorted(told["views"])
    for view in console.VIEWS:
        link = urlsplit(told["views"][view.name])
        assert link.path == "/namespaces/meters.x1/workflows"
        assert parse_qs(link.query) == {"query": [view.query], "savedQuery": [view.name]}


def test_an_address_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = run("console", "views", "temporal.example")
    assert (refused.code, refused.out) == (1, "")
    assert "should begin with https://" in refused.err


def test_the_settings_are_lines_of_an_environment():
    assert "TEMPORAL_WORKFLOW_TERMINATE_DISABLED=true\n" in run("console", "settings").out
