"""`diff`: what is different in two hierarchies, or in an overlay."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

import zarrv3
from zarrv3_cli import completing, output
from zarrv3_cli.arguments import AsJson, Location, Options, Path
from zarrv3_cli.places import place

if TYPE_CHECKING:
    from zarrv3_tools import DiffReport

TROUBLE = 2
"""The exit code where nothing could be compared."""

Other = Annotated[
    str | None,
    typer.Argument(
        metavar="[URL2]",
        help="What it is compared with.",
        show_default=False,
        autocompletion=completing.locations,
    ),
]
Keys = Annotated[bool, typer.Option("--keys", help="List keys instead of nodes.")]
OtherOptions = Annotated[
    list[str] | None,
    typer.Option("--other-option", "-O", metavar="KEY=VALUE", help="An option of URL2; may be repeated."),
]


def diff(
    url: Location,
    other: Other = None,
    path: Path = "",
    keys: Keys = False,
    option: Options = None,
    other_option: OtherOptions = None,
    as_json: AsJson = False,
) -> None:
    """Tell what was added, changed and erased between two hierarchies, or in an overlay.

    With one URL, that of an overlay, it is compared with its base. Otherwise what is at URL2 counts as the newer one.
    Documents that mean the same are the same. The exit code is 0 if nothing is different, 1 if something is, 2 if it cannot tell.
    """
    try:
        report = _compared(url, other, path, option, other_option)
    except Exception as error:
        error.exit_code = TROUBLE  # type: ignore[attr-defined]
        raise
    if as_json:
        output.document(_document(report, keys=keys))
    elif keys:
        output.table(
            ["", "key", "before", "now"],
            [(c.kind, c.key, output.bytes_text(c.before), output.bytes_text(c.now)) for c in report.keys],
        )
    elif report:
        heads = ["", "node", "document", "chunks added", "changed", "erased", "before", "now"]
        output.table(heads, [_row(node) for node in report.nodes])
    if report:
        raise typer.Exit(1)


def _compared(
    url: str, other: str | None, path: str, option: list[str] | None, other_option: list[str] | None
) -> "DiffReport":
    here = place(url, option, path)
    with here.opener() as old:
        if other is None:
            return zarrv3.diff(old, path=here.path)
        there = place(other, other_option, path)
        with there.opener() as new:
            return zarrv3.diff(old, new, path=here.path, new_path=there.path)


def _row(node: Any) -> list[str]:
    """A node as a row; those that have no document are keys of no node."""
    name = "(no node)" if node.path is None else f"/{node.path}"
    counts = [str(number or "") for number in (node.added, node.changed, node.erased)]
    sizes = [output.bytes_text(size) for size in (node.before, node.now)]
    return [node.kind, name, "document" if node.document else "", *counts, *sizes]


def _document(report: "DiffReport", *, keys: bool) -> dict[str, Any]:
    if keys:
        return {"keys": [change._asdict() for change in report.keys]}
    nodes = [
        {
            "path": node.path,
            "kind": node.kind,
            "document": node.document,
            "chunks": {"added": node.added, "changed": node.changed, "erased": node.erased},
            "bytes": {"before": node.before, "now": node.now},
        }
        for node in report.nodes
    ]
    return {"nodes": nodes}
