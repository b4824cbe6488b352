"""Connection: whom we talk to, and who gets which key."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedding_assets.errors import KeyUnusableError, SettingsError
from embedding_assets.gemini.connection import Connection, connect, provider_of, running_emulator
from embedding_assets.redaction import KEY_VARIABLES

KEY = "AIza-real-key"
EMULATOR_ADDRESS = "http://127.0.0.1:4711"


@pytest.fixture
def address_file(tmp_path: Path) -> Path:
    """Where no emulator has written anything yet."""
    return tmp_path / "address.json"


@pytest.fixture
def live_address_file(address_file: Path) -> Path:
    """What a running emulator wrote: this process stands for it."""
    return written(address_file, {"base_url": EMULATOR_ADDRESS, "pid": os.getpid()})


def written(file: Path, address: object) -> Path:
    file.write_text(json.dumps(address))
    return file


@pytest.mark.parametrize(
    ("base_url", "environ", "expected"),
    [
        ("", {}, ("emulator", EMULATOR_ADDRESS, "emulator")),
        ("", {"GEMINI_API_KEY": KEY}, ("gemini", "", KEY)),
        ("", {"GOOGLE_API_KEY": KEY}, ("gemini", "", KEY)),
        ("", {"GEMINI_API_KEY": "the-other", "GOOGLE_API_KEY": KEY}, ("gemini", "", KEY)),
        ("", {"GEMINI_API_KEY": KEY, "GOOGLE_API_KEY": " "}, ("gemini", "", KEY)),
        ("", {"GEMINI_API_KEY": f" {KEY}\n"}, ("gemini", "", KEY)),
        ("", {"GEMINI_API_KEY": " \n"}, ("emulator", EMULATOR_ADDRESS, "emulator")),
        ("emulator", {}, ("emulator", EMULATOR_ADDRESS, "emulator")),
        ("emulator", {"GEMINI_API_KEY": KEY}, ("emulator", EMULATOR_ADDRESS, "emulator")),
        *(
            (url, environ, ("emulator", url, "emulator"))
            for url in (
                "http://127.0.0.1:8085",
                "http://127.9.9.9",
                "http://localhost:8085",
                "http://LOCALHOST:8085/",
                "http://[::1]:8085",
            )
            for environ in ({}, {"GEMINI_API_KEY": KEY})
        ),
        *(
            (url, {"GEMINI_API_KEY": KEY}, ("gemini", url, KEY))
            for url in (
                "https://proxy.example.org/gemini",
                "http://0.0.0.0:8085",  # this machine by all its addresses
                "https://localhost.example.org",
                "https://127.0.0.1.example.org",
            )
        ),
    ],
)
def test_whom_we_talk_to(
    base_url: str,
    environ: dict[str, str],
    expected: tuple[str, str, str],
    live_address_file: Path,
) -> None:
    """Address and keys decide it; only a remote service gets the real key; planning agrees."""
    connection = connect(base_url, address_file=live_address_file, environ=environ)
    assert (connection.provider, connection.base_url, connection.api_key) == expected
    assert provider_of(base_url, environ) == connection.provider


def test_a_remote_service_needs_a_key(live_address_file: Path) -> None:
    """A remote address without a key is refused and says which variable is missing."""
    with pytest.raises(SettingsError, match=r"'https://proxy.example.org' but GEMINI_API_KEY"):
        connect("https://proxy.example.org", address_file=live_address_file, environ={})


@pytest.mark.parametrize(
    "base_url",
    [
        "http://example.com",
        "HTTP://example.com/gemini",
        "http://192.168.1.9:8085",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://[2001:db8::1]:8085",
    ],
)
def test_a_key_is_not_sent_in_the_clear(base_url: str, live_address_file: Path) -> None:
    """Over plain http it may not leave this machine."""
    with pytest.raises(KeyUnusableError, match="never sent over plain http") as refused:
        connect(base_url, address_file=live_address_file, environ={"GEMINI_API_KEY": KEY})
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("variable", KEY_VARIABLES)
@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("AIza-sécret-key", 7),
        ("AIza-secret key", 12),
        ("AIza-secret\nkey", 12),
        ("AIza-secret\r\nX-Other: header", 12),
        ("AIza-\x00secret", 6),
        ("AIza-\x7fsecret", 6),
        ("\ufeffAIza-secret", 1),  # a file's byte order mark
        ("AIza-secret\u200bkey", 12),  # an invisible space, from a web page
        ("AIza-secr\udce9t", 10),  # what is no UTF-8 in the environment
        ("“AIza-secret”", 1),
    ],
)
def test_a_key_that_cannot_be_one(
    variable: str, key: str, place: int, live_address_file: Path
) -> None:
    """A pasted key with an odd character is refused in one line that does not quote it."""
    environ = {variable: f" {key}\n"}
    for base_url in ("", "https://proxy.example.org"):
        with pytest.raises(KeyUnusableError) as refused:
            connect(base_url, address_file=live_address_file, environ=environ)
        said = str(refused.value)
        assert said.startswith(f"{variable} cannot be an API key: of its {len(key)} characters")
        assert f"number {place} is" in said
        assert "secr" not in said
        assert said.isprintable()
    assert provider_of("", environ) == "gemini"  # to plan, nobody needs to send it


def test_an_odd_key_that_is_not_sent(live_address_file: Path) -> None:
    """The emulator gets none, and of two keys the one that loses does no harm."""
    odd = {"GEMINI_API_KEY": "ключ"}
    address = connect("emulator", address_file=live_address_file, environ=odd)
    assert address.api_key == "emulator"
    both = {**odd, "GOOGLE_API_KEY": KEY}
    assert connect("", address_file=live_address_file, environ=both).api_key == KEY


def test_no_key_and_no_emulator(address_file: Path) -> None:
    """Without a key and a running emulator the message names both ways out."""
    with pytest.raises(SettingsError, match="GEMINI_API_KEY is not set; start one with"):
        connect("", address_file=address_file, environ={})


def test_the_emulator_is_asked_for_and_not_running(address_file: Path) -> None:
    """A key does not help when the settings ask for the emulator; the message does not blame it."""
    with pytest.raises(SettingsError, match=r"running and gemini\.base_url asks"):
        connect("emulator", address_file=address_file, environ={"GEMINI_API_KEY": KEY})


def test_planning_needs_no_running_emulator() -> None:
    """The provider is known without anyone to talk to."""
    assert provider_of("", {}) == "emulator"


def test_the_key_is_never_shown() -> None:
    """A connection's text has its address and not its key."""
    connection = Connection(provider="gemini", base_url="https://example.org", api_key=KEY)
    assert "https://example.org" in repr(connection)
    assert KEY not in f"{connection!r} {connection}"


def test_a_running_emulator(live_address_file: Path) -> None:
    """The address counts while the process that wrote it is alive."""
    assert running_emulator(live_address_file) == EMULATOR_ADDRESS


def test_a_stale_address(address_file: Path) -> None:
    """The address of a process that has ended is no address."""
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    written(address_file, {"base_url": EMULATOR_ADDRESS, "pid": ended.pid})
    assert running_emulator(address_file) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"base_url": "http://127.0.0.1:47',
        "[]",
        "null",
        "{}",
        '{"base_url": "http://127.0.0.1:4711"}',
        '{"base_url": "http://127.0.0.1:4711", "pid": null}',
        '{"base_url": "http://127.0.0.1:4711", "pid": "one"}',
        '{"base_url": "http://127.0.0.1:4711", "pid": 0}',
        '{"base_url": "http://127.0.0.1:4711", "pid": -1}',
        '{"base_url": "http://127.0.0.1:4711", "pid": 99999999999999999999}',
        "\udcff",
    ],
)
def test_a_broken_address_file(text: str, address_file: Path) -> None:
    """A file that makes no sense counts as no emulator, so that the next one can replace it."""
    address_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert running_emulator(address_file) is None


def test_no_address_file(address_file: Path) -> None:
    """No file, no emulator."""
    assert running_emulator(address_file) is None
