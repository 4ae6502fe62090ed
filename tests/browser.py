"""A headless chromium for tests of pages, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1440,1100",
)  # fmt: skip


def missing() -> str | None:
    """Why pages cannot be tested here; None when they can. With WSE_BROWSER=required a missing browser is a failure."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    for name in ("chromium", "chromedriver"):
        if shutil.which(name) is None:
            return f"{name} is not installed"
    return None


@contextmanager
def open_browser(profile: Path) -> Iterator[Any]:
    """A browser with a fresh profile; skips the test where there is none."""
    if (reason := missing()) is not None:
        (pytest.fail if os.environ.get("WSE_BROWSER") == "required" else pytest.skip)(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def visit(driver: Any, page: Path) -> None:
    """Open a page and wait until its scripts are done."""
    driver.get_log("browser")
    driver.get(page.resolve().as_uri())
    until(lambda: driver.execute_script("return document.body.dataset.ready"), "the page did not get ready")


def until(true: Any, what: str, seconds: float = 20) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)
