"""The emulator's own endpoints, under /emulator/: health, bill, settings and faults.

Belongs here: what a test sets and reads. Does not belong here: what Google has, too (`endpoints`).
They need no API key and are never struck by a fault. In a test in the same process, the
`State` offers the same without HTTP.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from embedding_assets.emulator.endpoints import Call
from embedding_assets.emulator.errors import invalid_argument
from embedding_assets.emulator.faults.rules import Fault
from embedding_assets.emulator.settings import EmulatorSettings

NAME = "embedding-assets emulator"
VERSION = "1.0"

AdminHandler = Callable[[Call], dict[str, Any]]


def health(call: Call) -> dict[str, Any]:
    """Say what this is, and how it is set."""
    return {"name": NAME, "version": VERSION, "settings": asdict(call.state.settings)}


def show_bill(call: Call) -> dict[str, Any]:
    """The bill; `?texts=true` adds every text bought to those bought twice."""
    bill = call.state.bill()
    shown = asdict(bill) | {
        "requests": bill.requests,
        "tokens": bill.tokens,
        "bought_twice": [asdict(text) for text in bill.bought_twice],
    }
    if call.query.get("texts") != "true":
        del shown["texts"]
    return shown


def replace_settings(call: Call) -> dict[str, Any]:
    """Set all settings: those not given return to their defaults."""
    return _set(call, EmulatorSettings())


def change_settings(call: Call) -> dict[str, Any]:
    """Set some settings."""
    return _set(call, call.state.settings)


def list_faults(call: Call) -> dict[str, Any]:
    """The rules in force and how often each has struck."""
    return {"faults": [record.as_json() for record in call.state.faults.records()]}


def add_fault(call: Call) -> dict[str, Any]:
    """Put a rule in force."""
    try:
        fault = Fault.from_json(call.body)
    except ValueError as exc:
        raise invalid_argument(str(exc)) from exc
    return call.state.faults.add(fault).as_json()


def remove_fault(call: Call) -> dict[str, Any]:
    """Take one rule out of force."""
    call.state.faults.remove(int(call.path["fault_id"]))
    return {}


def clear_faults(call: Call) -> dict[str, Any]:
    """Take all rules out of force."""
    call.state.faults.clear()
    return {}


ADMIN_ROUTES: tuple[tuple[str, str, AdminHandler], ...] = (
    ("GET", "/emulator/health", health),
    ("GET", "/emulator/bill", show_bill),
    ("PUT", "/emulator/settings", replace_settings),
    ("PATCH", "/emulator/settings", change_settings),
    ("GET", "/emulator/faults", list_faults),
    ("POST", "/emulator/faults", add_fault),
    ("DELETE", "/emulator/faults", clear_faults),
    ("DELETE", "/emulator/faults/{fault_id:int}", remove_fault),
)


def _set(call: Call, base: EmulatorSettings) -> dict[str, Any]:
    try:
        call.state.settings = base.changed(call.body)
    except ValueError as exc:
        raise invalid_argument(str(exc)) from exc
    return asdict(call.state.settings)
