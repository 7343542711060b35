"""Reports of what a node is and holds, as text and as a table of HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import nodes

if TYPE_CHECKING:
    from zarrv3.hierarchy.array import Array
    from zarrv3.hierarchy.group import Group


class Info:
    """Lines of a name and a value each."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self.lines = lines

    def __iter__(self) -> Any:
        """The lines as pairs."""
        return iter(self.lines)

    def __repr__(self) -> str:
        """The lines, aligned."""
        width = max(len(name) for name, _ in self.lines)
        return "\n".join(f"{name.ljust(width)} : {value}" for name, value in self.lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """The lines as a table."""
        rows = "".join(
            f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(value)}</td></tr>'
            for name, value in self.lines
        )
        return f"<table>{rows}</table>"


def array_info(array: Array, *, complete: bool = False, stored: bool = True) -> Info:
    """The report of an array; what is stored is left out where the store cannot list its keys."""
    lines = [
        ("Name", array.path or "/"),
        ("Type", "zarrv3.Array"),
        ("Data type", array.metadata.data_type.describe()),
        ("Shape", str(array.shape)),
    ]
    if array.shards is not None:
        lines.append(("Shard shape", str(array.shards)))
    lines += [
        ("Chunk shape", str(array.chunks)),
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
    if complete:
        lines += [
            ("Fill value", str(array.fill_value)),
            ("Dimension names", ", ".join(map(str, array.dimension_names or ())) or "None"),
            ("Codecs", ", ".join(map(_codec, array.codecs))),
            (
                "Storage transformers",
                ", ".join(named.name for named in array.metadata.storage_transformers) or "None",
            ),
        ]
    return Info(lines)


def group_info(group: Group) -> Info:
    """The report of a group."""
    lines = [
        ("Name", group.path or "/"),
        ("Type", "zarrv3.Group"),
        ("Read-only", str(group.read_only)),
        ("Store type", _class_name(group.store)),
    ]
    if group.store.capabilities.list:
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
    return Info(lines)


def human(number: int) -> str:
    """A number of bytes, with a short form beside it from 1024 on, as the seed prints it."""
    size = float(number)
    for unit in ("", "K", "M", "G", "T", "P", "E"):
        if size < 1024 or unit == "E":
            return str(number) if not unit else f"{number} ({size:.1f}{unit})"
        size /= 1024
    raise AssertionError("unreachable")


def _stored(array: Array) -> tuple[int, int]:
    """`nbytes_stored` and `nchunks_initialized`, by one listing where both are told by the same keys."""
    layout = array.layout
    if layout.store is not array.store:
        return array.nbytes_stored, array.nchunks_initialized
    size = chunks = 0
    for key, stored in array.store.list_sizes(layout.folder):
        size += stored
        chunks += layout.coords(key) is not None
    return size, chunks


def _codec(codec: Any) -> str:
    document = codec.to_json()
    if isinstance(document, str):
        return document
    options = ", ".join(f"{name}={value!r}" for name, value in document.get("configuration", {}).items())
    return f"{document['name']}({options})"


def _class_name(store: Any) -> str:
    kind = type(store)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
