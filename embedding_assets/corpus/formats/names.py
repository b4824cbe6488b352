"""Names of metadata: one for what many kinds of files have, whatever they call it.

Belongs here: which names mean the same. Does not belong here: reading metadata (the modules
beside), its values (corpus/metadata.py).
"""

from collections.abc import Mapping

# What is called otherwise keeps its name, in lower case: ``tags`` too, which people choose for
# navigation, where keywords are for search.
_COMMON = {
    "authors": "author",
    "canonical_url": "canonical",
    "canonicalurl": "canonical",
    "created": "date",
    "created_at": "date",
    "lang": "language",
    "last_modified": "modified",
    "last_modified_at": "modified",
    "last_updated": "modified",
    "lastmod": "modified",
    "locale": "language",
    "pubdate": "date",
    "published_at": "date",
    "publishdate": "date",
    "updated": "modified",
    "updated_at": "modified",
}


def with_common_names(raw: Mapping[str, object]) -> dict[str, object]:
    """The same under the common names; of two that mean the same the second keeps its own.

    Authors are their names, keywords a list.
    """
    lowered = {f"{name}".lower(): value for name, value in raw.items()}
    found: dict[str, object] = {}
    for name, value in lowered.items():
        common = _COMMON.get(name, name)
        found[name if common in lowered or common in found else common] = value
    if "author" in found:
        found["author"] = _named(found["author"])
    if isinstance(keywords := found.get("keywords"), str):
        found["keywords"] = listed(keywords)
    return found


def _named(author: object) -> object:
    if isinstance(author, list):
        return [_named(each) for each in author]
    return author.get("name", author) if isinstance(author, Mapping) else author


def listed(text: str) -> list[str]:
    """What stands between commas, or semicolons if there are any."""
    return [part.strip() for part in text.split(";" if ";" in text else ",")]
