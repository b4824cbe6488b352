"""Dagster's pages as a person uses them: what is read there, and what is clicked.

Belongs here: addresses, and by which words things are found; Dagster 1.13 has few roles.
Does not belong here: expectations, except that no page shows an error.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from tests.e2e.command_line import wait_until

# A page is there in two seconds; on a busy machine in many more.
PATIENCE_MS = 60_000

# What the web UI writes where data or a query is bad: toasts, dialogs and empty states.
TROUBLE = re.compile(
    r"Could not parse|GraphQL error|[Uu]nexpected error|Error loading|An error occurred"
    r"|can't be displayed|Invalid (JSON|metadata)|Unable to parse"
)
STATES = ("Failed", "Materialized", "Materializing", "Missing")


@dataclass(slots=True, kw_only=True)
class DagsterPages:
    """One tab of a browser on one web UI."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", lambda message: self._note(message))
        self.page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"console: {message.text} ({message.location})")

    # --- reading ----------------------------------------------------------------------------

    def open(self, path: str, *words: str) -> None:
        """Go to a page, which shows all of these words and no error."""
        self.page.goto(f"{self.url}{path}")
        self.says(*words)

    def open_once(self, path: str, *words: str) -> None:
        """Go to a page, unless a click on *back* has led there already."""
        if urlsplit(self.page.url).path == path:
            self.says(*words)
        else:
            self.open(path, *words)

    def says(self, *words: str, timeout_s: float = PATIENCE_MS / 1000) -> None:
        """Wait until the page, which keeps itself up to date, shows these words, and no error."""
        body = self.page.locator("body")
        for each in words:
            expect(body).to_contain_text(each, use_inner_text=True, timeout=timeout_s * 1000)
        found = TROUBLE.search(self.text())
        assert found is None, f"{self.page.url} says {found}:\n{self.text()}"

    def text(self) -> str:
        """Everything that the page says."""
        return self.page.inner_text("body")

    def open_partitions(self, asset: str) -> None:
        """Go to the list of an asset's partitions."""
        self.open(f"/assets/{asset}?view=partitions", "Materialized (", "Partitions Selected")

    def n_partitions(self) -> dict[str, int]:
        """The numbers above the list of partitions, as in ``{"Failed": 2, "Missing": 0, …}``."""
        found = re.findall(rf"({'|'.join(STATES)}) \((\d+)\)", self.text())
        return {state: int(number) for state, number in found}

    def show_only(self, state: str) -> list[str]:
        """Untick all other states; the partitions that are left in the list."""
        for other in set(STATES) - {state}:
            self.page.get_by_text(re.compile(rf"^{other} \(")).click()
        self.says(f"{self.n_partitions()[state]} Partitions Selected")
        rows = self.page.locator('[style*="translateY"]')  # the boxes above have titles, too
        return _titles(rows)

    def failure_of(self, partition: str) -> str:
        """Click on a failed partition in the list, and on *View logs*; what they say."""
        rows = self.page.locator('[style*="translateY"]')
        rows.get_by_title(partition).click()
        self.page.get_by_text("View logs").click()
        log = self.page.get_by_role("dialog")
        expect(log).to_contain_text("RUN_FAILURE")
        return log.inner_text()

    def lineage(self, n_assets: int) -> list[str]:
        """What the global lineage shows from left to right."""
        self.open("/asset-groups", "Global asset lineage")
        nodes = self.page.locator("foreignObject")
        expect(nodes).to_have_count(n_assets)
        shown: list[tuple[float, str]] = nodes.evaluate_all(
            "nodes => nodes.map(node => [node.getBoundingClientRect().x, node.textContent])"
        )
        return [text for _, text in sorted(shown)]

    def picture_size(self, name: str) -> tuple[int, int]:
        """Width and height of a picture in the metadata, seen by a click on *[Show Markdown]*."""
        self.page.get_by_role("row").filter(has_text=name).get_by_text("[Show Markdown]").click()
        dialog = self.page.get_by_role("dialog")
        picture = dialog.get_by_role("img").and_(dialog.locator("img"))
        expect(picture).to_be_visible()
        width, height = picture.evaluate("img => [img.naturalWidth, img.naturalHeight]")
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()
        return width, height

    def newest_tick_says(self, reason: str) -> None:
        """Point at the newest tick of a sensor until it says this.

        Ticks move on under the pointer, and what one said is gone.
        """
        tick = self.page.get_by_role("row").get_by_text("0 runs requested").first

        def says() -> bool:
            self.page.mouse.move(0, 0)
            tick.hover()
            return reason in self.text()

        wait_until(says, timeout_s=PATIENCE_MS / 1000, what=f"the newest tick says {reason!r}")

    # --- clicking ---------------------------------------------------------------------------

    def click_tab(self, name: str) -> None:
        """Click on a tab, as *Checks* on an asset's page."""
        self.page.get_by_role("tab", name=name).click()

    def follow(self, name: str) -> None:
        """Click on the link that begins with this name."""
        links = self.page.get_by_role("link")  # their labels begin with a picture's
        links.filter(has_text=re.compile(f"^{re.escape(name)}")).first.click()

    def materialize_failed(self, asset: str) -> list[str]:
        """*Materialize…* → *Failed* → *Launch backfill*; the partitions that were filled in.

        For a single partition the last button is *Launch 1 run*.
        """
        self.page.get_by_role("button", name=re.compile("Materialize…")).first.click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_contain_text(asset)
        dialog.get_by_role("button", name="Failed", exact=True).click()
        chosen = _titles(dialog)
        dialog.get_by_role("button", name=re.compile("^Launch (backfill|1 run)")).click()
        expect(dialog).to_be_hidden()
        return chosen

    def keep(self, directory: Path) -> None:
        """Keep what the tab shows now, and what its console said."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "console.txt").write_text("\n".join(self.errors))
        (directory / "page.html").write_text(self.page.content())
        self.page.screenshot(path=directory / "page.png")


def _titles(inside: Locator) -> list[str]:
    """The partitions named there: what is cut off on the screen stands whole in the title."""
    found: list[str] = inside.locator('[title^="20"]').evaluate_all(
        "elements => elements.map(element => element.title)"
    )
    return sorted(set(found))
