"""What a node is and holds, and what lies below it, in words."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

from zarrv3.errors import MetadataError, escaped
from zarrv3.format.codecs import Codec
from zarrv3.format.cuts import describe
from zarrv3.format.extensions import NamedConfig
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import nodes
from zarrv3.options.urls import short_size
from zarrv3.store.base import BaseStore
from zarrv3.store.helpers import unrolled

if TYPE_CHECKING:
    from zarrv3.hierarchy.array import Array
    from zarrv3.hierarchy.group import Group


MOST_SHOWN = 1000
"""How many nodes a drawing shows."""


class Shown:
    """What `zarrv3-tools` draws in notebooks."""

    def _repr_html_(self) -> str | None:
        """HTML for a notebook; `None`, which makes it show the text, where `zarrv3-tools` is not installed."""
        try:
            notebook = import_module("zarrv3_tools.notebook")
        except ModuleNotFoundError as error:
            if error.name not in {"zarrv3_tools", "zarrv3_tools.notebook"}:
                raise
            return None
        html: str = notebook.html(self)
        return html


class Info(Shown):
    """Lines of a name and a value each."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self.lines = lines

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.lines)

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self.lines)
        return "\n".join(f"{name.ljust(width)} : {escaped(value)}" for name, value in self.lines)


def report(node: Any, *, complete: bool = False, stored: bool = True) -> Info:
    """The report of an array or group, in full if `complete`; with what is `stored` of it, where the store can list its keys."""
    if isinstance(node.metadata, ArrayMetadata):
        return _array_info(node, complete=complete, stored=stored)
    return _group_info(node, complete=complete, stored=stored)


def full_report(node: Any) -> Info:
    """All that is said of a node: what `zarrv3 info` prints."""
    attributes = [(f"Attribute {name!r}", repr(value)) for name, value in node.metadata.attributes.items()]
    lines = [
        ("Store", node.store.describe()) if line[0] == "Store type" else line
        for line in report(node, complete=True)
    ]
    return Info(lines + attributes)


def _array_info(array: Array, *, complete: bool, stored: bool) -> Info:
    lines = [
        ("Name", array.path or "/"),
        ("Type", "zarrv3.Array"),
        ("Data type", array.metadata.data_type.describe()),
        ("Shape", str(array.metadata.shape)),
    ]
    if array.layout.blocks is not None:
        lines.append(("Shard shape", describe(array.layout.stored)))
    lines += [
        ("Chunk shape", describe(array.layout.cuts)),
        ("Order", array.order),
        ("Read-only", str(array.read_only)),
    ]
    filters = array.filters[1:] if array.order == "F" else array.filters  # the first is the order
    lines += [("Filter", _codec(codec)) for codec in filters]
    lines += [("Compressor", _codec(codec)) for codec in array.compressors] or [("Compressor", "None")]
    lines += [("Store type", _class_name(array.store)), ("No. bytes", human(array.nbytes))]
    if stored and array.store.capabilities.list:
        size, chunks = _stored(array)
        lines.append(("No. bytes stored", human(size)))
        if size:
            lines.append(("Storage ratio", f"{array.nbytes / size:.1f}"))
        lines.append(("Chunks initialized", f"{chunks}/{array.nchunks}"))
    lines.append(("Damage is detected", _detection(array.metadata)))
    lines += _several_writers(array, complete=complete)
    if complete:
        transformers = [named.name for named in array.metadata.storage_transformers]
        lines += [
            ("Fill value", str(array.metadata.fill_value) or "''"),
            ("Dimension names", ", ".join(map(str, array.metadata.dimension_names or ())) or "None"),
            ("Codecs", ", ".join(map(_codec, array.layout.chain.codecs))),
            ("Storage transformers", ", ".join(transformers) or "None"),
        ]
    return Info(lines)


def _detection(metadata: ArrayMetadata) -> str:
    """Whether a stored chunk that was changed by accident is an error instead of other values, and why."""
    checking = [codec for codec in metadata.codecs if codec.has_checksum]
    if checking:
        return f"yes ({_codec(checking[-1]).partition('(')[0]} has a checksum)"
    return "no (no codec has a checksum, as crc32c and zstd with checksum=True have)"


def _group_info(group: Group, *, complete: bool, stored: bool) -> Info:
    lines = [
        ("Name", group.path or "/"),
        ("Type", "zarrv3.Group"),
        ("Read-only", str(group.read_only)),
        ("Store type", _class_name(group.store)),
    ]
    if stored and group.store.capabilities.list:
        members = dict(nodes.children(group.store, group.path))
        arrays = [name for name, metadata in members.items() if isinstance(metadata, ArrayMetadata)]
        groups = [name for name, metadata in members.items() if isinstance(metadata, GroupMetadata)]
        lines += [
            ("No. members", str(len(members))),
            ("No. arrays", str(len(arrays))),
            ("No. groups", str(len(groups))),
        ]
        lines += [("Arrays", ", ".join(arrays))] if arrays else []
        lines += [("Groups", ", ".join(groups))] if groups else []
    return Info(lines + _several_writers(group, complete=complete))


def _several_writers(node: Array | Group, *, complete: bool) -> list[tuple[str, str]]:
    """The line about several writers; a report that is not complete has it only where they are not safe."""
    answer = node.store.several_writers
    is_told = complete or (answer.startswith("no") and not node.read_only)
    return [("Safe with several writers", answer)] if is_told else []


def human(number: int) -> str:
    """A number of bytes, from 1024 on followed by a short form, as zarr-python prints it."""
    if number < 1024:
        return str(number)
    return f"{number} ({short_size(number).replace(' ', '').removesuffix('iB')})"


def _stored(array: Array) -> tuple[int, int]:
    """`nbytes_stored` and `nchunks_initialized`, by one listing where both are told by the same keys."""
    layout = array.layout
    if layout.store is not array.store:
        return array.nbytes_stored(), array.nchunks_initialized
    size = chunks = 0
    for key, stored in array.store.list_sizes(layout.folder):
        size += stored
        chunks += layout.coords(key) is not None
    return size, chunks


def _codec(codec: Codec) -> str:
    return str(NamedConfig.parse(codec.to_json(), "codec"))


def _class_name(store: BaseStore) -> str:
    cls = type(store)
    return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


# ---------------------------------------------------------------- trees


class Tree(Shown):
    """The drawing of a group and what lies below; made when it is shown."""

    def __init__(self, group: Group, level: int | None = None) -> None:
        self.group = group
        self.level = level

    def lines(self) -> Iterator[str]:
        """One line for each node; an unreadable one is drawn as such."""
        yield escaped(self.group.name)
        yield from unrolled(_branches(self.group.store, self.group.path, "", self.level))

    def __repr__(self) -> str:
        """The drawing, cut where it becomes too long to be looked at: `lines` has all of it."""
        lines = [*islice(self.lines(), MOST_SHOWN + 1)]
        if len(lines) > MOST_SHOWN:
            lines[-1] = "… and more, which lines() of this tree has"
        return "\n".join(lines)


def _branches(store: BaseStore, path: str, indent: str, level: int | None) -> Iterator[str | Iterator[Any]]:
    if level is not None and level <= 0:
        return
    members = [*nodes.children(store, path)]
    for number, (name, metadata) in enumerate(members, 1):
        last = number == len(members)
        yield f"{indent}{'└──' if last else '├──'} {escaped(name + _note(metadata))}"
        if isinstance(metadata, GroupMetadata):
            deeper = None if level is None else level - 1
            yield _branches(
                store, nodes.folder_of(path) + name, f"{indent}{'    ' if last else '│   '}", deeper
            )


def _note(metadata: nodes.Metadata | MetadataError) -> str:
    if isinstance(metadata, MetadataError):
        return " (unreadable)"
    if isinstance(metadata, ArrayMetadata):
        return f" {metadata.shape} {metadata.data_type.describe()}"
    return ""
