"""Urls: where people find a document on the web.

Belongs here: which of what is known of a document says it. Does not belong here: the place in the
document that a chunk has (store/schema.py), addresses that a page declares (formats/).
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from urllib.parse import quote

from embedding_assets.corpus.metadata import MAX_VALUE_CHARS

# What is as long as a value may be has lost its end.
_ADDRESS = re.compile(rf"https?://[^\s/?#]\S{{0,{MAX_VALUE_CHARS - 20}}}", re.IGNORECASE)
_PATH, _STEM, _INDEX = "{path}", "{stem}", "/index/"


def url_of(uri: str, metadata: Mapping[str, object], urls: Mapping[str, str]) -> str:
    """The address under which people find a document; empty if nobody says.

    It is the ``url`` of its metadata; else what ``urls`` make of its uri, of which the longest
    prefix counts; else its ``canonical`` address; else the uri itself, if that is one.
    """
    return (
        _address(metadata.get("url"))
        or _mapped(uri, urls)
        or _address(metadata.get("canonical"))
        or _address(uri)
    )


def _address(value: object) -> str:
    return value if isinstance(value, str) and _ADDRESS.fullmatch(value) else ""


def _mapped(uri: str, urls: Mapping[str, str]) -> str:
    prefix = max(filter(uri.startswith, urls), key=len, default=None)
    if prefix is None:
        return ""
    path, form = uri.removeprefix(prefix), urls[prefix]
    if _PATH not in form and _STEM not in form:
        return form + quote(path)
    stem = path.removesuffix(PurePosixPath(path).suffix)
    url = form.replace(_PATH, quote(path)).replace(_STEM, quote(stem))
    # A folder's own page has its address.
    return url.removesuffix(_INDEX) + "/" if url.endswith(_INDEX) else url


def fingerprint_of(urls: Mapping[str, str]) -> str:
    """Another one for others, none without any: then documents have to be listed anew."""
    return sha256(repr(sorted(urls.items())).encode()).hexdigest()[:8] if urls else ""
