"""Packed files for tests: archives of the given parts, as far as a reader looks at them."""

import io
import zipfile
from collections.abc import Mapping

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in parts.items():
            opened.writestr(name, content)
    return archive.getvalue()


def word_document(body: str, **parts: str) -> bytes:
    """A document with such a body, and parts such as ``styles``; all without outer elements."""
    relations = "".join(
        f'<Relationship Id="{name}" Type="{_RELATIONS}/{name}" Target="{name}.xml"/>'
        for name in parts
    )
    body = f"<w:body>{body}</w:body>"
    return packed(
        {
            "word/document.xml": f'<w:document xmlns:w="{_WORD}">{body}</w:document>',
            "word/_rels/document.xml.rels": f"<Relationships>{relations}</Relationships>",
            **{
                f"word/{name}.xml": f'<w:{name} xmlns:w="{_WORD}">{content}</w:{name}>'
                for name, content in parts.items()
            },
        }
    )


def open_document(
    body: str, *, styles: str = "", parts: Mapping[str, str | bytes] | None = None
) -> bytes:
    """An OpenDocument text with such a body, automatic styles, and parts beside it."""
    names = " ".join(f'xmlns:{name}="urn:{name}"' for name in ("office", "text", "table", "style"))
    return packed(
        {
            "content.xml": f"<office:document-content {names}>"
            f"<office:automatic-styles>{styles}</office:automatic-styles>"
            f"<office:body><office:text>{body}</office:text></office:body>"
            "</office:document-content>",
            **(parts or {}),
        }
    )
