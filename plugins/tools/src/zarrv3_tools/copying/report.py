"""`CopyReport`: what was copied, and what could not be carried."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NamedTuple

from zarrv3.errors import ZarrError
from zarrv3_tools.locations import Progress


class NotCarried(NamedTuple):
    """A node that could not be copied."""

    path: str
    """Its path in the source."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class CopyReport:
    """What a copy did or, after a dry run, what it would do."""

    arrays: int = 0
    """Arrays that are complete at the destination."""
    groups: int = 0
    """Groups that are complete at the destination."""
    recoded: int = 0
    """Those of the arrays that were decoded and re-encoded."""
    chunks: int = 0
    """Values written other than documents: chunks or shards."""
    documents: int = 0
    """Documents written."""
    bytes: int = 0
    """Bytes of all values and documents that were passed on, and of the elements that were re-encoded."""
    skipped: int = 0
    """Values and documents that were there already (`resume=True`)."""
    not_carried: tuple[NotCarried, ...] = ()
    """The nodes that could not be copied, with the reason (`on_error="report"`)."""
    dry_run: bool = False
    """Whether nothing was written."""


class Tally:
    """A report while it is made; thread-safe."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._lock = threading.Lock()
        self._done = 0
        self._counts = dict.fromkeys(
            ("arrays", "groups", "recoded", "chunks", "documents", "bytes", "skipped"), 0
        )
        self._failed: list[NotCarried] = []

    def add(self, *, passed: int = 0, **counts: int) -> None:
        """Count what was done; `passed` are bytes that count for the progress only."""
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count
            self._done += counts.get("bytes", 0) + passed
            if self._progress is not None and (passed or counts.get("bytes")):
                self._progress(self._done, self._total)

    def fail(self, path: str, error: ZarrError) -> None:
        """Note a node that cannot be carried."""
        with self._lock:
            self._failed.append(NotCarried(path, f"{type(error).__name__}: {error}"))

    def has_failed_below(self, folder: str) -> bool:
        """Whether a node in a folder was not carried."""
        with self._lock:
            return any(f"{path}/".startswith(folder) for path, _ in self._failed)

    def report(self, *, dry_run: bool) -> CopyReport:
        """The report."""
        with self._lock:
            return CopyReport(**self._counts, not_carried=tuple(self._failed), dry_run=dry_run)
