"""`info`, `tree`, `ls`: what is there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zarrv3.errors import MetadataError, UnsupportedError, escaped
from zarrv3_cli import output
from zarrv3_cli.arguments import AsJson, Location, Options, Path
from zarrv3_cli.places import node, place

if TYPE_CHECKING:
    from rich.tree import Tree

    from zarrv3.format.cuts import Cut
    from zarrv3.hierarchy.array import Array
    from zarrv3.hierarchy.group import Group
    from zarrv3_cli.hierarchy import Entry


def info(url: Location, path: Path = "", option: Options = None, as_json: AsJson = False) -> None:
    """Say what an array or group is and holds."""
    with node(place(url, option, path)) as found:
        if as_json:
            output.document(_document(found))
            return
        lines = [line for line in found.info_complete() if line[0] != "Read-only"]  # it was opened so
        output.listing(lines)


def tree(
    url: Location,
    path: Path = "",
    level: Annotated[
        int | None,
        typer.Option("--level", "-L", metavar="NUMBER", min=0, help="How deep to go.", show_default=False),
    ] = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Draw a hierarchy with shapes, types and stored sizes."""
    from zarrv3_cli.hierarchy import flat, look

    here = place(url, option, path)
    with here.opener() as store:
        top = look(store, here.path, level)
    if as_json:
        try:
            output.document(top.to_json())
        except RecursionError:
            raise UnsupportedError(
                f"the hierarchy below {top.name!r} is nested too deeply for a JSON document; use --level, or leave out --json"
            ) from None
    elif output.on_terminal():
        from rich.console import Console

        Console().print(_drawn(top))
    else:
        above = top.path.count("/") - (not top.path)
        for entry in flat(top):
            depth = 0 if entry is top else entry.path.count("/") - above
            output.line("  " * depth + _note(entry))
    _fail_for([*flat(top)])


def ls(
    url: Location,
    path: Path = "",
    long: Annotated[
        bool, typer.Option("--long", "-l", help="With kind, shape, data type and stored bytes.")
    ] = False,
    keys: Annotated[bool, typer.Option("--keys", help="The store's keys instead, with their bytes.")] = False,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """List the members of a group, or an array itself."""
    from zarrv3_cli.hierarchy import look

    here = place(url, option, path)
    with here.opener() as store:
        if keys:
            folder = f"{here.path}/" if here.path else ""
            found = ([key, str(size)] for key, size in store.list_sizes(folder))
            if as_json:
                output.document([{"key": key, "bytes": int(size)} for key, size in sorted(found)])
            else:
                output.table(["key", "bytes"], found)
            return
        top = look(store, here.path, 1)
    members = top.members if top.kind == "group" else [top]
    if as_json:
        output.document([_shallow(member) for member in members])
    elif long:
        output.table(
            ["name", "kind", "shape", "data type", "bytes"],
            [[member.name, *member.fields()] for member in members],
        )
    else:
        for member in members:
            output.line(member.name)
    _fail_for(members)


def _fail_for(entries: "Sequence[Entry]") -> None:
    """Raise the error of the first node whose document is wrong, now that all has been shown."""
    for entry in entries:
        if isinstance(entry.metadata, MetadataError):
            raise entry.metadata


def _shallow(entry: "Entry") -> dict[str, Any]:
    return {name: value for name, value in entry.to_json().items() if name != "members"}


def _note(entry: "Entry") -> str:
    return "  ".join(filter(None, [entry.name, *entry.fields()]))


def _drawn(top: "Entry") -> "Tree":
    from rich.text import Text
    from rich.tree import Tree

    from zarrv3_cli.hierarchy import flat

    trees = {entry.path: Tree(Text(escaped(_note(entry)))) for entry in flat(top)}
    for entry in flat(top):
        trees[entry.path].children += [trees[member.path] for member in entry.members]
    return trees[top.path]


def _lengths(cuts: "Sequence[Cut]") -> list[Any]:
    """The length of chunks along each dimension; where they differ, pairs of a length and how many chunks have it."""
    return [cut if isinstance(cut, int) else [[*run] for run in cut.runs] for cut in cuts]


def _document(found: "Array | Group") -> dict[str, Any]:
    """What `info` says, as a document: the metadata as stored, and what follows from it."""
    from zarrv3.hierarchy.array import Array

    metadata = dict(found.metadata.to_document())
    consolidated = metadata.pop("consolidated_metadata", None)
    shown: dict[str, Any] = {"path": found.path, "store": found.store.describe(), "metadata": metadata}
    listed = found.store.capabilities.list
    if isinstance(found, Array):
        shown |= {
            "chunk_shape": _lengths(found.layout.cuts),
            "shard_shape": None if found.layout.blocks is None else _lengths(found.layout.stored),
            "bytes": found.nbytes,
            "bytes_stored": found.nbytes_stored() if listed else None,
            "chunks": found.nchunks,
            "chunks_stored": found.nchunks_initialized if listed else None,
        }
    else:
        shown["members"] = [*found] if listed else None
        inline = consolidated.get("metadata") if isinstance(consolidated, dict) else None
        shown["consolidated"] = len(inline) if isinstance(inline, dict) else None
    return shown
