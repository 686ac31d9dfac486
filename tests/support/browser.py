"""Headless Chromium on a page that lies on the disk: pictures at several widths, and what is wrong with it.

`python -m tests.support.browser PAGE OUT` writes a picture for each width and theme into OUT, and the page as PDF.
`python -m tests.support.browser PAGE OUT.png --readme` writes the picture at README's top instead.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

Theme = Literal["light", "dark"]
WIDTHS = {"phone": 390, "laptop": 1440}
THEMES: tuple[Theme, ...] = ("light", "dark")
PRINT_WIDTH = 688  # CSS pixels between the margins of A4
_FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--disable-background-networking",
    "--disable-component-update",
)  # fmt: skip
_WIDER = """() => {
  const wide = document.documentElement.clientWidth;
  const broad = [...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll, svg'));
  return broad.filter(one => one.getBoundingClientRect().right > wide + 0.5).map(one => one.outerHTML.slice(0, 120));
}"""
_README = {"width": 1180, "height": 800}  # the part of the page that README shows


def chromium() -> str | None:
    """The browser's path, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One page in a browser that has nothing else open; `complaints` is what its console and the network saw."""

    def __init__(self, browser: Any, file: Path, width: int, theme: Theme, height: int = 900) -> None:
        self.complaints: list[str] = []
        # The page forbids scripts; those of the check are let in
        self._page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=theme, bypass_csp=True, reduced_motion="reduce"
        )
        self._page.on("console", lambda message: self.complaints.append(message.text))
        self._page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._page.on("request", lambda request: self._asked(request.url))
        self._page.goto(file.resolve().as_uri())

    def _asked(self, url: str) -> None:
        if not url.startswith(("data:", "file:")):
            self.complaints.append(f"request: {url}")

    def wider(self) -> list[str]:
        """Elements that reach beyond the page's right edge, less those in a part that scrolls by itself."""
        found: list[str] = self._page.evaluate(_WIDER)
        return found

    def violations(self) -> list[str]:
        """What axe-core finds wrong, by all its rules."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self._page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:160]}"
            for one in found
            for node in one["nodes"]
        ]

    def tabbed(self, steps: int) -> list[str]:
        """What has the focus after each of so many presses of the tabulator, by its text or label."""
        found = []
        for _ in range(steps):
            self._page.keyboard.press("Tab")
            found.append(
                str(self._page.evaluate("(one => one.ariaLabel || one.textContent || one.id)(document.activeElement)"))
            )
        return found

    def choose(self, theme: str) -> str:
        """Click on a theme's button; gives the colour of the ground then."""
        self._page.get_by_text(theme, exact=True).click()
        return str(self._page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def text(self) -> str:
        """Everything that is to be read."""
        return str(self._page.inner_text("body"))

    def count(self, selector: str) -> int:
        """How many elements there are of a kind."""
        return int(self._page.locator(selector).count())

    def print_view(self) -> None:
        """As the printer has it, on A4 paper."""
        self._page.emulate_media(media="print")
        self._page.set_viewport_size({"width": PRINT_WIDTH, "height": 1000})

    def picture(self, file: Path, *, whole: bool = True) -> None:
        """The page, or what is in the window, as PNG."""
        self._page.screenshot(path=str(file), full_page=whole)

    def pdf(self, file: Path) -> None:
        """The page as it is printed."""
        self._page.pdf(path=str(file), format="A4", print_background=False)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser with a profile of its own, which goes with it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        made = started.chromium.launch(executable_path=chromium(), args=list(_FLAGS), chromium_sandbox=False)
        yield made
        made.close()


def main(page: Path, out: Path, *, readme: bool) -> None:
    """Take the pictures; tell what is wrong."""
    with browser() as opened:
        if readme:
            Page(opened, page, _README["width"], "light", _README["height"]).picture(out, whole=False)
            return
        out.mkdir(parents=True, exist_ok=True)
        for name, width in WIDTHS.items():
            for theme in THEMES:
                shown = Page(opened, page, width, theme)
                shown.picture(out / f"{name}-{theme}.png")
                print(name, theme, shown.wider(), shown.violations(), shown.complaints)
        shown = Page(opened, page, PRINT_WIDTH, "dark")
        shown.pdf(out / "print.pdf")
        shown.print_view()
        shown.picture(out / "print.png")
        print("print", shown.wider(), shown.violations())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), readme="--readme" in sys.argv)
