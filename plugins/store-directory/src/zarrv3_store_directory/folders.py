"""Walking from the root to a key's folder, one part at a time and never through a symbolic link.

Where the system can open files relative to an open folder (all but Windows), a `Folder` is an open
descriptor: what it names cannot be exchanged for a link between the check and the use. Elsewhere it is a path
that is checked as it is walked.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import repeat
from typing import NamedTuple

from zarrv3.errors import InvalidKeyError, StoreAccessError
from zarrv3.store.files import sync_names
from zarrv3_store_directory.signatures import describe

ANCHORED = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
OPEN_FILE = (
    os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


TEMPORARY = ".zarrv3-"
"""The prefix of temporary files' names; no part of a key may begin with it."""


class Folder(NamedTuple):
    """One existing folder: an open descriptor (`fd`), or its path where there are none."""

    path: str
    fd: int | None

    def at(self, name: str) -> str:
        """What an `os` function with `dir_fd=folder.fd` calls a file in this folder."""
        return name if self.fd is not None else os.path.join(self.path, name)  # noqa: PTH118

    def stat(self, name: str) -> os.stat_result | None:
        """The status of a file, links not followed; `None` when there is none."""
        try:
            return os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def status(self) -> os.stat_result:
        """The status of the folder itself."""
        return os.stat(self.path if self.fd is None else self.fd)  # noqa: PTH116 - a text path, or none

    def is_in_place(self) -> bool:
        """Whether it still is what its path leads to, as far as the system takes paths of that length."""
        try:
            return os.path.samestat(os.stat(self.path), self.status())  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def sync(self) -> None:
        """Make the names in it durable, where the system can."""
        if self.fd is not None:
            os.fsync(self.fd)

    def scan(self) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        """What lies in the folder, one by one and unsorted, for a `with` block."""
        return os.scandir(self.path if self.fd is None else self.fd)


MOST_DEEP = 400
"""How many folders a key may lie in: each is opened on the way."""

MOST_OPEN = 100
"""How many folders a walk leaves open before it starts again; a process may have 1024 descriptors or fewer, for all its threads."""


class Walk:
    """The folders below a root that one call needs, each opened once, and the files that it opens there.

    Python may be interrupted (Ctrl-C) between any two of its steps. So a descriptor is noted in the very step that opens
    it, and forgotten in the one that closes it: none is lost, and none is closed twice.

    Args:
        root: the path of the root; links in it are followed, since the user gave it.
        follow_symlinks: go through links below the root too.
        anchored: use descriptors.
        spelling: asked about every existing name before it is gone through.
        name: told when the root is made.
    """

    def __init__(
        self,
        root: str,
        spelling: Spelling,
        name: RootName,
        *,
        follow_symlinks: bool,
        anchored: bool = ANCHORED,
    ) -> None:
        self.root = root
        self.spelling = spelling
        self.name = name
        self.follow = follow_symlinks
        self.anchored = anchored
        self.descriptors: list[int] = []
        self._folders: dict[str, Folder | None] = {}

    @contextmanager
    def opened(self) -> Iterator[Walk]:
        """A block after which everything is closed."""
        try:
            try:
                yield self
            finally:
                self.forget()
        finally:
            if self.descriptors:  # an interrupt came before anything was closed
                self.forget()

    def open(self, name: str, flags: int, folder: int | None = None, mode: int = 0o666) -> int:
        """Open a file, perhaps relative to a folder's descriptor."""
        self.descriptors.extend(map(partial(os.open, mode=mode, dir_fd=folder), (name,), (flags,)))
        return self.descriptors[-1]

    def close(self, kept: int) -> None:
        """Close what was opened last, and keep so many descriptors that were opened before."""
        surplus = len(self.descriptors) - kept
        any(map(os.close, map(self.descriptors.pop, repeat(-1, surplus))))

    def forget(self) -> None:
        """Close everything: what is asked for afterwards is looked up again."""
        self._folders.clear()
        self.close(0)

    def ease(self, *, sync: bool = False) -> None:
        """Close everything if many folders are open, so that descriptors do not run out; only while none is in use."""
        if len(self._folders) > MOST_OPEN:
            if sync:
                self.sync()
            self.forget()

    def sync(self) -> None:
        """Make the names in all visited folders durable, and that of the root."""
        for folder in self._folders.values():
            if folder is not None:
                folder.sync()
        self.name.sync()

    def folder(self, path: str, *, create: bool = False) -> Folder | None:
        """The folder at a path below the root (`""` or ending in `/`), `None` when there is none.

        With `create`, it and its parents are made. Raises `StoreAccessError` where the path goes through a
        symbolic link and `InvalidKeyError` where a folder has to be made but a file is.
        """
        folder = self._folders.get(path)
        if folder is None and (create or path not in self._folders):
            folder = self._child(path, create=create) if path else self._root(create=create)
            self._folders[path] = folder
        return folder

    def around(self, path: str) -> tuple[Folder, str] | None:
        """The folder that another one lies in, and its name there; `None` where it lies outside the root and cannot be opened."""
        above, _, name = path[:-1].rpartition("/")
        if path:
            folder = self.folder(f"{above}/" if above else "")
            return folder and (folder, name)
        above, name = os.path.split(os.path.realpath(self.root))
        with suppress(OSError):
            return Folder(above, self.open(above, _OPEN_FOLDER) if self.anchored else None), name
        return None

    def nearest(self, path: str) -> str | None:
        """The path of a folder, or else of the innermost around it that exists; `None` where there is no root."""
        while self.folder(path) is None:
            if not path:
                return None
            path = path[: path[:-1].rfind("/") + 1]
        return path

    def is_in_place(self, path: str) -> bool:
        """See `Folder`."""
        folder = self._folders[path]
        return folder is not None and folder.is_in_place()

    def is_deepest(self, folder: Folder) -> bool:
        """Whether no key can lie in a folder in this one."""
        return folder.path.count(os.sep) - self.root.count(os.sep) >= MOST_DEEP

    def inside(self, folder: Folder, name: str) -> Folder | None:
        """A folder directly inside another; `StoreAccessError` where it is too deep for a key, so that no walk has no end."""
        if self.is_deepest(folder):
            raise StoreAccessError(
                f"{folder.path[: len(self.root) + 50]!r}… goes on for more than {MOST_DEEP} folders, deeper than a key can "
                "lie; another program made them and has to remove them"
            )
        try:
            if folder.fd is not None:
                fd = self.open(name, _OPEN_FOLDER | (0 if self.follow else _NOFOLLOW), folder.fd)
                return Folder(f"{folder.path}/{name}", fd)
            path = folder.at(name)
            mode = os.stat(path, follow_symlinks=self.follow).st_mode  # noqa: PTH116 - a text path is all there is
        except FileNotFoundError:
            return None
        except OSError:
            self._refuse_link(folder, name)
            status = folder.stat(name)
            if status is None or not stat.S_ISDIR(status.st_mode):
                return None
            raise
        if stat.S_ISDIR(mode):
            return Folder(path, None)
        self._refuse_link(folder, name)
        return None

    def _root(self, *, create: bool) -> Folder | None:
        if create and not os.path.isdir(self.root):  # noqa: PTH112 - a text path is all there is
            with suppress(FileExistsError):  # a file: see below
                os.makedirs(self.root, exist_ok=True)  # noqa: PTH103
            self.name.durable = False
        try:
            if self.anchored:
                return Folder(self.root, self.open(self.root, _OPEN_FOLDER))
            mode = os.stat(self.root).st_mode  # noqa: PTH116
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            mode = 0
        if stat.S_ISDIR(mode):
            return Folder(self.root, None)
        raise StoreAccessError(describe(self.root))

    def _child(self, path: str, *, create: bool) -> Folder | None:
        above, _, name = path[:-1].rpartition("/")
        parent = self.folder(f"{above}/" if above else "", create=create)
        if parent is None:
            return None
        child = self.inside(parent, name)
        if child is not None and not self.spelling.is_exact(parent, name):
            child = None
            if create:
                self.spelling.check(parent, name)
        if child is None and create:
            with suppress(FileExistsError):
                os.mkdir(parent.at(name), dir_fd=parent.fd)
                self.spelling.check(parent, name, partial(os.rmdir, parent.at(name), dir_fd=parent.fd))
            self.spelling.check(parent, name)  # somebody else may have made it
            child = self.inside(parent, name)
            there = parent.stat(name) if child is None else None
            if there is not None and not stat.S_ISDIR(there.st_mode):  # a folder would be one made just now
                raise InvalidKeyError(
                    f"{path[:-1]!r} holds a value, so no key can lie below it in a folder of files"
                )
        return child

    def _refuse_link(self, folder: Folder, name: str) -> None:
        status = folder.stat(name)
        if not self.follow and status is not None and stat.S_ISLNK(status.st_mode):
            raise link_error(f"{folder.path}/{name}")


def link_error(path: str) -> StoreAccessError:
    """The error for a path through a symbolic link."""
    return StoreAccessError(
        f"{path!r} is a symbolic link; open the store with follow_symlinks=True to go through links"
    )


class RootName:
    """The name of a root and those of the folders above it, which are durable when each of them has been synchronised.

    That is done once, whoever made the folders: it may have been a process that was killed before it could.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.durable = False

    def sync(self) -> None:
        """Make them durable unless they are."""
        if not self.durable:
            sync_names(self.root)
            self.durable = True


class Spelling:
    """Whether a file system keeps the names it is given, asked as names are used.

    On one that ignores case or normalises Unicode a file can be opened under names it does not have; without
    care the keys `foo` and `Foo` would share one value. There a folder is listed to see under which name a file lies. Whether
    two names lead to one file is not asked of the system: some number files by the names they are asked for.
    """

    def __init__(self) -> None:
        self.ignores_case: bool | None = None

    def is_exact(self, folder: Folder, name: str) -> bool:
        """Whether an existing file is stored under this very name; true when there is none."""
        plain = name.isascii()
        if self.ignores_case is None and plain and name.swapcase() != name:
            self._ask(folder, name)
        if plain and (not self.ignores_case or name.swapcase() == name):
            return True
        twins = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")} - {name}
        if self.ignores_case is False and not any(map(folder.stat, twins)):
            return True
        return folder.stat(name) is None or name in _names(folder)

    def may_coincide(self, names: Iterable[str]) -> bool:
        """Whether some names may lead to files of other names, as far as is known: who writes there has to be alone."""
        text = "".join(names)
        return not text.isascii() or (self.ignores_case is not False and text.swapcase() != text)

    def check(self, folder: Folder, name: str, undo: Callable[[], object] = bool) -> None:
        """Raise `InvalidKeyError`, after undoing what was just done, where what a name leads to has another name."""
        if not self.is_exact(folder, name):
            with suppress(OSError):
                undo()
            raise InvalidKeyError(
                f"{name!r} is another name for what {folder.path!r} holds, whose file system ignores case or normalises "
                "Unicode; choose lower-case names that differ in more than that"
            )

    def _ask(self, folder: Folder, name: str) -> None:
        """Learn whether the system ignores case from a name with letters, if it exists."""
        twin = name.swapcase()
        if folder.stat(name) is None:
            return
        if folder.stat(twin) is not None:
            self.ignores_case = not {name, twin} <= _names(folder)
        elif folder.stat(name) is not None:  # still
            self.ignores_case = False


def _names(folder: Folder) -> set[str]:
    with folder.scan() as entries:
        return {entry.name for entry in entries}
