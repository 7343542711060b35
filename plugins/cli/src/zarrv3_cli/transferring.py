"""`copy`, `consolidate`: writing what was read."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import zarrv3
from zarrv3 import registry
from zarrv3_cli import completing, output
from zarrv3_cli.arguments import AsJson, Location, Options, Path
from zarrv3_cli.places import place

if TYPE_CHECKING:
    from zarrv3_tools import CopyReport

Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="The store or node to copy.",
        show_default=False,
        autocompletion=completing.locations,
    ),
]
Dest = Annotated[
    str,
    typer.Argument(
        metavar="DST", help="Where it goes.", show_default=False, autocompletion=completing.locations
    ),
]
Chunks = Annotated[
    str | None,
    typer.Option(
        "--chunks", metavar="LENGTHS", help="New chunk shape: 100,100 or time=30,lat=73", show_default=False
    ),
]
Shards = Annotated[
    str | None,
    typer.Option(
        "--shards", metavar="LENGTHS", help="New shard shape likewise, or none.", show_default=False
    ),
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="CODEC",
        help="New filter: none, auto, transpose:order=[1,0] or its JSON; may be repeated.",
        autocompletion=completing.codecs,
    ),
]
Serializer = Annotated[
    str | None,
    typer.Option(
        "--serializer",
        metavar="CODEC",
        help="New serializer likewise: auto, bytes:endian=big or its JSON.",
        show_default=False,
        autocompletion=completing.codecs,
    ),
]
Compressors = Annotated[
    list[str] | None,
    typer.Option(
        "--compressor",
        metavar="CODEC",
        help="New compressor: none, auto, zstd, zstd:level=9 or its JSON; may be repeated.",
        autocompletion=completing.codecs,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the nodes at DST.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a copy that was interrupted.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read the copy back and compare.")]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="How much re-chunking may hold, like 1GiB: the more, the less is read twice.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be copied.")]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Copy the rest when a node cannot be copied; exit code 1 then.")
]
DestOptions = Annotated[
    list[str] | None,
    typer.Option("--dest-option", "-O", metavar="KEY=VALUE", help="An option of DST; may be repeated."),
]


def copy(
    source: Source,
    dest: Dest,
    chunks: Chunks = None,
    shards: Shards = None,
    filter: Filters = None,
    serializer: Serializer = None,
    compressor: Compressors = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verify: Verify = False,
    memory: Memory = None,
    dry_run: DryRun = False,
    keep_going: KeepGoing = False,
    option: Options = None,
    dest_option: DestOptions = None,
    as_json: AsJson = False,
) -> None:
    """Copy a node and all below it to another store.

    Arrays are passed through byte for byte unless chunks, shards or codecs are to change. After Ctrl-C or a failure nothing is
    half-written, and the same command with --resume goes on.
    """
    changes = _changes(chunks, shards)
    for name, given in (("filter", filter), ("compressor", compressor)):
        if given:
            changes[f"{name}s"] = _codecs(given, f"--{name}")
    if serializer is not None:
        changes["serializer"] = serializer if serializer == "auto" else _codec(serializer, "--serializer")
    here, there = place(source, option), place(dest, dest_option)
    with (
        here.opener() as old,
        there.opener() as new,
        _saying_how_to_go_on(dry_run=dry_run, overwrite=overwrite),
        output.progress("copy", "bytes") as report,
    ):
        done = zarrv3.copy(
            old,
            new,
            source_path=here.path,
            dest_path=there.path,
            overwrite=overwrite,
            resume=resume,
            verify=verify,
            memory=memory,
            dry_run=dry_run,
            on_error="report" if keep_going else "raise",
            progress=report,
            **changes,
        )
    _tell(done, as_json=as_json)


@contextmanager
def _saying_how_to_go_on(*, dry_run: bool, overwrite: bool) -> Iterator[None]:
    """A block whose interruption by Ctrl-C says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if not dry_run:
            how = "makes the copy again" if overwrite else "with --resume goes on"
            output.note(f"zarrv3: interrupted; nothing is half-written, and the same command {how}")
        raise


def consolidate(url: Location, path: Path = "", option: Options = None, as_json: AsJson = False) -> None:
    """Gather the metadata below a group in its document.

    Readers then open the whole tree by one read. Later changes below make it stale: consolidate again.
    """
    here = place(url, option, path)
    with here.opener() as store:
        group = zarrv3.consolidate_metadata(store, here.path)
        document: Any = group.metadata.to_document()["consolidated_metadata"]
        count = len(document["metadata"])
    if as_json:
        output.document({"path": group.path, "members": count})
    else:
        output.line(f"{group.name}: metadata of {output.counted(members=count)} consolidated")


def _changes(chunks: str | None, shards: str | None) -> dict[str, Any]:
    """What is to change about the shapes of chunks and shards, as arguments of `zarrv3.copy`."""
    changes: dict[str, Any] = {}
    if chunks is not None:
        changes["chunks"] = _lengths(chunks, "--chunks")
    if shards is not None:
        changes["shards"] = None if shards == "none" else _lengths(shards, "--shards")
    return changes


def _tell(done: "CopyReport", *, as_json: bool) -> None:
    if as_json:
        output.document(asdict(done))
    else:
        for path, reason in done.not_carried:
            output.line(f"not copied: /{path}: {reason}")
        output.line(_summary(done))
    if done.not_carried:
        raise typer.Exit(1)


def _summary(done: "CopyReport") -> str:
    recoded = f" ({done.recoded} re-encoded)" if done.recoded else ""
    skipped = f", {done.skipped} already there" if done.skipped else ""
    arrays, groups = output.counted(arrays=done.arrays), output.counted(groups=done.groups)
    moved = output.counted(chunks=done.chunks, documents=done.documents, bytes=done.bytes)
    return f"{'would copy' if done.dry_run else 'copied'} {arrays}{recoded} and {groups}: {moved}{skipped}"


def _lengths(text: str, name: str) -> Any:
    """Lengths in order, by the names of dimensions, or as JSON where those of a dimension are listed."""
    parts = [part.strip() for part in text.split(",") if part.strip() or text.count(",") == 0]
    try:
        if text.strip().startswith(("[", "{")):
            return json.loads(text)
        if "=" in text:
            pairs = [part.rpartition("=") for part in parts]
            return {dimension.strip(): int(length) for dimension, _, length in pairs}
        return tuple(map(int, parts))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a shape; write it as 100,100 or time=30,lat=73", param_hint=f"'{name}'"
        ) from error


def _codecs(given: list[str], option: str) -> Any:
    """What one option has said, in order."""
    if given == ["none"]:
        return None
    if given == ["auto"]:
        return "auto"
    return [_codec(text, option) for text in given]


def _codec(text: str, option: str) -> Any:
    """A codec as metadata has it, from its JSON or from `name:key=value,key=value`; the rest has its defaults."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r} is not JSON: {error}", param_hint=f"'{option}'") from error
    name, _, rest = text.partition(":")
    configuration: dict[str, Any] = {}
    for pair in re.split(r",(?=\w*=)", rest) if rest else ():  # other commas are those of a JSON list
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=f"'{option}'")
        try:
            configuration[key] = json.loads(value)
        except ValueError:
            configuration[key] = value
    return {"name": name, "configuration": {**_defaults(name), **configuration}}


def _defaults(name: str) -> dict[str, Any]:
    """The configuration that a codec has unless told otherwise; nothing where it has to be told."""
    try:
        document = registry.load("codecs", name)().to_json()
    except TypeError:
        return {}
    return dict(document.get("configuration", {})) if isinstance(document, dict) else {}
