"""Alerts: one line, and nothing in it that calls anybody."""

import pytest

from embedding_assets.defs.webhook import MAX_LINE_CHARS, Alert, escaped, post_alert


def test_an_alert_is_one_line() -> None:
    """Line breaks become spaces; an Alert with one is refused, and so is one that says nothing."""
    assert Alert.of(" Shard 3\nfailed:\u2028no  room ").line == "Shard 3 failed: no room"
    for line in ("", "one\ntwo", "one\u2028two"):
        with pytest.raises(ValueError, match="an alert is one line"):
            Alert(line=line)


def test_half_a_surrogate_pair_is_replaced() -> None:
    """What no encoding can carry, say of a broken file name, does not keep a line from its way."""
    assert Alert.of("corpus/\ud800.txt").line == "corpus/?.txt"


def test_a_long_line_is_cut() -> None:
    """What no receiver takes whole ends with an ellipsis."""
    line = Alert.of("word " * 1000).line
    assert len(line) == MAX_LINE_CHARS
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("line", "posted"),
    [
        ("R&D: 3 < 4 > 2", "R&amp;D: 3 &lt; 4 &gt; 2"),
        ("<!channel> <https://evil.example|fine>", None),
        ("@channel @everyone", "@\u200bchannel @\u200beveryone"),
        ("17 @ $0.10", "17 @ $0.10"),
        ("&amp;", "&amp;amp;"),
    ],
)
def test_nothing_in_a_line_is_markup(line: str, posted: str | None) -> None:
    """Slack's three characters are entities, and an at sign before a name calls nobody."""
    assert posted is None or escaped(line) == posted
    assert not set("<>") & set(escaped(line))


@pytest.mark.parametrize("address", ["https://", "http://[::1", "ftp://example.org/secret", "x"])
def test_an_address_that_cannot_be_used(address: str) -> None:
    """Whatever is wrong with the address is a reason that does not repeat it, not an error."""
    problem = post_alert(Alert.of("hello"), address, sleep=lambda _: None)
    assert problem is not None
    assert problem.startswith("an alert could not be posted to ")
    assert "secret" not in problem
