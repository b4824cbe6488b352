"""What people see of the doctor: findings, and what a canary brought back.

Belongs here: words and layout. Does not belong here: judging (embedding_assets/doctor/).
"""

from rich.table import Table
from rich.text import Text

from embedding_assets.cli.console import out, shown
from embedding_assets.doctor.canary import CanaryReport
from embedding_assets.doctor.findings import Finding, Report


def report(found: Report) -> None:
    """What the doctor found, one thing a paragraph: what is wrong first, then what to know."""
    console = out()
    for finding in sorted(found.findings, key=lambda finding: not finding.is_wrong):
        label, style = _label(finding)
        what = shown(finding.message)
        console.print(Text.assemble((f"{label}:", style), f" [{finding.check.value}] ", what))
        console.print(Text.assemble("   ", shown(finding.repaired or finding.next_step, "dim")))
    if found.not_looked_at is not None:
        console.print(
            Text.assemble("Gemini's side was not looked at: ", shown(found.not_looked_at))
        )
    if found.n_wrong:
        console.print(f"[bold red]wrong: {found.n_wrong}[/]")
    elif found.not_looked_at is not None:
        console.print("[bold]the files are in order[/]")
    else:
        console.print("[bold green]nothing is wrong[/]")


def _label(finding: Finding) -> tuple[str, str]:
    if finding.repaired is not None:
        return "repaired", "bold green"
    return ("wrong", "bold red") if finding.is_wrong else ("note", "bold")


def canary(found: CanaryReport) -> None:
    """What the service did, beside what was assumed of it."""
    console = out()
    table = Table("assumption", "answer", "verdict")
    for observation in found.observations:
        table.add_row(
            shown(observation.assumption), shown(observation.answer), observation.verdict.value
        )
    console.print(table)
    if not found.is_live:
        console.print("this was the emulator: it proves nothing about the live service")
    n_expected = len(found.observations) - found.n_unexpected
    console.print(f"{n_expected} of {len(found.observations)} answers are as assumed")
