"""Whom we talk to: Google with a key, or the emulator without one.

Belongs here: the one decision about provider, address and key, from settings and environment.
Does not belong here: talking (client.py) and starting the emulator (cli/processes.py).
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from embedding_assets.errors import KeyUnusableError, OutcomeUnknownError, SettingsError
from embedding_assets.loopback import is_loopback
from embedding_assets.redaction import KEY_VARIABLES
from embedding_assets.settings.values import EMULATOR_BASE_URL

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where requests go. The key is never shown; the emulator never gets the real one."""

    provider: str  # "gemini" or "emulator": part of the embedding spec
    base_url: str  # "" is the SDK's own default, Google
    api_key: str = field(repr=False)


def provider_of(base_url: str, environ: Mapping[str, str]) -> str:
    """``gemini`` or ``emulator``, without asking anyone: planning works offline.

    A loopback address counts as an emulator, so that its vectors never mix with Google's.
    """
    if base_url == EMULATOR_BASE_URL:
        return "emulator"
    if base_url == "":
        return "gemini" if _api_key(environ) else "emulator"
    return "emulator" if is_loopback(urlsplit(base_url).hostname) else "gemini"


def address_for(provider: str, base_url: str, environ: Mapping[str, str]) -> str:
    """The ``base_url`` by which whoever made vectors is asked for others that compare with them.

    Google cannot answer for the emulator, even if there is a key; an address that was chosen stays.
    Raises SettingsError if there is no key for Google's.
    """
    if base_url == "" and provider == "emulator":
        return EMULATOR_BASE_URL
    if base_url == "" and provider_of(base_url, environ) != provider:
        raise SettingsError(
            f"the published vectors come from {provider!r} and GEMINI_API_KEY is not set; set it"
        )
    return base_url


def connect(base_url: str, *, address_file: Path, environ: Mapping[str, str]) -> Connection:
    """The connection that ``gemini.base_url`` and the environment ask for.

    ``address_file`` is where a running emulator says its address. Raises SettingsError when a
    key is missing, or the built-in emulator is meant and none is running.
    """
    if provider_of(base_url, environ) == "gemini":
        check_key(base_url, environ)
        return Connection(provider="gemini", base_url=base_url, api_key=_api_key(environ))
    if base_url in ("", EMULATOR_BASE_URL):
        address = running_emulator(address_file)
        if address is None:
            why = "GEMINI_API_KEY is not set" if base_url == "" else "gemini.base_url asks for one"
            raise SettingsError(
                f"no emulator is running and {why}; "
                "start one with `embedding-assets emulator`, or talk to Google with a key"
            )
        base_url = address
    return Connection(provider="emulator", base_url=base_url, api_key="emulator")


def check_key(base_url: str, environ: Mapping[str, str]) -> None:
    """Raises SettingsError unless there is a key where one is needed, and it can be sent there."""
    if provider_of(base_url, environ) != "gemini":
        return
    name = _key_variable(environ)
    if name is None:
        raise SettingsError(f"gemini.base_url is {base_url!r} but GEMINI_API_KEY is not set")
    key = _api_key(environ)
    odd = next((place for place, sign in enumerate(key, 1) if not "!" <= sign <= "~"), None)
    if odd is not None:
        raise KeyUnusableError(
            f"{name} cannot be an API key: of its {len(key)} characters number {odd} is white "
            "space or not ASCII; copy the key anew, without anything around it"
        )
    address = urlsplit(base_url)
    if address.scheme == "http" and not _stays_here(address.hostname):
        raise KeyUnusableError(
            f"gemini.base_url is {base_url!r}: the API key is never sent over plain http to "
            "another machine; use https"
        )


def _stays_here(host: str | None) -> bool:
    """Loopback, or the address that means every one of this machine's."""
    return is_loopback(host) or host in ("0.0.0.0", "::")


def stays_at(base_url: str) -> Callable[["httpx2.Request"], None]:
    """A hook for every request: none goes to another origin, whatever an answer says.

    A redirect would take the key along, and the address of an upload comes from an answer, too.
    """
    import httpx2

    home = httpx2.URL(base_url)

    def check(request: "httpx2.Request") -> None:
        if request.url.origin != home.origin:
            here, there = (f"{url.scheme}://{url.netloc.decode()}" for url in (home, request.url))
            raise OutcomeUnknownError(
                f"an answer from {here} leads to {there}, where nothing was sent: check "
                "gemini.base_url, and what stands between here and Gemini"
            )

    return check


def running_emulator(address_file: Path) -> str | None:
    """The base URL that a running emulator wrote down, if there is one.

    A file that makes no sense is what a killed emulator left behind: the next one replaces it.
    """
    try:
        address = json.loads(address_file.read_text(encoding="utf-8"))
        base_url, pid = str(address["base_url"]), int(address["pid"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return base_url if is_alive(pid) else None


def is_alive(pid: int) -> bool:
    """Whether there is a process of this id on this machine."""
    if pid <= 0:  # to kill() that means whole groups of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _key_variable(environ: Mapping[str, str]) -> str | None:
    """The variable that counts: the first that is not blank."""
    return next((name for name in KEY_VARIABLES if environ.get(name, "").strip()), None)


def _api_key(environ: Mapping[str, str]) -> str:
    return environ.get(_key_variable(environ) or "", "").strip()
