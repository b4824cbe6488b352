"""Jupyter notebooks of all versions."""

import json
from typing import Any

import pytest

from embedding_assets.corpus.formats.extraction import Extraction
from embedding_assets.corpus.formats.markup.notebook import read_notebook
from embedding_assets.errors import DocumentError

NOTEBOOK = "application/x-ipynb+json"


def a_notebook(*cells: dict[str, Any], **metadata: Any) -> str:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4})


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": outputs}


def test_cells_of_the_third_version_are_read() -> None:
    """They are in worksheets, headings are cells, and code has its language."""
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["A ", "title"]},
        {"cell_type": "code", "language": "python", "input": ["1"], "outputs": []},
    ]
    found = read_notebook(json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}))

    assert found.text == "## A title\n\n```python\n1\n```"
    assert found.title == "A title"


def test_front_matter_is_that_of_the_notebook() -> None:
    """Quarto has it in the first cell, which is raw."""
    found = read_notebook(
        a_notebook(
            {"cell_type": "raw", "source": "---\ntitle: A\n---"},
            {"cell_type": "markdown", "source": "# B"},
        )
    )

    assert (found.title, found.text) == ("A", "# B")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]}, "a\nb"),
        ({"data": {"text/plain": ["42"], "text/html": "<b>42</b>"}}, "42"),
        ({"data": {"text/plain": "<Figure>", "image/png": "iVBOR"}}, ""),
        ({"data": {"image/png": "iVBOR"}}, ""),
        ({"output_type": "pyout", "text": "3"}, "3"),
        ({"ename": "KeyError", "evalue": "'a'", "traceback": ["\x1b[31mlong"]}, "KeyError: 'a'"),
        ({"text": "10%\r20%\r\x1b[32mdone\x1b[0m"}, "done"),
        ({"text": "x" * 2_100}, "x" * 2_000 + "\n[100 more characters]"),
        ({"data": 5}, ""),
    ],
)
def test_what_came_of_code_is_text_if_asked_for(output: dict[str, Any], text: str) -> None:
    """Only what is text, and not much of it; without colours."""
    notebook = a_notebook(code("1", output), language_info={"name": "R"})

    assert read_notebook(notebook).text == "```r\n1\n```"
    with_outputs = f"\n\n```\n{text}\n```" if text else ""
    assert read_notebook(notebook, with_outputs=True).text == "```r\n1\n```" + with_outputs


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "it is no notebook: it is not valid JSON; open it in Jupyter and save it again"),
        ("[" * 100_000, "it is no notebook: it is not valid JSON"),
        ("[]", "there are no cells in it; open it in Jupyter and save it again"),
        ('{"cells": 5, "worksheets": [1]}', "there are no cells in it"),
    ],
)
def test_what_is_no_notebook_is_refused(source: str, message: str) -> None:
    """In one clause that says what to do."""
    with pytest.raises(DocumentError, match=message):
        read_notebook(source)


def test_only_notebooks_depend_on_the_setting() -> None:
    """If it is changed, they are read anew, and nothing else is."""
    usual, other = Extraction(), Extraction(notebook_outputs=True)

    assert other.fingerprint == f"{usual.fingerprint} with outputs"
    assert other.fingerprint_of(NOTEBOOK) != usual.fingerprint_of(NOTEBOOK)
    for media_type in ("text/markdown", "text/html"):
        assert other.fingerprint_of(media_type) == usual.fingerprint_of(media_type)


def test_the_setting_is_kept() -> None:
    """What came of code is in the text of a file."""
    data = a_notebook(code("1", {"text": "one"})).encode()
    extraction = Extraction(notebook_outputs=True)

    assert "one" in extraction.extract(data, NOTEBOOK, fallback_title="f").text
