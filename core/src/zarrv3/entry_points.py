"""The entry points of everything that is installed, read from their files alone.

`importlib_metadata` is the authority, and is asked wherever something is installed otherwise than by pip into a folder. Importing
it, and all that it knows of mail, archives and metadata, takes longer than opening an array: so folders are read here.
"""

import functools
import importlib
import itertools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import importlib_metadata

EntryPoint: TypeAlias = "importlib_metadata.EntryPoint | _EntryPoint"
"""One of the library's, or one that was read here."""


class Distribution(NamedTuple):
    """What a package calls itself."""

    name: str
    version: str


class _EntryPoint(NamedTuple):
    name: str
    value: str
    group: str
    folder: str
    """Where the metadata of its distribution lies."""

    @property
    def attr(self) -> str:
        return self._parts()[1]

    @property
    def dist(self) -> Distribution:
        return _distribution(self.folder)

    def load(self) -> Any:
        module, attr = self._parts()
        return functools.reduce(getattr, filter(None, attr.split(".")), importlib.import_module(module))

    def _parts(self) -> tuple[str, str]:
        module, _, attr = self.value.partition("[")[0].partition(":")  # extras mean nothing any more
        return module.strip(), attr.strip()


@functools.cache
def _distribution(folder: str) -> Distribution:
    head = {}
    path = "METADATA" if folder.endswith(".dist-info") else "PKG-INFO"
    with open(f"{folder}/{path}", encoding="utf-8") as file:  # noqa: PTH123
        for line in itertools.takewhile(str.strip, file):
            name, _, value = line.partition(":")
            head[name] = value.strip()
    return Distribution(head["Name"], head["Version"])


def installed() -> Iterator[EntryPoint]:
    """All entry points there are, also when somebody's distribution has unreadable ones."""
    folders = _folders()
    if folders is None:
        yield from _by_library()
        return
    for folder in folders:
        with suppress(OSError, ValueError):  # it has none, or they are unreadable
            yield from [*_read(folder)]


def _folders() -> list[str] | None:
    """The folders of the metadata of all distributions, the first on the path of each name; `None` where there are others."""
    if any(
        getattr(finder, "find_distributions", None) for finder in sys.meta_path if finder is not PathFinder
    ):
        return None
    found: dict[str, list[str]] = {}
    for place in sys.path:
        try:
            names = os.listdir(place or ".")  # noqa: PTH208 - plain texts
        except FileNotFoundError:
            continue
        except OSError:  # an archive
            return None
        if place.lower().endswith(".egg"):
            return None
        for name in names:
            stem, _, ending = name.lower().rpartition(".")
            if ending in {"dist-info", "egg-info"}:
                own = re.sub(r"[_.]+", "_", stem.partition("-")[0])
                found.setdefault(own, []).append(os.path.join(place, name))  # noqa: PTH118
    return [same[0] if len(same) == 1 else next(filter(_is_whole, same), same[0]) for same in found.values()]


def _is_whole(folder: str) -> bool:
    """Whether there is metadata: what an interrupted removal leaves behind does not hide what is installed."""
    return any(os.path.exists(f"{folder}/{name}") for name in ("METADATA", "PKG-INFO"))  # noqa: PTH110


def _read(folder: str) -> Iterator[EntryPoint]:
    with open(f"{folder}/entry_points.txt", encoding="utf-8") as file:  # noqa: PTH123
        lines = [*map(str.strip, file)]
    group = None
    for line in lines:
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]")
        elif group is not None and line and not line.startswith("#"):
            name, value = line.split("=", 1)
            yield _EntryPoint(name.strip(), value.strip(), group, folder)


def _by_library() -> Iterator[EntryPoint]:
    from importlib_metadata import distributions, entry_points

    try:
        yield from entry_points()
    except Exception:  # noqa: BLE001 - one by one, to leave out the distribution that is broken
        found: dict[str, list[EntryPoint]] = {}
        for distribution in distributions():
            with suppress(Exception):  # the first on the path counts
                found.setdefault(distribution.name, [*distribution.entry_points])
        yield from itertools.chain(*found.values())
