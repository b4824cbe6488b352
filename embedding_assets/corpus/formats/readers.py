"""Readers: which function reads which media type.

Belongs here: the tables. Does not belong here: readers that settings have a say in, and what is
done before and after (extraction.py). They take long to load together, and whoever only compares
fingerprints does without.
"""

from collections.abc import Callable

from embedding_assets.corpus.formats.data.delimited import read_delimited
from embedding_assets.corpus.formats.data.json_values import read_json, read_json_lines
from embedding_assets.corpus.formats.data.parquet import read_parquet
from embedding_assets.corpus.formats.extracted import Extracted
from embedding_assets.corpus.formats.mail.mbox import read_mbox
from embedding_assets.corpus.formats.mail.message import read_mail
from embedding_assets.corpus.formats.markup.asciidoc import read_asciidoc
from embedding_assets.corpus.formats.markup.code import read_braces, read_python, read_script
from embedding_assets.corpus.formats.markup.latex import read_latex
from embedding_assets.corpus.formats.markup.markdown import read_markdown
from embedding_assets.corpus.formats.markup.mdx import read_mdx
from embedding_assets.corpus.formats.markup.org import read_org
from embedding_assets.corpus.formats.markup.qmd import read_qmd
from embedding_assets.corpus.formats.markup.rst import read_rst
from embedding_assets.corpus.formats.office.docx import read_docx
from embedding_assets.corpus.formats.office.epub import read_epub
from embedding_assets.corpus.formats.office.odt import read_odt
from embedding_assets.corpus.formats.office.pptx import read_pptx
from embedding_assets.corpus.formats.office.rtf import read_rtf
from embedding_assets.corpus.formats.office.sheets import read_sheets
from embedding_assets.corpus.formats.pdf.document import read_pdf
from embedding_assets.corpus.formats.plain import read_plain
from embedding_assets.corpus.kinds import SPREADSHEETS

# Of files that are text, in whatever encoding, and of those that are not.
TEXT_READERS: dict[str, Callable[[str], Extracted]] = {
    "text/asciidoc": read_asciidoc,
    "text/markdown": read_markdown,
    "text/mdx": read_mdx,
    "text/plain": read_plain,
    "text/x-braces": read_braces,
    "text/x-org": read_org,
    "text/x-python": read_python,
    "text/x-quarto": read_qmd,
    "text/x-rst": read_rst,
    "text/x-script": read_script,
    "text/x-tex": read_latex,
    "text/csv": read_delimited,
    "text/tab-separated-values": read_delimited,
    "application/json": read_json,
    "application/jsonl": read_json_lines,
}
BYTES_READERS: dict[str, Callable[[bytes], Extracted]] = {
    "application/epub+zip": read_epub,
    "application/mbox": read_mbox,
    "application/pdf": read_pdf,
    "application/rtf": read_rtf,
    "application/vnd.apache.parquet": read_parquet,
    "application/vnd.oasis.opendocument.text": read_odt,
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": read_pptx,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": read_docx,
    "message/rfc822": read_mail,
    **dict.fromkeys(SPREADSHEETS, read_sheets),
}
