"""`zarrv3 log`, `zarrv3 commit`."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from zarrv3.errors import ConfigurationError
from zarrv3_cli import output
from zarrv3_cli.arguments import AsJson, Location, Options
from zarrv3_cli.places import place

if TYPE_CHECKING:
    from zarrv3_bridge_icechunk.store import IcechunkStore, Snapshot


def log(
    url: Location,
    most: Annotated[
        int | None,
        typer.Option("--number", "-n", metavar="N", min=1, help="Only the newest N.", show_default=False),
    ] = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Show the history of a version of a repository, the newest snapshot first.

    Each with its id, when it was written, its message, and the branches and tags that name it.
    """
    with _versions(url, option) as store:
        names: dict[str, list[str]] = {}
        for name, snapshot in [*store.branches().items(), *store.tags().items()]:
            names.setdefault(snapshot, []).append(name)
        found = islice(store.history(), most)
        if as_json:
            output.document([_document(one, names.get(one.id, [])) for one in found])
        else:
            rows = (
                [one.id, f"{one.time:%Y-%m-%d %H:%M:%S}Z", one.message, ", ".join(names.get(one.id, []))]
                for one in found
            )
            output.table(["snapshot", "written", "message", "names"], rows)


def commit(
    url: Location,
    message: Annotated[
        str,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="What the history will say.", show_default=False
        ),
    ],
    tag: Annotated[
        str | None,
        typer.Option("--tag", metavar="NAME", help="A tag for the new snapshot.", show_default=False),
    ] = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Put a snapshot with a message on a branch, as it is: a note in its history, and with --tag a name for good.

    Other commands commit what they write themselves; `?commit=TEXT` at the end of their URL says with which message.
    """
    with _versions(url, option) as store:
        if tag is not None and tag in store.tags():
            raise ConfigurationError(
                f"there is a tag {tag!r} in {store.describe()} already; nothing was committed"
            )
        found = store.commit(message, empty=True)
        if tag is not None:
            store.create_tag(tag)
    if as_json:
        output.document({"snapshot": found, "tag": tag})
    else:
        output.line(found)


@contextmanager
def _versions(url: str, option: list[str] | None) -> "Iterator[IcechunkStore]":
    """The repository below what a URL opens."""
    from zarrv3_bridge_icechunk.store import IcechunkStore

    with place(url, option).opener() as opened:
        store = opened.ground()[0]
        if not isinstance(store, IcechunkStore):
            raise ConfigurationError(
                f"{opened.describe()} has no versions; a repository of Icechunk is opened by icechunk+file:///path, …"
            )
        yield store


def _document(one: "Snapshot", names: list[str]) -> dict[str, object]:
    return {
        "snapshot": one.id,
        "parent": one.parent,
        "written": one.time.isoformat(),
        "message": one.message,
        "names": names,
    }
