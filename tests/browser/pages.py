"""Dagster's pages as a person uses them: what is read there, and what is clicked.

Belongs here: addresses, and by which words things are found; Dagster 1.13 has few roles.
Does not belong here: expectations, except that no page shows an error.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

# A page is there in two seconds; on a busy machine in many more.
PATIENCE_MS = 60_000

# What the web UI writes where data or a query is bad: toasts, dialogs and empty states.
TROUBLE = re.compile(
    r"Could not parse|GraphQL error|[Uu]nexpected error|Error loading|An error occurred"
    r"|can't be displayed|Invalid (JSON|metadata)|Unable to parse"
)
# Errors in the console that have nothing to do with our data, each with its reason.
_FOREIGN_ERRORS: tuple[str, ...] = ()


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
        if message.type == "error" and not any(each in message.text for each in _FOREIGN_ERRORS):
            self.errors.append(f"console: {message.text} ({message.location})")

    # --- reading ----------------------------------------------------------------------------

    def open(self, path: str, *shows: str | re.Pattern[str]) -> None:
        """Go to a page, wait until it shows all of these words, and that it shows no error."""
        self.page.goto(f"{self.url}{path}")
        for words in shows:
            expect(self.page.get_by_text(words).first).to_be_visible(timeout=PATIENCE_MS)
        self.check()

    def check(self) -> None:
        """Nothing on the page is an error of the web UI or of its data."""
        found = TROUBLE.search(self.text())
        assert found is None, f"{self.page.url} says {found}:\n{self.text()}"

    def text(self) -> str:
        """Everything that the page says."""
        return self.page.inner_text("body")

    def open_partitions(self, asset: str) -> None:
        """Go to the partitions of an asset."""
        self.open(f"/assets/{asset}?view=partitions", re.compile(r"^Materialized \("))

    def n_partitions(self) -> dict[str, int]:
        """The numbers above the list of partitions, as in ``{"failed": 2, "materialized": 4}``."""
        return {
            state.lower(): int(number)
            for state, number in re.findall(
                r"(Failed|Materialized|Materializing|Missing) \((\d+)\)", self.text()
            )
        }

    def show_only(self, state: str) -> list[str]:
        """Untick all other states; the partitions that are left in the list."""
        for other in {"Failed", "Materialized", "Materializing", "Missing"} - {state}:
            self.page.get_by_text(re.compile(rf"^{other} \(")).click()
        number = self.n_partitions()[state.lower()]
        expect(self.page.get_by_text(f"{number} Partitions Selected")).to_be_visible()
        return _titles(self.page.locator("body"))

    def failure_of(self, asset: str, partition: str) -> str:
        """What the log says that a click on *View logs* of a failed partition opens."""
        self.open(f"/assets/{asset}?view=partitions&partition={partition}")
        self.page.get_by_text("View logs").click()
        log = self.page.get_by_role("dialog")
        expect(log.get_by_text("RUN_FAILURE")).to_be_visible()
        return log.inner_text()

    def lineage(self) -> list[str]:
        """The assets of the global lineage from left to right."""
        self.open("/asset-groups", "Global asset lineage")
        graph = self.page.locator("foreignObject")
        expect(graph.get_by_text("search_index", exact=True).first).to_be_visible()
        boxes = [(node.bounding_box(), node.inner_text().split()[0]) for node in graph.all()]
        return [name for box, name in sorted(boxes, key=lambda each: each[0]["x"]) if box]

    # --- clicking ---------------------------------------------------------------------------

    def materialize_failed(self, asset: str) -> list[str]:
        """*Materialize…* → *Failed* → *Launch backfill*; the partitions that were filled in."""
        self.page.get_by_role("button", name=re.compile("Materialize…")).first.click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_contain_text(asset)
        dialog.get_by_role("button", name="Failed", exact=True).click()
        chosen = _titles(dialog)
        dialog.get_by_role("button", name="Launch backfill").click()
        expect(self.page.get_by_text(re.compile("^Created backfill"))).to_be_visible()
        return chosen

    def wait_for(self, words: str | re.Pattern[str], *, timeout_s: float) -> None:
        """Wait until the page, which keeps itself up to date, says this."""
        expect(self.page.get_by_text(words).first).to_be_visible(timeout=timeout_s * 1000)


def _titles(inside: Locator) -> list[str]:
    """The partitions listed: what is cut off on the screen stands whole in the title."""
    found: Sequence[str] = inside.locator('[title^="20"]').evaluate_all(
        "elements => elements.map(element => element.title)"
    )
    return sorted(set(found))
