"""A page served by the command itself and looked at in a headless Chromium; records what a visitor would not see."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
ROOT = Path(__file__).parents[3]
PATIENCE = 60_000  # milliseconds


@contextmanager
def served(*words: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs `kronos-ft ui` on a free port; gives its address and process, and ends it."""
    command = [sys.executable, "-m", "kronos_ft", "ui", *words, "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            seen = []
            for line in process.stdout:
                seen.append(line)
                if found := re.match(r"page\s+(http://\S+)", line):
                    yield found[1].rstrip("/"), process
                    break
            else:
                raise AssertionError("the page did not start: " + "".join(seen))
        finally:
            process.terminate()
            process.wait(30)


class Visit:
    """One browser page; keeps errors of the console and requests to other hosts."""

    def __init__(self, page: object, address: str):
        self.page, self.address = page, address
        self.errors: list[str] = []
        self._elsewhere: list[object] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _asked(self, request: object) -> None:
        if not request.url.startswith((self.address, "data:", "blob:", "about:")):
            self._elsewhere.append(request)

    def elsewhere(self) -> list[str]:
        """Requests to other hosts, without those that a policy refused before they left the browser.

        A busy Chromium tells of a refused request too, as one that failed with "csp".
        """
        self.page.evaluate("0")  # events up to now have come when this is answered
        return [request.url for request in self._elsewhere if request.failure != "csp"]

    def open(self) -> None:
        """Loads the page and waits for its first chart."""
        self.page.goto(self.address)
        self.page.wait_for_selector("#chart svg")

    def forecast(self) -> None:
        """Asks for a forecast and waits for the picture that has one."""
        self.page.click("#run")
        self.page.wait_for_selector("#chart path.median")
        self.page.wait_for_selector("#table table")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def choose(self, selector: str, words: str) -> None:
        """Clicks the label of a choice."""
        self.page.locator(f"{selector} label", has_text=words).click()

    def tab(self, words: str) -> None:
        self.page.get_by_role("tab", name=words).click()


@contextmanager
def visiting(address: str, **options: object) -> Iterator[Visit]:
    """Opens a browser; options are those of a Playwright context, such as `color_scheme`."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "no chromium; apt-get install -y chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=list(FLAGS))
        try:
            page = browser.new_context(viewport={"width": 1440, "height": 1000}, **options).new_page()
            yield Visit(page, address)
        finally:
            browser.close()
