"""What everything else rests on: when it fails, the other checks say nothing, and are not run."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from zarrv3.errors import ZarrError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Capabilities, whole
from zarrv3.store.wrapping import wrap
from zarrv3.testing.checks.table import Opener, check
from zarrv3.testing.rules import BASICS, ConformanceError, shown

T = TypeVar("T")

ITEMS = {"basics/k": b"value", "basics/f/k": b"other", "basics/fk": b"third"}


@check()
def check_basics(opener: Opener) -> None:
    """A store opens, has the methods of what it claims, and reads back what was written."""
    problem = basic_problem(opener)
    if problem:
        raise ConformanceError(BASICS, problem)


def basic_problem(opener: Opener) -> str | None:
    """What is basically wrong with a store, in one line; `None` if nothing is.

    What it writes it erases again, where the store can; the store need not be empty.
    """
    try:
        store = _doing("opening the store", lambda: wrap(opener()))
        try:
            _look(store)
        finally:
            _doing("close()", store.close)
    except ConformanceError as error:
        return " ".join(error.violation.split())
    return None


def _look(store: BaseStore) -> None:
    can = _doing("`capabilities`", lambda: store.capabilities)
    _require(isinstance(can, Capabilities), f"`capabilities` is not a Capabilities but {shown(can)}")
    for name in ("swap", "transactions"):
        _require(can.write or not getattr(can, name), f"it claims `{name}` but not `write`")
    _require(can.swap or not can.swap_erases, "it claims `swap_erases` but not `swap`")
    _require(not _read(store, ["basics/none"])[0], "get_many finds a value where none was written")
    if can.write:
        write: Callable[..., Any] = store.write_many
        answer = _doing("write_many", lambda: write({**ITEMS}))
        _require(answer is None, f"write_many returned {shown(answer)}, not None")
        _is_there(store, {**ITEMS, "basics/none": None}, "after write_many")
        sizes = _answers(_doing("stat_many", lambda: store.stat_many([*ITEMS])), len(ITEMS), "stat_many")
        _require(sizes == [*map(len, ITEMS.values())], f"stat_many returned {sizes} for values of 5 bytes")
        if can.list:
            _lists(store)
    if can.swap:
        _swaps(store)
    if can.write and can.erase:
        _doing("erasing by write_many", lambda: store.write_many(dict.fromkeys(ITEMS)))
        _is_there(store, dict.fromkeys(ITEMS), "after erasing")


def _lists(store: BaseStore) -> None:
    below = ["basics/f/k"]
    for name, folder, expected in (
        ("list_prefix", "basics/", [*ITEMS]),
        ("list_prefix", "basics/f/", below),
        ("list_dir", "basics/", ["basics/k", "basics/f/", "basics/fk"]),
        ("list_dir", "basics/f/", below),
        ("list_sizes", "basics/", [(key, len(value)) for key, value in ITEMS.items()]),
        ("list_sizes", "basics/f/", [(key, len(ITEMS[key])) for key in below]),
    ):
        found: list[Any] = _doing(
            name, partial(lambda method, folder: [*getattr(store, method)(folder)], name, folder)
        )
        _require(
            {*found} == {*expected},
            f"{name}({folder!r}) yields {shown(found)}, not {shown(sorted(expected))}",
        )


def _swaps(store: BaseStore) -> None:
    keys = [*ITEMS, "basics/none"]
    found = _answers(_doing("get_versioned", lambda: store.get_versioned(keys)), len(keys), "get_versioned")
    for answer in found:
        _require(
            isinstance(answer, tuple) and len(answer) == 2,
            f"get_versioned answers with {shown(answer)}, not with a value and its version",
        )
    _require(found[-1] == (None, None), f"get_versioned answers a missing key with {shown(found[-1])}")
    refused: Any = _doing("swap_many", lambda: store.swap_many({"basics/k": (found[0][1], b"value")}))
    _require(
        isinstance(refused, Collection) and not isinstance(refused, str | bytes),
        f"swap_many returned {shown(refused)}, not the keys that it refused",
    )
    _require(not refused, f"swap_many refused {shown(refused)}, which had not changed")
    _is_there(store, {**ITEMS}, "after swap_many")


def _is_there(store: BaseStore, items: dict[str, bytes | None], what: str) -> None:
    found = _read(store, [*items])
    for (key, expected), value in zip(items.items(), found, strict=True):
        _require(value == expected, f"{what}, {key!r} reads {shown(value)}, not {shown(expected)}")


def _read(store: BaseStore, keys: list[str]) -> list[bytes | None]:
    found = _answers(_doing("get_many", lambda: store.get_many(whole(keys))), len(keys), "get_many")
    for value in found:
        _require(
            value is None or isinstance(value, bytes | bytearray | memoryview),
            f"get_many returns {shown(value)}, which is neither bytes nor None",
        )
    return [None if value is None else bytes(value) for value in found]


def _answers(found: Any, count: int, name: str) -> list[Any]:
    _require(
        isinstance(found, Sequence), f"{name} returns a {type(found).__name__}, not a sequence of answers"
    )
    _require(len(found) == count, f"{name} returns {len(found)} answers to {count} questions")
    return [*found]


def _doing(what: str, call: Callable[[], T]) -> T:
    """What a call returns; what it raises is what is wrong."""
    try:
        return call()
    except Exception as error:
        raised = "" if isinstance(error, ZarrError) else f"{type(error).__name__}: "
        raise ConformanceError(BASICS, f"{what} failed: {raised}{error}") from error


def _require(condition: object, violation: str) -> None:
    if not condition:
        raise ConformanceError(BASICS, violation)
