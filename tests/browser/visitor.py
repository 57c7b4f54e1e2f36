"""Somebody at a browser, and everything that a page may get wrong without a test having asked about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Locator, Page

WCAG: Final = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
# What another theme or a narrower window can change of a page that is already known to be accessible.
OF_COLOUR: Final = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
OF_LAYOUT: Final = {"type": "rule", "values": ["target-size", "scrollable-region-focusable"]}
# The console tells violations of the policy as errors too; this is for those of a report-only policy.
REPORT_VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", event =>
    console.error(`Content-Security-Policy: ${event.effectiveDirective} refused ${event.blockedURI}`))
"""
# What reaches past the right edge of the window, unless it lies in a box that scrolls.
OVERFLOWING: Final = """() => {
    const width = document.documentElement.clientWidth
    if (document.documentElement.scrollWidth <= width) return []
    const wide = [...document.body.querySelectorAll("*")].filter(each => each.getBoundingClientRect().right > width + 1)
    const names = wide.map(each => each.tagName.toLowerCase() + (each.id && `#${each.id}`) + (each.className && `.${each.className}`))
    return [`the page is ${document.documentElement.scrollWidth} wide in a window of ${width}: ${names.slice(0, 6).join(", ")}`]
}"""
_axe: Final = Axe()


@dataclass(frozen=True)
class Look:
    """How somebody looks at a page: the width of the window and the theme that their system asks for."""

    name: str
    width: int
    height: int
    theme: Literal["light", "dark"]

    @property
    def options(self) -> dict[str, Any]:
        """As the browser wants them. Motion is off: a colour half way through a transition has no contrast."""
        return {
            "viewport": {"width": self.width, "height": self.height},
            "color_scheme": self.theme,
            "reduced_motion": "reduce",
        }


LIGHT: Final = Look("light", 1280, 860, "light")
DARK: Final = Look("dark", 1280, 860, "dark")
PHONE: Final = Look("phone", 390, 844, "light")
DARK_PHONE: Final = Look("dark-phone", 390, 844, "dark")
# Each look, and what may be wrong in it that was not in those before it.
LOOKS: Final = ((LIGHT, WCAG), (DARK, OF_COLOUR), (PHONE, OF_LAYOUT), (DARK_PHONE, OF_COLOUR))


@dataclass
class Visitor:
    """A person with a browser window. `faults` collects what the browser complains of; `look_at` looks for more."""

    context: BrowserContext
    address: str
    faults: list[str] = field(default_factory=list)
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        self.context.add_init_script(REPORT_VIOLATIONS)
        self.page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._blame(f"script error: {error}"))
        self.page.on("request", lambda request: self._watch(request.url))

    def open(self, path: str) -> None:
        """Go to a page of the installation; it has to answer with success."""
        response = self.page.goto(f"{self.address}{path}")
        assert response is not None
        assert response.ok, f"{path} answered {response.status}"

    def sign_in(self, username: str, password: str) -> None:
        """Through the form, as everybody does."""
        self.open("/admin/login/?next=/admin/")
        self.page.get_by_label("Username").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def change_look(self, look: Look) -> None:
        """Turn the phone, or the light: the page stays."""
        self.page.set_viewport_size({"width": look.width, "height": look.height})
        self.page.emulate_media(color_scheme=look.theme)

    def look_at(self, rules: dict[str, Any] = WCAG) -> list[str]:
        """Look at the page as it is: accessibility, and whether anything reaches past the window's edge."""
        # Without preload: axe would write our style sheets into the page anew, which the policy refuses.
        found = _axe.run(self.page, options={"runOnly": rules, "preload": False})
        unfit = [
            f"{fault['id']}: {node['target'][0]} ({node['failureSummary'].splitlines()[-1].strip()})"
            for fault in found.response["violations"]
            for node in fault["nodes"][:3]
        ]
        return [f"{self._where()}: {fault}" for fault in [*unfit, *self.page.evaluate(OVERFLOWING)]]

    def keep_picture(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, full_page=True)

    def text(self) -> Locator:
        """What the page says, below its header."""
        return self.page.locator("#content")

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._blame(f"console {message.type}: {message.text}")

    def _watch(self, url: str) -> None:
        if urlsplit(url).scheme != "data" and not url.startswith(f"{self.address}/"):
            self._blame(f"asked for {url}, which is not this installation")

    def _blame(self, fault: str) -> None:
        self.faults.append(f"{self._where()}: {fault}")

    def _where(self) -> str:
        return urlsplit(self.page.url).path
