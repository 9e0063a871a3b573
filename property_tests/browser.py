"""A headless Chromium for the tests of pages, where one is installed.

`SBO_VERIFY_CHROMIUM` names the program; with `SBO_VERIFY_REQUIRE_BROWSER=1` a test that finds none
fails and is not skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRE = "SBO_VERIFY_REQUIRE_BROWSER"
AUDIT = Path(__file__).with_name("browser_audit.js")
# A container's root may have no sandbox of its own; the pages are this project's.
OPTIONS = ("--no-sandbox", "--disable-gpu")


def give_up(reason: str) -> NoReturn:
    """Skip with the reason, or fail where a browser is required."""
    if os.environ.get(REQUIRE, "0") not in {"", "0"}:
        pytest.fail(f"{REQUIRE} is set, and {reason}", pytrace=False)
    pytest.skip(f"needs a browser: {reason}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; skips the test where there is none."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an optional extra
    except ImportError:
        give_up("playwright is not installed: pip install 'sbo-verify[browser]'")
    with sync_playwright() as driver:
        named = os.environ.get("SBO_VERIFY_CHROMIUM")
        own = driver.chromium.executable_path
        program = named or next(filter(None, map(shutil.which, PROGRAMS)), None) or own
        if not Path(program).exists():
            give_up("no Chromium was found: install the package chromium")
        browser = driver.chromium.launch(executable_path=program, args=[*OPTIONS])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, file: Path, width: int = 1600) -> Iterator[tuple[Page, list[str]]]:
    """The page in `file`, and what its console complained of or it asked for beside itself."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on(
        "request",
        lambda request: (
            complaints.append(f"request: {request.url}") if request.url != file.as_uri() else None
        ),
    )
    try:
        page.goto(file.as_uri())
        yield page, complaints
    finally:
        page.close()


def unfold(page: Page) -> None:
    """Open every part that is folded away."""
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")


def audit(page: Page) -> list[str]:
    """What is wrong with the page as it is shown now."""
    found: list[str] = page.evaluate(AUDIT.read_text(encoding="utf-8"))
    return found
