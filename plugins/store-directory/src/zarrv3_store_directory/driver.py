"""The contract over files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from threading import get_ident
from typing import Any, TypeVar

from zarrv3.errors import InvalidKeyError, StoreAccessError
from zarrv3.forks import at_forks
from zarrv3.store.contract import (
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Limits,
    Request,
    Swaps,
    Version,
    Versioned,
    whole,
)
from zarrv3.store.files import inherit, narrow
from zarrv3.store.helpers import by_key, digest, rename_by_copy, resolve, unrolled
from zarrv3.store.keys import parent
from zarrv3.store.locks import NamedLocks
from zarrv3_store_directory.folders import (
    ANCHORED,
    MOST_DEEP,
    OPEN_FILE,
    TEMPORARY,
    Folder,
    RootName,
    Spelling,
    Walk,
    link_error,
)
from zarrv3_store_directory.kernel import file_kernel
from zarrv3_store_directory.replacing import OLD, put

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
SETS_TIME = os.utime in os.supports_fd
_DEEP = 50  # how many folders are open at once, and calls deep, while they are erased
_VANISHED = 500  # how often a write starts again because its folder was erased in the meantime
_NOTHING: Any = (None, (None, None))  # answers for a missing key
_HELD = 20  # of how many folders it is made sure at once that they stayed where they are
_IS_LINK = {errno.ELOOP, errno.EMLINK}
_IS_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


class DirectoryDriver:
    """Keys as files below `root`.

    Args:
        root: the absolute path of the root folder.
        lower: lower-case all keys.
        fsync: make every change durable before it returns.
        follow_symlinks: go through symbolic links below the root.
        anchored: use open folder descriptors, where the system has them.
    """

    def __init__(
        self, root: str, *, lower: bool, fsync: bool, follow_symlinks: bool, anchored: bool = ANCHORED
    ) -> None:
        self.root = root
        self.lower = lower
        self.fsync = fsync
        self.follow = follow_symlinks
        self.anchored = anchored
        self.reading = OPEN_FILE | (0 if follow_symlinks else _NOFOLLOW)
        self.spelling = Spelling()
        self.locks = NamedLocks()  # of folders, where the system has none
        self.name = RootName(root)
        swaps = anchored and _has_locks(root)
        self.capabilities = Capabilities(
            write=True,
            erase=True,
            list=True,
            replace=True,
            swap=swaps,
            swap_erases=swaps,
            native_ranges=True,
            shared=True,
            persistent=True,
            durable=True,
            local=True,
            limits=Limits(key_bytes=4000),
        )

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says; each file and each folder is opened once per call."""
        return self._answers(requests, versions=False)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; the version comes from the file's status: see `_version`."""
        return self._answers(whole(keys), versions=True)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self._confirmed(keys, lambda numbers: self._sizes([keys[number] for number in numbers]))

    # ------------------------------------------------------------ listing

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        return (key for key, _ in self._files(folder))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        with self._walk() as walk:
            for entry in self._entries(walk.folder(self._folder_name(folder)), folder):
                if entry.is_dir():
                    yield f"{folder}{entry.name}/"
                elif entry.is_file() or entry.is_symlink():  # not a pipe, socket or device
                    yield f"{folder}{entry.name}"

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        for key, entry in self._files(folder):
            try:
                size: int | None = entry.stat(follow_symlinks=self.follow).st_size
            except FileNotFoundError:  # erased since its folder was read, or another folder took its place
                (size,) = self.stat_many([key])
            if size is not None:
                yield key, size

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: by temporary file and rename, file by file, folder by folder; empty folders are removed."""
        folders: dict[str, list[tuple[str, Buffer]]] = {}
        erased: list[str] = []
        for key, value in changes.items():
            if value is None:
                erased.append(self._name(key))
            else:
                path, _, name = self._name(key).rpartition("/")
                folders.setdefault(f"{path}/" if path else "", []).append((name, value))
        with self._walk() as walk:
            for path, values in folders.items():
                walk.ease(sync=self.fsync)
                self._in_folder(walk, path, partial(self._replace, walk, values))
            if self.fsync:
                walk.sync()
            if erased:
                self._erase(walk, erased)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: under the exclusive lock of each key's folder, which every writer shares."""
        folders: dict[str, dict[str, str]] = {}
        for key in swaps:
            path, _, name = self._name(key).rpartition("/")
            folders.setdefault(f"{path}/" if path else "", {})[name] = key
        refused: list[str] = []
        with self._walk() as walk:
            for path, names in folders.items():
                walk.ease(sync=self.fsync)
                if walk.folder(path) is None:  # nothing is there
                    own = [(key, *swaps[key]) for key in names.values()]
                    if all(version is not None or new is None for _, version, new in own):
                        refused += [key for key, version, _ in own if version is not None]
                        continue
                refused += self._in_folder(walk, path, partial(self._swap, walk, names, swaps))
            if self.fsync:
                walk.sync()
            emptied = [
                path for path, names in folders.items() if None in [swaps[key][1] for key in names.values()]
            ]
            if emptied:
                walk.forget()
                self._prune(walk, emptied)
        return refused

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says; everything below the folder is removed, temporary files and emptied folders too."""
        path = self._folder_name(folder)
        with self._walk() as walk:
            there = walk.folder(path)
            if there is None:
                return
            self._clear(walk, there)
            walk.forget()
            self._prune(walk, [path])

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: one rename of a folder, unless it crosses file systems; `replacing` says how one is replaced."""
        old, new = self._folder_name(source), self._folder_name(target)
        with self._walk() as walk:
            if old.startswith(new):
                self._put(walk, old, new)
                return
            above_old = walk.folder(parent(old))
            if above_old is None or walk.folder(old) is None:
                return
            above_new = walk.folder(parent(new), create=True)
            if above_new is None:
                return
            here, there = above_old.at(_last(old)), above_new.at(_last(new))
            try:
                os.rename(here, there, src_dir_fd=above_old.fd, dst_dir_fd=above_new.fd)
                back = partial(os.rename, there, here, src_dir_fd=above_new.fd, dst_dir_fd=above_old.fd)
                self.spelling.check(above_new, _last(new), back)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                rename_by_copy(self, source, target)
            if self.fsync:
                walk.sync()
            walk.forget()
            self._prune(walk, [parent(old)])

    def _put(self, walk: Walk, source: str, target: str) -> None:
        """Put a folder in the place of one that it lies in."""
        for _ in range(_VANISHED):
            inner, place, outer = walk.folder(source), walk.around(source), walk.folder(target)
            above = walk.around(target)
            if inner is None or place is None or outer is None:
                return
            with contextlib.ExitStack() as locks:
                for folder in (above[0] if above else None, outer):
                    if folder is not None:
                        locks.enter_context(self._locked(walk, folder, exclusive=True))
                if walk.is_in_place(source) and walk.is_in_place(target):
                    there = put(inner, place, outer, above, partial(self._discard, walk))
                    for changed in (above[0] if above else None, there) if self.fsync else ():
                        if changed is not None:
                            changed.sync()
                    break
            walk.forget()  # somebody else replaced it while this waited for the locks
        else:
            raise StoreAccessError(f"{target!r} was replaced each of the {_VANISHED} times it was locked")
        try:
            self._discard(walk, there, OLD)
        except (OSError, StoreAccessError) as error:
            raise StoreAccessError(
                f"{target!r} was replaced, but what was there cannot be erased and is left in {there.at(OLD)!r} within it: {error}"
            ) from error
        if self.fsync:
            there.sync()

    # ------------------------------------------------------------ names

    def _walk(self) -> AbstractContextManager[Walk]:
        return Walk(
            self.root, self.spelling, self.name, follow_symlinks=self.follow, anchored=self.anchored
        ).opened()

    def _name(self, key: str) -> str:
        if TEMPORARY in key and (key.startswith(TEMPORARY) or f"/{TEMPORARY}" in key):
            raise InvalidKeyError(
                f"key {key!r} has a part that starts with {TEMPORARY!r}, reserved for temporary files"
            )
        if os.sep != "/" and os.sep in key:
            raise InvalidKeyError(f"key {key!r} contains {os.sep!r}, which separates folders on this system")
        if key.count("/") > MOST_DEEP:
            raise InvalidKeyError(
                f"key {key[:100]!r}… has more than {MOST_DEEP} parts; a folder opens one after the other"
            )
        return key.lower() if self.lower else key

    def _folder_name(self, folder: str) -> str:
        return self._name(folder) if folder else ""

    def _located(self, walk: Walk, keys: Iterable[str]) -> Iterator[tuple[Folder | None, str]]:
        """The folder of each key, `None` where there is none, and the name of its file there."""
        path, folder = None, None
        for key in keys:
            above, _, name = self._name(key).rpartition("/")
            if above != path:  # neighbours mostly lie in one folder
                walk.ease()
                path, folder = above, walk.folder(f"{above}/" if above else "")
            yield folder, name

    # ------------------------------------------------------------ one file

    def _answers(self, requests: Sequence[Request], *, versions: bool) -> Sequence[Any]:
        """The requested values, with versions where they are wanted."""
        keys = [request.key for request in requests]

        def look(numbers: Sequence[int]) -> Sequence[Any]:
            return self._looked_up([requests[number] for number in numbers], versions=versions)

        return self._confirmed(keys, look)

    def _looked_up(self, requests: Sequence[Request], *, versions: bool) -> Sequence[Any]:
        """Answers from one look: by a kernel, and what it leaves undone by Python.

        Requests for one key stand together, so that its file is opened once: the next time it may be another one.
        """
        order: Sequence[int] = range(len(requests))
        repeats = len(by_key(requests)) < len(requests)
        if repeats:
            order = sorted(order, key=lambda number: requests[number].key)
            requests = [requests[number] for number in order]
        kernel = file_kernel() if self.anchored and not self.lower else None
        answers: list[Any] = [None] * len(requests)
        left: Sequence[int] = range(len(requests))
        if kernel is not None:
            exact = self.spelling.ignores_case is False
            answers, left = kernel.get_files(
                self.root, [*requests], TEMPORARY, self.reading, letters=exact, versions=versions
            )
        if left:
            parts: dict[str, tuple[list[int], list[ByteRange | None]]] = {
                requests[number].key: ([], []) for number in left
            }
            for number, (key, wanted) in enumerate(requests):
                if key in parts:
                    parts[key][0].append(number)
                    parts[key][1].append(wanted)
            with self._walk() as walk:
                places = self._located(walk, parts)
                for (numbers, ranges), (folder, name) in zip(parts.values(), places, strict=True):
                    values, there = self._read(walk, folder, name, ranges)
                    for number, value in zip(numbers, values, strict=True):
                        answers[number] = (value, there and _version(there, value)) if versions else value
        if repeats:
            found = dict(zip(order, answers, strict=True))
            answers = [found[number] for number in range(len(order))]
        return answers

    def _sizes(self, keys: Sequence[str]) -> list[int | None]:
        with self._walk() as walk:
            found = [folder and self._stat(folder, name) for folder, name in self._located(walk, keys)]
        return [there.st_size if there and stat.S_ISREG(there.st_mode) else None for there in found]

    def _confirmed(self, keys: Sequence[str], look: Callable[[Sequence[int]], Sequence[T]]) -> Sequence[T]:
        """What a look for some keys, by their numbers, finds; those not found are looked for again while their folders are held.

        Where a folder took another one's place meanwhile, the look may have gone through the old one while that was cleared.
        """
        answers = [*look(range(len(keys)))]
        folders: dict[str, list[int]] = {}
        for number, answer in enumerate(answers):
            if answer in _NOTHING:
                folders.setdefault(parent(keys[number]), []).append(number)
        left, looks = [*folders], 0
        while left and looks < _VANISHED:
            looks += 1
            paths = left[-_HELD:]
            with self._walk() as walk:
                nearest = [walk.nearest(self._folder_name(path)) for path in paths]
                again = [
                    number
                    for path, there in zip(paths, nearest, strict=True)
                    if there is not None and len(there) == len(path)
                    for number in folders[path]
                ]
                for number, answer in zip(again, look(again) if again else (), strict=True):
                    answers[number] = answer
                moved = [
                    path
                    for path, there in zip(paths, nearest, strict=True)
                    if there is not None and not walk.is_in_place(there)
                ]
            if len(moved) < len(paths):
                looks = 0
            left[-_HELD:] = moved
        return answers

    def _read(
        self, walk: Walk, folder: Folder | None, name: str, wanteds: Sequence[ByteRange | None]
    ) -> tuple[Sequence[bytes | None], os.stat_result | None]:
        """The requested parts of a file, and the file's status."""
        kept = len(walk.descriptors)
        try:
            if folder is not None:
                fd = walk.open(folder.at(name), self.reading, folder.fd)
                there = os.fstat(fd)
                if stat.S_ISREG(there.st_mode) and self.spelling.is_exact(folder, name):
                    values: list[bytes | None] = []
                    for wanted in wanteds:
                        start, length = resolve(wanted, there.st_size) if wanted else (0, there.st_size)
                        if start or values:
                            os.lseek(fd, start, os.SEEK_SET)
                        values.append(_read_all(fd, length, f"{folder.path}/{name}"))
                    return values, there
        except OSError as error:
            if error.errno in _IS_LINK and folder is not None:
                raise link_error(f"{folder.path}/{name}") from None
            if error.errno not in _IS_MISSING:
                raise
        finally:
            walk.close(kept)
        return [None] * len(wanteds), None

    def _stat(self, folder: Folder, name: str) -> os.stat_result | None:
        there = folder.stat(name)
        if there is None or not self.spelling.is_exact(folder, name):
            return None
        if stat.S_ISLNK(there.st_mode):
            if not self.follow:
                raise link_error(f"{folder.path}/{name}")
            return os.stat(folder.at(name), dir_fd=folder.fd)
        return there

    def _version_now(self, walk: Walk, folder: Folder, name: str) -> Version | None:
        """The version of a file while the folder is locked; `None` where there is none."""
        there = self._stat(folder, name)
        if there is None or not stat.S_ISREG(there.st_mode):
            return None
        value = None if there.st_mtime_ns % 1000 else self._read(walk, folder, name, [None])[0][0]
        return _version(there, value)

    def _files(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        with self._walk() as walk:
            yield from unrolled(self._below(walk, walk.folder(self._folder_name(folder)), folder))

    def _below(
        self, walk: Walk, folder: Folder | None, path: str
    ) -> Iterator[tuple[str, os.DirEntry[str]] | Iterator[Any]]:
        folders = []
        for entry in self._entries(folder, path):
            if entry.is_symlink() and not self.follow:
                raise link_error(os.path.join(self.root, path, entry.name))  # noqa: PTH118
            if entry.is_dir():
                if path.count("/") < MOST_DEEP:
                    folders.append(entry.name)
            elif entry.is_file():  # not a pipe, socket or device
                yield path + entry.name, entry
        for name in folders:
            kept = len(walk.descriptors)
            yield self._below(walk, folder and walk.inside(folder, name), f"{path}{name}/")
            walk.close(kept)

    def _entries(self, folder: Folder | None, path: str) -> Iterator[os.DirEntry[str]]:
        """What lies in a folder, each name once; looked for again, by its path, where there is none or another one took its place.

        Who is in the old one finds less and less there, since it is cleared.
        """
        names: set[str] = set()
        with self._walk() as walk:
            for _ in range(_VANISHED):
                if folder is not None:
                    with folder.scan() as entries:
                        for entry in entries:
                            if entry.name not in names and not entry.name.startswith(TEMPORARY):
                                names.add(entry.name)
                                yield entry
                    if folder.is_in_place():
                        return
                walk.forget()
                nearest = walk.nearest(self._folder_name(path))
                if nearest is None or (len(nearest) < len(path) and walk.is_in_place(nearest)):
                    return
                folder = walk.folder(self._folder_name(path))

    # ------------------------------------------------------------ files of one folder

    def _in_folder(self, walk: Walk, path: str, action: Callable[[Folder], T]) -> T:
        """Call a function with a folder, which is made; again if it is erased in the meantime."""
        for attempt in range(_VANISHED):
            with contextlib.suppress(FileNotFoundError):
                folder = walk.folder(path, create=True)
                if folder is not None:
                    return action(folder)
            if self.fsync:
                walk.sync()
            walk.forget()
            if attempt > 10:  # several writers make and erase it: let another one finish
                import random

                time.sleep(random.uniform(0, 0.002))  # noqa: S311 - nothing secret
        raise StoreAccessError(f"{path!r}: the folder was erased each of the {_VANISHED} times it was made")

    def _replace(self, walk: Walk, values: list[tuple[str, Buffer]], folder: Folder) -> None:
        """Write values under their names; those written are removed from the list."""
        alone = self.spelling.may_coincide([name for name, _ in values])
        with self._locked(walk, folder, exclusive=alone):
            names, contents = map(list, zip(*values, strict=True)) if values else ([], [])
            left, _ = self._by_kernel(folder, names, contents)
            values[:] = [values[number] for number in left]
            dead: list[str] = []
            while values:
                dead += self._write(walk, folder, *values[-1])
                values.pop()
        self._remove_dead(walk, folder, dead)

    def _swap(self, walk: Walk, names: Mapping[str, str], swaps: Swaps, folder: Folder) -> Collection[str]:
        """Replace and erase those of some files, by name and key, whose versions are as they should be; returns other keys."""
        files, keys = [*names], [*names.values()]
        versions = [swaps[key][0] for key in keys]
        values = [swaps[key][1] for key in keys]
        dead: list[str] = []
        with self._locked(walk, folder, exclusive=True, strict=True):
            left, refused = self._by_kernel(folder, files, values, versions)
            for number in left:
                name, new = files[number], values[number]
                if self._version_now(walk, folder, name) != versions[number]:
                    refused.append(number)
                elif new is None:
                    self._unlink(folder, name)
                else:
                    dead += self._write(walk, folder, name, new)
        self._remove_dead(walk, folder, dead)
        return [keys[number] for number in refused]

    def _by_kernel(
        self,
        folder: Folder,
        names: list[str],
        values: list[Buffer | None],
        versions: list[Version | None] | None = None,
    ) -> tuple[Sequence[int], list[int]]:
        """Write values while the folder is locked, as far as a kernel does that; see `FileKernel.replace_files`."""
        # waiting for the disk takes longer than anything that Python does
        kernel = None if self.fsync or folder.fd is None else file_kernel()
        if kernel is None or folder.fd is None:
            return range(len(names)), []
        exact = self.spelling.ignores_case is False
        return kernel.replace_files(
            folder.fd, names, values, TEMPORARY, _CREATE, letters=exact, versions=versions
        )

    def _write(self, walk: Walk, folder: Folder, name: str, value: Buffer) -> Sequence[str]:
        """Write one value while the folder is locked. Returns temporary files of other writers that were in the way.

        The names of temporary files belong to the key, so that one left by a killed writer is met again.
        """
        kept, made, in_the_way = len(walk.descriptors), False, list[str]()
        before, mode = folder.stat(name), 0o666
        if before is not None:
            self.spelling.check(folder, name)
            mode = narrow(before)
        temporary = first = folder.at(_temporary(name))
        try:
            while len(walk.descriptors) == kept:
                try:
                    walk.open(temporary, _CREATE, folder.fd, mode)
                except FileExistsError:
                    in_the_way.append(temporary)
                    temporary = f"{first}~{len(in_the_way)}"
            made, fd = True, walk.descriptors[-1]
            inherit(fd, before)
            _write_fully(fd, value)
            if SETS_TIME:
                now = time.time_ns()
                os.utime(fd, ns=(now, now + (not now % 1000)))  # see `_version`
            if self.fsync:
                os.fsync(fd)
            walk.close(kept)
            os.replace(temporary, folder.at(name), src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            made = False
            if before is None and (self.spelling.ignores_case is not False or not name.isascii()):
                self.spelling.check(folder, name, partial(self._discard, walk, folder, name))
        except BaseException as error:
            if made or len(walk.descriptors) > kept:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder.fd)
            if isinstance(error, IsADirectoryError):
                raise InvalidKeyError(
                    f"{folder.path}/{name} is a folder, so no value can be stored there"
                ) from None
            raise
        return in_the_way

    def _remove_dead(self, walk: Walk, folder: Folder, temporaries: Collection[str]) -> bool:
        """Remove temporary files of dead writers: all are dead when nobody else holds the folder's lock. Whether that was so."""
        if not temporaries or folder.fd is None or fcntl is None:
            return False
        try:
            fcntl.flock(folder.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        for temporary in temporaries:
            self._discard(walk, folder, temporary)
        fcntl.flock(folder.fd, fcntl.LOCK_UN)
        return True

    # ------------------------------------------------------------ erasing

    def _erase(self, walk: Walk, names: Collection[str]) -> None:
        """Remove files and the folders that become empty."""
        emptied = set()
        for name in names:
            walk.ease()
            folder = walk.folder(parent(name))
            if folder is None:
                continue
            with self._locked(walk, folder, exclusive=False):
                if self._unlink(folder, name.rpartition("/")[2]):
                    emptied.add(parent(name))
        walk.forget()
        self._prune(walk, emptied)

    def _unlink(self, folder: Folder, name: str) -> bool:
        status = folder.stat(name)
        if status is None or stat.S_ISDIR(status.st_mode) or not self.spelling.is_exact(folder, name):
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder.at(name), dir_fd=folder.fd)
        return True

    def _clear(self, walk: Walk, folder: Folder, above: Sequence[Folder] = ()) -> bool:
        """Remove everything in a folder while nobody is writing there; links are removed, their targets stay.

        What lies `_DEEP` folders below the first of those `above` is moved up into that one, and goes then: there is no end to
        how deep another program's folders may be, but to Python's calls and open descriptors. Whether something was.
        """
        with self._locked(walk, folder, exclusive=True):
            while True:
                with folder.scan() as scanned:
                    entries = sorted(scanned, key=_document_first)
                moved = [self._discard(walk, folder, entry.name, above) for entry in entries]
                if above or not any(moved):
                    return any(moved)

    def _discard(self, walk: Walk, folder: Folder, name: str, above: Sequence[Folder] = ()) -> bool:
        """Remove a file, or a folder with everything in it; a link is removed, its target stays. Whether something was moved up."""
        there, is_moved = folder.stat(name), False
        if there is not None and stat.S_ISDIR(there.st_mode):
            if len(above) >= _DEEP:
                with contextlib.suppress(OSError):  # another file system
                    os.rename(
                        folder.at(name),
                        above[0].at(f"{TEMPORARY}{there.st_ino}"),
                        src_dir_fd=folder.fd,
                        dst_dir_fd=above[0].fd,
                    )
                    return True
            if any(os.path.samestat(there, outer.status()) for outer in (*above, folder)):
                raise StoreAccessError(
                    f"{f'{folder.path}/{name}'!r} is a folder that it lies in, mounted there again; unmount it, then erase"
                )
            kept = len(walk.descriptors)
            inner = walk.inside(folder, name)
            if inner is not None:
                is_moved = self._clear(walk, inner, (*above, folder))
            if not self._rmdir(folder, name) and self.fsync and inner is not None:
                inner.sync()
            walk.close(kept)
        elif there is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder.at(name), dir_fd=folder.fd)
        return is_moved

    def _prune(self, walk: Walk, paths: Iterable[str]) -> None:
        """Remove folders and those of their parents that are empty; the root stays. What has become of them is made durable."""
        left = set()
        for path in sorted(paths, key=len, reverse=True):
            while path and self._remove(walk, path):
                walk.forget()
                path = parent(path)  # noqa: PLW2901 - upwards
            left.add(path)
            walk.ease()
        for path in left if self.fsync else ():
            walk.ease()
            folder = walk.folder(path)
            if folder is not None:
                folder.sync()

    def _remove(self, walk: Walk, path: str) -> bool:
        """Remove a folder if it is empty, but for what killed writers left; whether it is gone."""
        above = walk.folder(parent(path))
        if above is None or self._rmdir(above, _last(path)):
            return True
        folder = walk.folder(path)
        return folder is not None and self._sweep(walk, folder) and self._rmdir(above, _last(path))

    def _sweep(self, walk: Walk, folder: Folder) -> bool:
        """Remove what killed writers left in a folder if it holds nothing else; whether that was so."""
        left = []
        with contextlib.suppress(FileNotFoundError), folder.scan() as entries:
            for entry in entries:
                if not entry.name.startswith(TEMPORARY):
                    return False
                left.append(entry.name)
        return not left or self._remove_dead(walk, folder, left)

    @staticmethod
    def _rmdir(folder: Folder, name: str) -> bool:
        try:
            os.rmdir(folder.at(name), dir_fd=folder.fd)
        except FileNotFoundError:
            return True
        except OSError as error:  # it was written to in the meantime, or it is a link
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                return False
            raise
        return True

    # ------------------------------------------------------------ locks

    @contextlib.contextmanager
    def _locked(self, walk: Walk, folder: Folder, *, exclusive: bool, strict: bool = False) -> Iterator[None]:
        """Hold a folder's lock, shared or exclusive; where there are no locks, go on without unless `strict`.

        Writers share it: while a living writer has temporary files, nobody holds it exclusively.
        """
        if folder.fd is None or fcntl is None:
            with self.locks.held([folder.path]):
                yield
            return
        _locking[get_ident()] = walk.descriptors
        try:
            try:
                fcntl.flock(folder.fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            except OSError:  # a network file system without locks of folders
                if strict:
                    raise
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(folder.fd, fcntl.LOCK_UN)


def _has_locks(root: str) -> bool:
    """Whether folders can be locked where a root is, or will be made."""
    if fcntl is None:  # pragma: no cover - Windows
        return False
    while not os.path.isdir(root) and root != os.path.dirname(root):  # noqa: PTH112, PTH120 - plain texts
        root = os.path.dirname(root)  # noqa: PTH120
    try:
        fd = os.open(root, OPEN_FILE)
    except OSError:
        return True  # an error will say what is wrong when it is used
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)  # somebody has it
    finally:
        os.close(fd)
    return True


_locking: dict[int, list[int]] = {}
"""The descriptors of the call that locked folders last, by thread."""


def _leave_locks_to_the_parent() -> None:
    """In a forked child: close the folders that other threads had locked, since a lock lasts while its descriptor is open anywhere."""
    for thread, descriptors in _locking.items():
        if thread != get_ident():
            any(map(os.close, map(descriptors.pop, [-1] * len(descriptors))))


at_forks(in_child=_leave_locks_to_the_parent)


def _document_first(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Where an entry comes in the order of erasing: a node whose document is gone is gone, and never seen half erased."""
    return entry.name != "zarr.json", entry.is_dir(follow_symlinks=False)


def _temporary(name: str) -> str:
    """The name of a temporary file: 255 bytes at most, as a kernel makes it of a plain name."""
    return f"{TEMPORARY}{name[-200 if name.isascii() else -50 :]}"


def _version(there: os.stat_result, value: bytes | None) -> Version:
    """What distinguishes a file from every other that had or will have its name.

    Every writer sets the time of a file to the nanosecond, and never to a whole microsecond, so that a number of a file that
    is used again does not bring the same version again. Where the time is of a whole microsecond, as of a file system that
    keeps times less exactly, the value's digest is part of it, and the value is needed.
    """
    stamp = there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns
    return stamp if value is None or there.st_mtime_ns % 1000 else (*stamp, digest(value))


def _read_all(fd: int, length: int, path: str) -> bytes:
    """Exactly so many bytes of an open file, from where it stands."""
    parts = []
    while length and (data := os.read(fd, length)):
        parts.append(data)
        length -= len(data)
    if length:  # our own writers never shorten a file that can be seen
        raise StoreAccessError(f"{path!r} became shorter while it was read; something else writes to it")
    return b"".join(parts)


def _write_fully(fd: int, value: Buffer) -> None:
    written = os.write(fd, value)
    while written < len(value):
        written += os.write(fd, memoryview(value)[written:])


def _last(folder: str) -> str:
    return folder[:-1].rpartition("/")[2]
