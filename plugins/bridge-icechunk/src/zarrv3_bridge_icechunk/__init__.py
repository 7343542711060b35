"""Versions by URL: repositories of Icechunk as stores.

store         `IcechunkStore`: its options and URL, and what can be done with versions
driver        the contract over a session of icechunk: who may write when, what has been changed, what is committed
repositories  from a URL and options to a repository
library       icechunk, unless this process was forked from one that has used it; what its exceptions mean
hooks         the commands `zarrv3 log` and `zarrv3 commit`
commands      what they do
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrv3_bridge_icechunk.store import CommitConflictError, IcechunkStore, Snapshot, UncommittedWarning

__all__ = ["CommitConflictError", "IcechunkStore", "Snapshot", "UncommittedWarning"]


def __getattr__(name: str) -> Any:
    """The store and what belongs to it, imported when asked for: every program that opens any store imports the hooks beside it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    from zarrv3_bridge_icechunk import store

    return getattr(store, name)
