"""`hanwave campaign report`: what was planned, done, judged and spent, as one HTML page, and as PDF by way of a browser."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hanwave.cli.campaign.options import Name
from hanwave.cli.ledger_option import Database, now, open_ledger, own_user_id
from hanwave.cli.output import AsJson, emit, read_file, write_file
from hanwave.cli.progress import working
from hanwave.errors import HanwaveError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE = 60


def report(
    name: Name,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The page (default: NAME.html).")] = None,
    pdf: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as PDF too; needs Chromium.")] = None,
    rates: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML: currency, service_requests, engine_action, visit (default: no prices)."
        ),
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write a campaign's report: one page that needs nothing else, whose first sheet answers eight questions."""
    # Here and not above: matplotlib and the ledger's libraries take a second.
    from hanwave.ledger.report import gather  # noqa: PLC0415
    from hanwave.report import answers, page  # noqa: PLC0415
    from hanwave.report.rates import Rates, parse  # noqa: PLC0415

    known = parse(read_file(rates, "the rate table"), f"the rate table {rates}") if rates else Rates()
    browser = _browser() if pdf else None
    with open_ledger(database) as ledger, ledger.begin() as connection:
        found = gather(connection, name, now(), own_user_id())
    with working():
        html, written = page.render(found, known).encode(), out or Path(f"{name}.html")
        write_file(written, html, "the report")
        if pdf and browser:
            write_file(pdf, _printed(browser, html), "the report")
    told = dict(answers.answers(found, known)) if as_json else {}
    emit({"report": str(written), "pdf": str(pdf) if pdf else None, **told}, as_json=as_json)


def _browser() -> str:
    for browser in _BROWSERS:
        if found := shutil.which(browser):
            return found
    raise HanwaveError(
        f"a PDF is made by Chromium, and none is installed (looked for {', '.join(_BROWSERS)}): print the page instead"
    )


def _printed(browser: str, html: bytes) -> bytes:
    """The page as PDF, by a browser with a profile of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "report.html"), Path(folder, "report.pdf")
        source.write_bytes(html)
        # Chromium's sandbox refuses to run as root; the page is ours and has no script.
        alone = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [browser, *_QUIET, *alone, f"--user-data-dir={folder}/profile", "--no-pdf-header-footer"]
        try:
            subprocess.run(  # noqa: S603 - a browser of the PATH, and files that are ours
                [*command, f"--print-to-pdf={result}", source.as_uri()],
                capture_output=True,
                timeout=_PATIENCE,
                check=True,
            )
            return result.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise HanwaveError(
                f"{browser} could not print the report as PDF: {str(error)[:120]}; the page itself is written"
            ) from error
