"""What the elements of a page become: Markdown, and the blocks of that."""

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from embedding_assets.corpus.blocks import Block, BlockKind
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.html.pages import read_html


def html(markup: str) -> str:
    return read_html(markup).text


def marks(markup: str) -> list[tuple[str, int, str]]:
    """Kind, level and text of each block."""
    found = read_html(markup)
    return [(b.kind.value, b.level, found.text[b.start : b.end]) for b in found.blocks]


def anchors(markup: str) -> list[str]:
    return [block.anchor for block in read_html(markup).blocks]


# --- Text -----------------------------------------------------------------------------------------


def test_a_page_becomes_markdown() -> None:
    """Headings, paragraphs, lists, tables and code keep their form."""
    page = """<!doctype html><html><head><title>The
        &amp; page</title><meta name=x></head><body onload="x()">
        <h1>First <em>heading</em><a class="headerlink" href="#x">¶</a></h1>
        <p>Caf&eacute;&nbsp;&lt;b&gt;   <b>bold</b>,
           x<sub>2</sub></p><div>one</div><div>two<br>three</div>
        <ul><li>a<ul><li>b<ol><li>c</li></ol></li></ul></li><li></li><li><p>d</p></li></ul>
        <pre>
  def f():
      # a comment
      return 1 &lt; 2
</pre>
        <table><thead><tr><th></th><th>x</th></tr></thead>
        <tr><td>r</td><td><p>1</p><p>2</p></td></tr></table>
        <h6></h6><h2>Second<br>heading</h2>tail<hr>end</body></html>"""

    assert read_html(page).title == "The & page"
    assert marks(page) == [
        ("heading", 1, "# First heading"),
        ("prose", 0, "Café <b> bold, x2"),
        ("prose", 0, "one\ntwo\nthree"),
        ("list", 0, "- a\n  - b\n    1. c\n- d"),
        ("code", 0, "```\n  def f():\n      # a comment\n      return 1 < 2\n```"),
        ("table", 0, "|  | x |\n| --- | --- |\n| r | 1 2 |"),
        ("heading", 2, "## Second heading"),
        ("prose", 0, "tail"),
        ("prose", 0, "end"),
    ]


def test_words_are_whole_wherever_they_may_be_broken() -> None:
    """Soft hyphens and the like are for whoever sets them; joiners of letters stay."""
    markup = (
        "<p>Donau&shy;dampf&#8203;schiff&#8288;fahrt&#xfeff; <b>&shy;</b>x <p>\u0645\u06cc&zwnj;"
    )

    assert html(markup) == "Donaudampfschifffahrt x\n\n\u0645\u06cc\u200c"


def test_words_of_neighbouring_elements_do_not_melt() -> None:
    """Inline markup joins as written, blocks and cells always part."""
    assert html("<b>in</b>side <i>a </i>b<p>c</p>d") == "inside a b\n\nc\n\nd"
    assert html("<tr><td>a<td>b") == "ab"  # no table: browsers drop the cells as well
    assert html("<h1>a<br>b<div>c</div></h1>") == "# a b c"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("10<sup>6</sup>", "10^6"),
        ("10<sup>-3</sup> m", "10^-3 m"),
        ("x<sup>n+1</sup>", "x^(n+1)"),
        ("(a+b)<sup><i>k</i></sup>", "(a+b)^k"),
        ("1<sup>st</sup>, Debian<sup>TM</sup> and ®<sup>®</sup>", "1st, DebianTM and ®®"),
        ("so<sup><a href=#f1>1</a></sup>", "so[1]"),
        ("so<sup><a href=#f1>[1]</a></sup>", "so[1]"),
        ("<sup>a</sup>b <sup>c</sup>", "ab c"),
        ("H<sub>2</sub>O", "H2O"),
        ("x<sub>i</sub> + x<sub>i+1</sub>", "x_i + x_(i+1)"),
        ("101<sub>2</sub>", "101_2"),
        ("a<sup>" + "long " * 10 + "</sup>", "along long long long long long long long long long"),
    ],
)
def test_raised_and_lowered_text_keeps_its_meaning(markup: str, text: str) -> None:
    """A power is none of the digits before it, and a note is no power."""
    assert html(f"<p>{markup}</p>") == text


def test_an_image_is_its_alternative_text() -> None:
    """The name of its file says nothing."""
    page = "a<img src=x alt='a chart'>b<img alt=''><img alt='../img/x.png'><img alt=[Note]><img>c"

    assert html(page) == "a a chart b c"


# --- Headings, captions, anchors ------------------------------------------------------------------


def test_a_heading_has_a_label_without_marks() -> None:
    """What a path is made of."""
    assert read_html("<h3> A <code>b</code>\n c <a href=#x>#</a></h3>").blocks == (
        Block(BlockKind.HEADING, 0, 9, 3, "A b c"),
    )


def test_a_heading_that_was_not_closed_ends_with_the_next_paragraph() -> None:
    """What follows is no heading."""
    assert html("<h1>Title<p>a<ul><li>b</ul>") == "# Title\n\na\n\n- b"


@pytest.mark.parametrize(
    "markup",
    [
        "<h2 id=x>A</h2>",
        "<h2><a id=x></a>A</h2>",
        "<h2><a name=x>A</a></h2>",
        "<h2>A<span id=x></span></h2>",
        "<section id=x><h2>A</h2></section>",
        "<section id=x><span id=y></span><h2>A</h2></section>",
        "<div id=y><div id=x><div><h2>A</h2></div></div></div>",
        "<span id=x></span><h2>A</h2>",
        "<hr><a id=x></a> <h2>A</h2>",
        "<dl><dt id=x>A</dl>",
        "<dl><dt><code id=x>A</code></dl>",
        "<p id=x>A</p>",
        "<pre id=x>A</pre>",
        "<div id=x><pre>A</pre></div>",
        "<table id=x><tr><td>A<td>B</table>",
        "<table><tr><td><a name=x></a>A<td>B</table>",
    ],
)
def test_the_anchor_of_a_block(markup: str) -> None:
    """It is that of the nearest block that begins there, or of an empty element before it."""
    assert anchors(markup) == ["x"]


def test_an_anchor_leads_to_one_place() -> None:
    """To the first with that name, and never to text before or behind it."""
    page = (
        "<h2 id=x>A</h2>b<a id=y></a>c<h2>D</h2><p id=x>e</p><p id='not one'>f</p><p id>g</p>"
        "<pre id=z>h</pre>i"
    )

    assert anchors(page) == ["x", "", "", "", "", "", "z", ""]


def test_what_names_the_next_block_is_a_caption() -> None:
    """A heading in a box names the box, not all that follows."""
    page = """<table><caption>T</caption><tr><td>1<td>2</table>
        <figure><figcaption>F</figcaption><pre>f</pre></figure>
        <figure><img alt=g><figcaption>G</figcaption></figure>
        <div class=note><h3>Note</h3><p>n</p></div>
        <div class="admonition tip"><p class=admonition-title>Tip</p><p>t</p></div>"""

    assert [(kind, text) for kind, _, text in marks(page)] == [
        ("caption", "T"),
        ("table", "|  |  |\n| --- | --- |\n| 1 | 2 |"),
        ("caption", "F"),
        ("code", "```\nf\n```"),
        ("prose", "g"),
        ("prose", "G"),
        ("caption", "Note"),
        ("prose", "n"),
        ("caption", "Tip"),
        ("prose", "t"),
    ]


# --- Lists and definitions ------------------------------------------------------------------------


def test_ordered_lists_have_numbers() -> None:
    """From where they start; what stands below an item is indented."""
    page = "<ol start=9><li>a<li><p>b</p><p>c</p><ul><li>d<br>e</ul></ol><ol start=x><li>f</ol>"

    assert html(page) == "9. a\n10. b\n    c\n    - d\n      e\n\n1. f"


def test_a_list_in_an_item_without_text_begins_on_its_line() -> None:
    """As Markdown has it."""
    assert html("<ul><li><ul><li>a<li>b</ul><li>c</ul>") == "- - a\n  - b\n- c"


def test_code_parts_a_list() -> None:
    """A list is one block, and code another."""
    assert marks("<ul><li>a<pre>b</pre>c<li>d</ul>") == [
        ("list", 0, "- a"),
        ("code", 0, "```\nb\n```"),
        ("list", 0, "c\n- d"),
    ]


def test_a_list_that_lays_out_a_page_is_none() -> None:
    """Javadoc's members are items; so may be what has a heading."""
    page = (
        "<ul><li><h3>a</h3><p>b</p><ul><li>c</ul></li><li>d</li></ul><ul class=blockList><li>e</ul>"
    )

    assert [(kind, text) for kind, _, text in marks(page)] == [
        ("heading", "### a"),
        ("prose", "b"),
        ("list", "- c"),
        ("prose", "d"),
        ("prose", "e"),
    ]


def test_definitions_stand_under_their_terms() -> None:
    """At any depth; what follows the list stands under none."""
    page = """<dl><dt>f(<em>a</em>,
        b)</dt><dt>g()</dt><dd>one<p>two</p><dl><dt>inner</dt><dd><ul><li>x</ul></dd></dl>three</dd>
        <dt></dt><dt>h</dt><dd><pre>four</pre></dd></dl><p>after</p>"""

    assert marks(page) == [
        ("term", 0, "f(a, b)"),
        ("term", 0, "g()"),
        ("prose", 1, "one"),
        ("prose", 1, "two"),
        ("term", 1, "inner"),
        ("list", 2, "- x"),
        ("prose", 1, "three"),
        ("term", 0, "h"),
        ("code", 1, "```\nfour\n```"),
        ("prose", 0, "after"),
    ]
    assert [block.label for block in read_html(page).blocks][:2] == ["f(a, b)", "g()"]


def test_definitions_without_terms_stand_under_none() -> None:
    """Some pages indent with them."""
    assert marks("<dl><dd>a</dl><dd>b</dd><dl><dt></dt><dd>c</dl>") == [
        ("prose", 0, "a"),
        ("prose", 0, "b"),
        ("prose", 0, "c"),
    ]


# --- Code -----------------------------------------------------------------------------------------


def test_code_that_contains_a_fence_gets_a_longer_one() -> None:
    """A fence inside a code block does not end it."""
    assert html("<pre>```\nx\n```</pre>") == "````\n```\nx\n```\n````"


@pytest.mark.parametrize(
    "markup",
    [
        "<pre>a<br>  b<br></pre>",
        "<pre><code><div>a</div><div>  b</div></code></pre>",
        "<pre><span class=line>a<br></span><span class=line>  b</span></pre>",
        "<pre><ol><li>a</li><li>  b</li></ol></pre>",
        "<pre><button>Copy</button><i class=lineno>1 </i>a\n<i class=lineno>2 </i>  b</pre>",
        "<table class=highlighttable><tr><td class=linenos><pre>1\n2</pre></td>"
        "<td class=code><pre>a\n  b\n</pre></td></tr></table>",
    ],
)
def test_lines_of_code_stay_lines(markup: str) -> None:
    """However a page marks them up, and without their numbers."""
    assert marks(markup) == [("code", 0, "```\na\n  b\n```")]


@pytest.mark.parametrize(
    ("markup", "language"),
    [
        ("<pre><code class='hljs language-c++'>x</code></pre>", "c++"),
        ("<pre class='lang-sh prettyprint'>x</pre>", "sh"),
        ("<div class='highlight-python3 notranslate'><div class=highlight><pre>x</pre>", "python3"),
        ("<div class=highlight-c><div class=highlight><table class=highlighttable><tr><td>"
         "<div><pre>x</pre></div></table>", "c"),
        ("<div class='highlight highlight-source-rust'><pre>x</pre></div>", "rust"),
        ("<div class=highlight-default><pre>x</pre></div>", ""),
        ("<body class=lang-en><div><pre>x</pre></div>", ""),
    ],
)  # fmt: skip
def test_code_says_its_language(markup: str, language: str) -> None:
    """If the page does: on the code or around it."""
    assert html(markup) == f"```{language}\nx\n```"


def test_code_in_a_table_stays_code() -> None:
    """No row holds it."""
    assert html("<table><tr><td><pre>1\n2</pre><td><pre>a\n  b</pre></table>") == (
        "```\n1\n2\n```\n\n```\na\n  b\n```"
    )


# --- Tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ("<tr><th>a<th>b<tr><td>1<td>2", ["a | b", "---", "1 | 2"]),
        ("<tr><td>1<td>2<tr><td>3<td>4", [" | ", "---", "1 | 2", "3 | 4"]),
        ("<tr><th>a<td>1<tr><th>b<td>2", [" | ", "---", "a | 1", "b | 2"]),
        ("<tr><th colspan=2>a<tr><th>b<th>c<tr><td>1<td>2", ["a | ", "b | c", "---", "1 | 2"]),
        ("<tr><th>a<th>b<tr><th>c<th>d", ["a | b", "---", "c | d"]),
        ("<tr><th>a<th>b<tr><td rowspan=2>1<td>2<tr><td>3<tr><td>4<td>5",
         ["a | b", "---", "1 | 2", "1 | 3", "4 | 5"]),
        ("<tr><th>a<th>b<tr><td>1<td rowspan=0>2<tr><td>3<tr><td>4",
         ["a | b", "---", "1 | 2", "3 | 2", "4 | 2"]),
        ("<tr><th>a<th>b<th>c<tr><td colspan=2 rowspan=2>1<td>2<tr><td>3",
         ["a | b | c", "---", "1 |  | 2", "1 |  | 3"]),
        ("<tr><th>a<th>b<tr><td><p>1</p><p>2</p><td><ul><li>3<li>4</ul>",
         ["a | b", "---", "1 2 | - 3 - 4"]),
        ("<tr><th>a<th>b<tr><td><td><tr><td>1<td>", ["a | b", "---", "1 | "]),
        ("<tr><th>a|b<th>c<tr><td>d|e<td>1", ["a\\|b | c", "---", "d\\|e | 1"]),
    ],
)  # fmt: skip
def test_a_table_is_rows_of_pipes(rows: str, lines: list[str]) -> None:
    """Headers above a rule, or an empty row; a cell over several rows is in each of them."""
    n_columns = lines[0].count(" | ") + 1
    expected = [f"| {' | '.join(['---'] * n_columns if a == '---' else [a])} |" for a in lines]

    assert html(f"<table>{rows}</table>") == "\n".join(expected)


@pytest.mark.parametrize(
    "rows",
    [
        "<tr><td>a<tr><td>b",
        "<tr><td><h2>a</h2><td>b",
        "<tr><td><img alt=''><td>a<tr><td><td>b",
        "<tr><td>a<td><pre>b</pre>",
        f"<tr><td>a<td><p>b</p><p>{'c' * 501}</p>",
    ],
)
def test_a_table_that_lays_out_a_page_is_none(rows: str) -> None:
    """One column, or cells with blocks: what is in them, one after the other."""
    assert "|" not in html(f"<table>{rows}</table>")


def test_spans_repeat_no_more_than_there_is() -> None:
    """A page may ask for billions of cells."""
    cell = f"<td rowspan=65534 colspan=1000>{'x' * 100}"
    page = f"<table><tr>{cell * 50}{'<tr><td>y' * 1000}</table>"

    assert len(html(page)) < 100 * len(page)


# --- Whatever the markup --------------------------------------------------------------------------


def test_deep_nesting_is_no_problem() -> None:
    """A page may nest deeper than Python recurses."""
    assert html("<b>" * 5000 + "deep") == "deep"
    assert html("<ul><li>" * 2000 + "deep") == "- " * 7 + "deep"


def test_a_stray_end_or_row_is_no_problem() -> None:
    """Broken markup loses structure, not text."""
    assert html("</ul></tr></h1>a<li>b</table></td><tr>c") == "a\n- bc"


# fmt: off
TAGS = [
    "a", "aside", "b", "blockquote", "br", "caption", "code", "dd", "div", "dl", "dt", "figcaption",
    "figure", "h1", "h3", "hr", "img alt=pic", "li", "main", "nav", "ol", "p", "pre", "section",
    "span id=s", "sub", "sup", "table", "td", "td colspan=2", "td rowspan=3", "th", "tr", "ul",
    "div class=note", "p class=title", "math", "svg", "button", "select", "textarea",
]
# fmt: on
HIDING = {"aside", "button", "main", "nav", "select", "svg"}
TOKENS = st.one_of(
    st.sampled_from([f"<{tag}>" for tag in TAGS]),
    st.sampled_from([f"</{tag.split()[0]}>" for tag in TAGS]),
    st.sampled_from(["word", " x ", "\n", "1", "```", "&#13;", "&#0;", "&#x2028;", "&nbsp;", "|"]),
)


def check_blocks(found: Extracted) -> None:
    """Blocks are in order, have no white space at their ends, and leave out nothing else."""
    end = 0
    for block in found.blocks:
        assert not found.text[end : block.start].strip()
        text = found.text[block.start : block.end]
        assert text
        assert text == text.strip()
        assert ("\n" not in text) or block.kind not in (BlockKind.HEADING, BlockKind.TERM)
        assert bool(block.label) == block.opens_section
        end = block.end
    assert not found.text[end:].strip()


@settings(max_examples=300)
@given(tokens=st.lists(TOKENS, max_size=40))
def test_every_character_is_in_one_block(tokens: list[str]) -> None:
    """Whatever is opened, closed or forgotten."""
    check_blocks(read_html("".join(tokens)))


@settings(max_examples=300)
@given(tokens=st.lists(TOKENS.filter(lambda token: token[1:-1] not in HIDING), max_size=40))
def test_no_letter_of_a_page_is_lost(tokens: list[str]) -> None:
    """All that a browser has of a page without navigation is in the text, at least once."""
    page = "".join(tokens)
    root = LexborHTMLParser(page).root
    expected = Counter(c for c in (root.text() if root else "") if c.isalnum())

    assert not expected - Counter(read_html(page).text)


@pytest.mark.parametrize(
    ("before", "unit"),
    [
        ("", "<ul><li>a"),
        ("", "<table><tr><td>a"),
        ("<table><tr>", "<td rowspan=9 colspan=9>a"),
        ("<table>", "<tr><td rowspan=65534 colspan=100>abc"),
        ("", "a<sup>b"),
        ("a" * 9999, "<sup>"),
        ("", "<dl><dt>a<dd>"),
        ("", "<div class=toc><a href=b>c"),
        ("", "<div><a href=a rel=next>b</a>"),
        ("", "<div><a href=a>b</a><a href=a>b</a>"),
        ("", "<div id=content>a"),
        ("", "<main>a"),
        ("", "<article>a"),
        ("<main>", "<article></article>a"),
        ("", "<h1>a<p>b"),
        ("", "<li><h1>a"),
        ("<pre>", "<div>a"),
        ("", "<figure><figcaption>a"),
        ("", "<p id=a>b"),
        ("", "<header>a"),
    ],
)
def test_time_grows_with_the_page(before: str, unit: str) -> None:
    """Where the parser's own time does, ours does, too."""

    def seconds(n_units: int) -> float:
        page = before + unit * n_units
        started = time.process_time()
        read_html(page)
        return time.process_time() - started

    small = min(seconds(300) for _ in range(3))
    assert min(seconds(2400) for _ in range(3)) < 24 * max(small, 0.005)


def test_long_lists_side_by_side_are_no_table() -> None:
    """An index in two columns is laid out in a table: its lists stay lists."""
    items = "".join(f"<li>name{n} (a function)</li>" for n in range(100))
    page = (
        f"<main><table><tr><td><ul>{items}</ul></td><td><ul>{items}</ul></td></tr></table></main>"
    )

    assert [block.kind for block in read_html(page).blocks] == [BlockKind.LIST, BlockKind.LIST]
    assert read_html(page).text.startswith("- name0 (a function)\n- name1")
