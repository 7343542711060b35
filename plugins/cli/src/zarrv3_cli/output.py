"""What commands write: texts for people on a terminal, plain lines in a pipe, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from zarrv3.errors import escaped

Report: TypeAlias = Callable[[int, int | None], object]
"""Called as `report(done, in all)`, where the latter is `None` if it is not known."""


def on_terminal() -> bool:
    """Whether stdout is looked at by a person."""
    return sys.stdout.isatty()


def line(text: str = "") -> None:
    """Write one line; whatever would move a terminal's cursor is escaped."""
    sys.stdout.write(escaped(text, "\t") + "\n")


def one_line(text: str) -> str:
    """A text on one line, its white space single."""
    return escaped(" ".join(text.split()))


def note(text: str) -> None:
    """Write one line to stderr: what is not a result."""
    sys.stderr.write(one_line(text) + "\n")


def document(value: Any) -> None:
    """Write a JSON document in one line, on a terminal indented."""
    sys.stdout.write(json.dumps(value, indent=2 if on_terminal() else None) + "\n")


def table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> None:
    """Write rows: aligned under heads on a terminal, otherwise as lines of fields between tabs, as they come."""
    if not on_terminal():
        for row in rows:
            line("\t".join(one_line(field) for field in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*heads, box=box.SIMPLE_HEAD)
    for row in rows:
        drawn.add_row(*(Text(one_line(field)) for field in row))
    Console().print(drawn)


def listing(lines: Sequence[tuple[str, str]]) -> None:
    """Write names with what they have: aligned on a terminal, otherwise as fields between tabs, sizes in bytes."""
    if on_terminal():
        width = max(len(name) for name, _ in lines)
        for name, text in lines:
            line(f"{name.ljust(width)} : {text}")
        return
    for name, text in lines:
        exact = text.partition(" (")[0] if name.startswith("No. bytes") else text
        line(f"{one_line(name)}\t{one_line(exact)}")


def counted(**numbers: int) -> str:
    """Numbers with their nouns, which are given in the plural: `1 array, 2 chunks`."""
    nouns = ((number, noun[:-1] if number == 1 else noun) for noun, number in numbers.items())
    return ", ".join(f"{number} {noun}" for number, noun in nouns)


def bytes_text(size: int | None) -> str:
    """A size for people, exact in a pipe; nothing where it is not known."""
    if size is None:
        return ""
    if not on_terminal():
        return str(size)
    from zarrv3.hierarchy.display import human

    return human(size).rpartition("(")[2].rstrip(")")


@contextmanager
def progress(what: str, unit: Literal["bytes", "chunks"]) -> Iterator[Report | None]:
    """A bar with rate and time left on stderr; the block gets the function to report to, `None` without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from zarrv3_cli.bars import bar_of

    with bar_of(unit) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
