"""The Temporal Web UI in a real browser, as an operator has it before him."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from hanwave import console

if TYPE_CHECKING:
    from playwright.async_api import FrameLocator, Locator, Page

_PATIENCE = 40_000  # ms: a page of the Web UI takes a second by itself, and several beside other stacks
_WINDOW = {"width": 1500, "height": 1100}


@dataclass
class Console:
    """A page of the Web UI; pictures: the folder that they are put into, where they are asked for."""

    page: "Page"
    ui: str
    pictures: Path | None

    async def picture(self, name: str) -> None:
        """Keep what is seen now as console-<name>.png."""
        if self.pictures:
            await self.page.wait_for_timeout(600)
            # The frame around what a key was pressed in is no part of the picture.
            await self.page.evaluate("document.activeElement?.matches('main') && document.activeElement.blur()")
            await self.page.screenshot(path=self.pictures / f"console-{name}.png")

    async def home(self) -> None:
        """Open the address that `hanwave up` prints."""
        await self.page.goto(self.ui)
        await self.page.get_by_role("table", name="Workflows").wait_for()

    async def view(self, name: str) -> None:
        """Choose a saved view of the list; another one is chosen already."""
        views = self.page.get_by_role("group", name="Saved Views")
        await views.locator("button[aria-haspopup], button[aria-expanded]").first.click()
        await self.page.get_by_role("menuitem", name=name, exact=True).click()
        await views.get_by_role("button", name=name, exact=True).wait_for()

    async def open(self, workflow_id: str) -> None:
        """Open a workflow from the list."""
        await self.page.get_by_role("link", name=workflow_id).first.click()
        await self.page.wait_for_url(re.compile(re.escape(quote(workflow_id, safe="")) + "/"))

    async def start(self, workflow_id: str, request: dict[str, Any], picture: str) -> None:
        """Fill in the page of Start Workflow, to which the link of `hanwave console views` leads, and press its button."""
        await self.page.goto(console.start_link(self.ui, "default"))
        await self.page.get_by_text("Task Queue is Active").wait_for()
        await self.page.get_by_role("textbox", name="Workflow ID").fill(workflow_id)
        await self._type(json.dumps(request, indent=2))
        await self.picture(picture)
        await self.page.get_by_role("button", name="Start Workflow").click()
        await (
            self.page.get_by_role("link", name="Workflow started successfully")
            .or_(self.page.get_by_text("success", exact=False))
            .first.wait_for()
        )

    async def _type(self, text: str) -> None:
        await self.page.get_by_role("textbox", name="Data").click()
        await self.page.keyboard.press("Control+A")
        await self.page.keyboard.insert_text(text)

    async def details(self) -> "FrameLocator":
        """Go to the tab User Metadata; what stands there under Current Details."""
        await self.page.get_by_role("tab", name="User Metadata").click()
        frame = self.page.frame_locator("iframe").last
        await frame.get_by_role("heading").first.wait_for()
        return frame

    async def shows(self, wanted: str) -> "FrameLocator":
        """Press R until the current details say so."""
        frame = await self.details()
        for _ in range(60):
            await self.page.keyboard.press("r")
            await self.page.wait_for_timeout(500)
            if wanted in await frame.locator("body").inner_text():
                return frame
        raise AssertionError(f"{wanted!r} is not in {await frame.locator('body').inner_text()}")

    async def offered(self, verb: str, **filled: str) -> dict[str, Any]:
        """The input that the page itself offers for a verb, with YOU, WHY and the like filled in."""
        line = (await self.shows(verb)).locator("li").filter(has_text=re.compile(f"^{verb} "))
        given: dict[str, Any] = json.loads(await line.locator("code").last.inner_text())
        return {name: filled.get(value, value) if isinstance(value, str) else value for name, value in given.items()}

    async def actions(self) -> list[str]:
        """Open More Actions; what stands there."""
        await self.page.get_by_role("button", name="More Actions").click()
        await self.page.get_by_role("menuitem", name="Send an Update").wait_for()
        return await self.page.get_by_role("menuitem").all_inner_texts()

    async def write(self, verb: str, given: dict[str, Any], picture: str | None = None) -> None:
        """Choose Send an Update, the verb, and its input; the button is not pressed yet."""
        await self.actions()
        await self.page.get_by_role("menuitem", name="Send an Update").click()
        await self.page.get_by_role("button", name="Select an Update").click()
        option = self.page.get_by_role("option").filter(has_text=re.compile(rf"^\s*{verb}\b"))
        await option.wait_for()
        if picture:
            await self.picture(picture)
        await option.click()
        await self._type(json.dumps(given))

    @property
    def _dialog(self) -> "Locator":
        return self.page.get_by_role("dialog", name="Send an Update")

    async def _submit(self) -> None:
        # Not by a click: the input is set in order as the editor is left, and the button moves away under the mouse.
        await self._dialog.get_by_role("button", name="Submit").press("Enter")

    async def send(self, verb: str, given: dict[str, Any]) -> None:
        """Send an Update that is done."""
        await self.write(verb, given)
        await self._submit()
        await self._dialog.wait_for(state="hidden")

    async def refused(self, verb: str, given: dict[str, Any], picture: str, *, choice: str | None = None) -> str:
        """Send an Update that is refused; what is said."""
        await self.write(verb, given, choice)
        await self._submit()
        alert = self._dialog.get_by_role("alert").last
        await alert.wait_for()
        await self.picture(picture)
        said = await alert.inner_text()
        await self._dialog.get_by_test_id("cancel-modal-button").click()
        return said.strip()


@asynccontextmanager
async def browser(ui: str, pictures: Path | None) -> AsyncIterator[Console]:
    """A browser before the Web UI at that address; the test is skipped where there is no Chromium."""
    playwright = pytest.importorskip("playwright.async_api")
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not on the PATH")
    async with playwright.async_playwright() as started:
        opened = await started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = await opened.new_page(viewport=_WINDOW, timezone_id="UTC")
        page.set_default_timeout(_PATIENCE)
        yield Console(page, ui, pictures)
        await opened.close()
