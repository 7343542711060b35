"""Versions by URL: repositories of Icechunk as stores.

store         `IcechunkStore`: what a user says, as options, and what he does with versions
driver        the contract over a session of icechunk: who may write when, what has been changed, what is committed
repositories  from a URL and options to a repository
library       icechunk, unless this process was forked from one that has used it; what its exceptions mean
hooks         the commands `zarrv3 log` and `zarrv3 commit`
commands      what they do
"""

from zarrv3_bridge_icechunk.store import CommitConflictError, IcechunkStore, Snapshot, UncommittedWarning

__all__ = ["CommitConflictError", "IcechunkStore", "Snapshot", "UncommittedWarning"]
