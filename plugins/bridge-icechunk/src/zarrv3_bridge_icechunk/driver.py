"""The store contract over a session of icechunk.

A session shows one snapshot and what has been written since. It lives in this process, and ends with its commit; the next write
begins another one, at the newest snapshot of the branch. Threads write at once; whatever concerns the session as a whole is done
while nobody writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, filterfalse
from typing import Any

from zarr.storage import MemoryStore

from zarrv3.errors import ConfigurationError
from zarrv3.forks import at_forks
from zarrv3.store.contract import Buffer, Capabilities, Changes, Swaps, Version, Versioned, whole
from zarrv3.store.helpers import children
from zarrv3.store.locks import NamedLocks, ReadWriteLock
from zarrv3.store.undisturbed import methods_undisturbed
from zarrv3_bridge_icechunk.library import is_missing_version, is_no_key
from zarrv3_bridge_icechunk.repositories import Place, Wanted
from zarrv3_bridge_zarr.driver import ZarrDriver
from zarrv3_bridge_zarr.loop import run

CONCURRENCY = 64
"""How many calls of one batch are under way at once."""

ATTEMPTS = 1000
"""How often a commit is put on top of what others have committed meanwhile."""

_unsaved: dict[int, IcechunkDriver] = {}
"""The drivers with changes that are not committed: they stay until they are, at the latest at the end of the process."""


@methods_undisturbed
class IcechunkDriver(ZarrDriver):
    """The contract over the sessions of one store; see `IcechunkStore` for what is claimed.

    Args:
        place: where the repository is.
        wanted: which version.
        can: what is claimed; of a branch `main` that may be written, the first write creates the repository.
        at_last: called at the end of the process, if something is uncommitted then.
    """

    is_left = False
    """Whether this is a forked child, and the parent had changes then."""

    def __init__(
        self, place: Place, wanted: Wanted, can: Capabilities, *, at_last: Callable[[], object]
    ) -> None:
        self._place, self.wanted, self._writable, self.at_last = place, wanted, can.write, at_last
        self._sessions = ReadWriteLock()  # who writes is inside; who ends a session is alone
        self._locks = NamedLocks()
        self.session: Any = None
        self._renew()
        self.repository = place.find()
        if self.repository is None and not (can.write and wanted == Wanted("main")):
            raise ConfigurationError(
                f"there is no repository of Icechunk at {place.url!r}; the first write to its branch 'main' creates one"
            )
        super().__init__(self._begun(), persistent=can.persistent, concurrency=CONCURRENCY)
        self.capabilities = can

    def ping(self) -> None:
        """Return at once: a session knows without asking which keys there are."""
        repository = self.repository or self._place.find()
        if repository is not None:
            repository.list_branches()

    # ------------------------------------------------------------ sessions

    def _begun(self) -> Any:
        """The store of a new session; an empty one where there is no repository yet."""
        before, self.session = self.session, None
        if self.repository is None:
            return MemoryStore()
        branch, tag, snapshot = self.wanted
        try:
            if self._writable:
                self.session = self.repository.writable_session(branch)
            else:
                self.session = self.repository.readonly_session(branch, tag=tag, snapshot_id=snapshot)
        except Exception as error:
            if is_missing_version(error):
                there = ", ".join(sorted(self.repository.list_branches()))
                tags = ", ".join(sorted(self.repository.list_tags())) or "none"
                raise ConfigurationError(
                    f"the repository at {self._place.url!r} has no {self.wanted}; branches: {there}; tags: {tags}"
                ) from error
            raise
        if before is None or before.snapshot_id != self.session.snapshot_id:
            self._renew()
        return self.session.store

    def _renew(self) -> None:
        """Make sure that no version that was handed out stands for a value any more."""
        self._base = os.urandom(8)
        self._counts: dict[str, int] = {}

    @property
    def _is_open(self) -> bool:
        return self.session is not None and not self.session.read_only

    def _open(self) -> None:
        """Begin a session that can be written, unless there is one."""
        with self._sessions.writing():
            if not self._is_open:
                if self.repository is None:
                    self.repository = self._place.make()
                self.store = self._begun()

    @contextmanager
    def _writing(self, *, alone: bool = False) -> Iterator[None]:
        """A block in which the session is written; nobody else does so meanwhile if this one is to be alone."""
        while True:
            if not self._is_open:
                self._open()
            with self._sessions.writing() if alone else self._sessions.reading():
                if self._is_open:
                    _keep(self)
                    yield
                    return

    @property
    def is_changed(self) -> bool:
        """Whether something has been written that is not committed."""
        return id(self) in _unsaved and bool(self.session.has_uncommitted_changes)

    def commit(self, message: str, solver: Any, *, empty: bool) -> str | None:
        """Make what was written a snapshot of the branch and return its name; `None` where nothing was, unless it may be `empty`."""
        if empty and not self.is_changed:
            self._touch()
        with self._sessions.writing():
            if not self.is_changed:
                return None
            with self._place.locked():
                name = self._committed(message, solver)
            self._forget()
            return name

    def _committed(self, message: str, solver: Any) -> str:
        for attempt in count():
            try:
                name: str = self.session.commit(message)
            except Exception as error:
                if solver is None or attempt == ATTEMPTS or type(error).__name__ != "ConflictError":
                    raise
                self._renew()
                self.session.rebase(solver)
            else:
                return name
        raise AssertionError

    def _touch(self) -> None:
        """Add a line's end to a document, or take it away: before 2.0, icechunk has no other way to commit no change."""
        document = next((key for key in self.list_prefix("") if _is_document(key)), None)
        if document is not None:
            [text] = self.get_many(whole([document]))
            found = bytes(text or b"")
            self.write_many({document: found.rstrip() if found[-1:].isspace() else found + b"\n"})

    def rebase(self, solver: Any) -> None:
        """Put what was written on top of what others have committed to the branch since."""
        with self._sessions.writing():
            self._renew()
            if self.is_changed:
                self.session.rebase(solver)
            else:
                self._forget()
                self.repository = self.repository or self._place.find()
                self.store = self._begun()

    def discard(self) -> None:
        """Forget what was written since the last commit."""
        with self._sessions.writing():
            if self._is_open:
                self.session.discard_changes()
            self._renew()
            self._forget()

    def _forget(self) -> None:
        _unsaved.pop(id(self), None)

    def close(self) -> None:
        self._forget()
        super().close()

    def history(self) -> Iterator[Any]:
        """The snapshot that is shown and all before it, as icechunk tells of them."""
        if self.session is not None:
            yield from self.repository.ancestry(snapshot_id=self.session.snapshot_id)

    def names(self, kind: str) -> dict[str, str]:
        """The branches or tags, each with its snapshot."""
        if self.repository is None:
            return {}
        names = self.repository.list_branches() if kind == "branch" else self.repository.list_tags()
        look = getattr(self.repository, f"lookup_{kind}")
        return {name: look(name) for name in sorted(names)}

    def create(self, kind: str, name: str) -> None:
        """Begin a branch, or make a tag, at the snapshot that is shown."""
        if self.session is None:
            raise ConfigurationError(
                f"there is no repository of Icechunk at {self._place.url!r} yet; nothing can be named"
            )
        with self._place.locked():
            getattr(self.repository, f"create_{kind}")(name, self.session.snapshot_id)

    # ------------------------------------------------------------ the contract

    def write_many(self, changes: Changes, /) -> None:
        with self._writing(), self._locks.held(changes):
            self._write_each(changes)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says, except for folders below a group that have keys and no document of their own: icechunk omits them."""
        names = run(self._members(folder))
        if names:
            are_keys = run(self._each(names, self._is_key))
            yield from (name if is_key else f"{name}/" for name, is_key in zip(names, are_keys, strict=True))
        else:
            yield from children(self.list_prefix(folder), folder)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; a version counts the writes of this session, the only ones that its values can have."""
        with self._sessions.reading(), self._locks.held(keys):
            values = self.get_many(whole(keys))
            found = zip(keys, values, strict=True)
            return [(value, None if value is None else self._version(key)) for key, value in found]

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        with self._writing(), self._locks.held(swaps):
            new = [key for key, (version, _) in swaps.items() if version is None]
            there = {
                key for key, is_key in zip(new, run(self._each(new, self._is_key)), strict=True) if is_key
            }
            refused = [
                key
                for key, (version, _) in swaps.items()
                if (key in there if version is None else version != self._version(key))
            ]
            self._write_each({key: value for key, (_, value) in swaps.items() if key not in {*refused}})
            return refused

    def erase_prefix(self, folder: str, /) -> None:
        with self._writing(alone=True):
            self._renew()
            super().erase_prefix(folder)

    def _version(self, key: str) -> Version:
        return self._base, self._counts.get(key, 0)

    def _write_each(self, changes: Changes) -> None:
        """Write some keys: documents before chunks, which are taken for arrays that are there; erased the other way round."""
        parts: dict[tuple[bool, bool], dict[str, Buffer | None]] = {}
        for key, value in changes.items():
            self._counts[key] = self._counts.get(key, 0) + 1
            parts.setdefault((value is None, (value is None) is _is_document(key)), {})[key] = value
        if (True, True) in parts:
            self._renew()  # with a document goes what lies below it
        for order in sorted(parts):
            super().write_many(parts[order])

    # ------------------------------------------------------------ coroutines

    async def _members(self, folder: str) -> list[str]:
        """What icechunk says is in a folder; nothing where it is not that of a node, or within an array."""
        try:
            return [*dict.fromkeys(await self._names(folder))]
        except Exception as error:
            if is_no_key(error):
                return []
            raise

    async def _erase_prefix(self, folder: str) -> None:
        """Erase what is below a folder; below one that is not a node, chunks before the documents with which they would go."""
        if not folder:
            await self.store.clear()
            return
        try:
            await self.store.delete_dir(folder[:-1])
        except Exception as error:
            if not is_no_key(error):
                raise
        left = [key async for key in self._keys(folder)]
        for part in (filterfalse(_is_document, left), filter(_is_document, left)):
            await self._each([(key, None) for key in part], self._write)

    async def _is_key(self, key: str) -> bool:
        """Whether there is a value, which no chunk is read for."""
        try:
            return await self.store.exists(key)
        except Exception as error:
            if is_no_key(error):
                return False
            raise


def _is_document(key: str) -> bool:
    return key.rpartition("/")[2] == "zarr.json"


_watched: set[int] = set()
"""The processes that will look after their changes at their end."""


def _keep(driver: IcechunkDriver) -> None:
    _unsaved[id(driver)] = driver
    if os.getpid() not in _watched:
        _watched.add(os.getpid())
        _watch()


def _watch() -> None:
    """Look after changes also at the end of a process of a pool, which does not call what is registered with `atexit`."""
    from multiprocessing import parent_process, util

    if parent_process() is not None:
        util.Finalize(None, _at_last, exitpriority=1)


def _at_last() -> None:
    for driver in [*_unsaved.values()]:
        driver.at_last()


def _leave_parent() -> None:
    """In a forked child: the parent's changes are its own matter, and are not seen here."""
    for driver in _unsaved.values():
        driver.is_left = True
    _unsaved.clear()


atexit.register(_at_last)
at_forks(in_child=_leave_parent)
