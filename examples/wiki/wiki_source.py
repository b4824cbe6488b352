"""The pages of a MediaWiki, each with its newest revision.

A page whose revision is that of the month before is not read again, and nothing of it is sent.
"""

import json
import os
from collections.abc import Iterator
from urllib.parse import quote, urlencode
from urllib.request import urlopen

from embedding_assets import SourceDocument

QUERY = {
    "action": "query",
    "generator": "allpages",
    "prop": "revisions",
    "rvprop": "ids|timestamp|user|content",
    "rvslots": "main",
    "format": "json",
    "formatversion": "2",
}


def pages() -> Iterator[SourceDocument]:
    wiki, more = os.environ["WIKI_URL"], {"continue": ""}
    while more:
        with urlopen(f"{wiki}/api.php?{urlencode(QUERY | more)}", timeout=60) as response:
            answer = json.load(response)
        for page in answer["query"]["pages"]:
            revision = page["revisions"][0]
            yield SourceDocument(
                id=f"wiki/{page['pageid']}",
                title=page["title"],
                text=revision["slots"]["main"]["content"],
                url=f"{wiki}/index.php/{quote(page['title'].replace(' ', '_'))}",
                metadata={"author": revision["user"], "modified": revision["timestamp"]},
                version=str(revision["revid"]),
            )
        more = answer.get("continue", {})
