"""What a fault makes of a page of the jobs' list: a function an effect.

Belongs here: pages that overlap, repeat, lack their entries or have odd ones. Does not belong here:
other answers (`answers`) and which effect belongs to which kind (`kinds`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedding_assets.emulator.endpoints import Call
    from embedding_assets.emulator.faults.book import Strike

_Page = dict[str, Any]

# Before all positions: the page that it names is the first one.
_FIRST_PAGE = "999999999999"
_FOREIGN = (
    None,
    "batches/no-object",
    {"metadata": {"displayName": "nameless"}},
    {"name": ["batches/list"], "metadata": 7},
    {"name": "batches/foreign-1", "metadata": "none", "done": "perhaps", "response": []},
    {
        "name": "batches/foreign-2",
        "metadata": {
            "displayName": "somebody else's",
            "state": 7,
            "createTime": "yesterday",
            "endTime": {"seconds": 12},
            "batchStats": "many",
            "output": [],
        },
        "error": "odd",
    },
)


def overlapping(call: "Call", answer: _Page, strike: "Strike") -> _Page:
    """Pages of two jobs, each of which begins with the last one of the page before."""
    before, _ = call.page()
    _, more = call.state.batches.page(before=before, size=2, now=call.state.clock())
    page: _Page = {"operations": answer.get("operations", [])[:2]}
    return page if more is None else page | {"nextPageToken": str(more + 1)}


def doubled(call: "Call", answer: _Page, strike: "Strike") -> _Page:
    """Every job twice."""
    return answer | {"operations": [job for job in answer.get("operations", []) for _ in range(2)]}


def repeating(call: "Call", answer: _Page, strike: "Strike") -> _Page:
    """The page names itself as the next one, for ever."""
    return answer | {"nextPageToken": call.query.get("pageToken") or _FIRST_PAGE}


def null(call: "Call", answer: _Page, strike: "Strike") -> _Page:
    """No list where the jobs should be."""
    return {"operations": None}


def among_foreign(call: "Call", answer: _Page, strike: "Strike") -> _Page:
    """Entries of somebody else before ours: no objects, unreadable times, states and metadata."""
    return answer | {"operations": [*_FOREIGN, *answer.get("operations", [])]}
