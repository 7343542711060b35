"""Ranges: what is asked for, against `value[start:stop]`, from file systems of every manner."""

from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.store.contract import ByteRange
from zarrv3_store_fsspec.reading import GAP, MOST, Answer, Part, joined, read_all

VALUES = {"a": bytes(range(200)), "b": b"0123456789", "empty": b""}

bounds = st.integers(-14, 14)
ranges = st.none() | st.builds(ByteRange, bounds, st.none() | bounds)
parts = st.lists(st.builds(Part, st.sampled_from(["a", "b", "empty", "none"]), ranges), max_size=12)


class Files:
    """Files of a manner, and what they were asked for."""

    def __init__(self, manner: str = "honest", *, exact: bool = False, suffixes: bool = True) -> None:
        self.manner = manner
        self.exact = exact
        self.suffixes = suffixes
        self.asked: list[list[Part]] = []
        self.measured: list[list[str]] = []

    def read(self, parts: Sequence[Part], /) -> list[Answer]:
        """What the manner makes of it."""
        self.asked.append([*parts])
        return [self._read(part) for part in parts]

    def sizes(self, paths: Collection[str], /) -> list[int | None]:
        """The sizes."""
        self.measured.append([*paths])
        return [len(VALUES[path]) if path in VALUES else None for path in paths]

    def _read(self, part: Part) -> Answer:
        value = VALUES.get(part.path)
        if value is None or part.wanted is None:
            return value
        start, stop = part.wanted
        assert stop is None or 0 <= start < stop
        if self.manner == "refuses" and start >= len(value):
            return OSError("416 Range Not Satisfiable")
        if self.manner == "ignores" and stop is not None:
            return value
        if self.manner == "truncates":
            return value[start:stop][:-1]
        return value[start:stop]


def _reaches_behind(part: Part) -> bool:
    """Whether a range that does not begin with the value ends behind it."""
    if part.path not in VALUES or part.wanted is None or part.wanted.stop is None:
        return False
    return part.wanted.start > 0 and part.wanted.stop > len(VALUES[part.path])


@pytest.mark.parametrize("suffixes", [True, False])
@pytest.mark.parametrize("manner", ["honest", "refuses", "ignores", "truncates"])
@given(wanted=parts)
def test_ranges_are_slices(manner: str, suffixes: bool, wanted: list[Part]) -> None:
    """Every range is `value[start:stop]`, also when answers are too long, too short or refused behind the end."""
    if manner == "truncates":  # an open end cannot be checked: the connection's own length does that
        wanted = [part for part in wanted if part.wanted is None or part.wanted.stop is not None]
    if (
        manner == "ignores"
    ):  # a whole value that is as long as a range which reaches behind its end is believed
        wanted = [part for part in wanted if not _reaches_behind(part)]
    found = read_all(Files(manner, suffixes=suffixes), wanted)
    slow = [
        None if part.path not in VALUES else VALUES[part.path][slice(*part.wanted or (None, None))]
        for part in wanted
    ]
    assert found == slow


def test_near_ranges_are_one_request() -> None:
    """Ranges of one value are joined, the whole value serves all of its ranges, and nothing is asked twice."""
    files = Files()
    near = [Part("a", ByteRange(i, i + 2)) for i in range(0, 100, 4)]
    read_all(files, [*near, *near, Part("b", ByteRange(2, 4)), Part("b", None)])
    assert files.asked == [[Part("b", None), Part("a", ByteRange(0, 98))]]
    assert files.measured == []


def test_far_ranges_stay_apart() -> None:
    """Beyond a gap, or where it would become too long, ranges are requests of their own."""
    far = [
        ByteRange(0, 10),
        ByteRange(10 + GAP, 20 + GAP),
        ByteRange(21 + 2 * GAP, 30 + 2 * GAP),
        ByteRange(-5),
    ]
    spans = joined({Part("a", wanted): wanted for wanted in far})
    assert {span.wanted for span in spans.values()} == {ByteRange(0, 20 + GAP), far[2], far[3]}
    long = [ByteRange(i * MOST, (i + 1) * MOST) for i in range(3)]
    assert {span.wanted for span in joined({Part("a", r): r for r in long}).values()} == {*long}


def test_ranges_that_need_the_size_are_measured_together() -> None:
    """Ranges that count from the end cost one batch of sizes; a suffix costs none where the file system knows it."""
    files = Files()
    read_all(files, [Part("a", ByteRange(-4)), Part("b", ByteRange(2, -2)), Part("a", ByteRange(-5, -1))])
    assert files.measured == [["b", "a"]]
    assert len(files.asked) == 1
    files = Files()
    read_all(files, [Part("a", ByteRange(-4)), Part("b", ByteRange(-4))])
    assert (files.measured, len(files.asked)) == ([], 1)


@pytest.mark.parametrize("error", [PermissionError("no"), TimeoutError("late"), ConnectionError("gone")])
def test_failures_are_raised(error: Exception) -> None:
    """A failure of a whole value or of a range is raised, and no size is asked for (defect 12)."""
    files = Files()
    files._read = lambda part: error  # type: ignore[method-assign]
    for wanted in (None, ByteRange(0, 2)):
        with pytest.raises(type(error)):
            read_all(files, [Part("a", wanted)])
    assert files.measured == []


def test_other_failures_of_ranges_are_raised_unless_the_end_explains_them() -> None:
    """An error that is not about the end of the value is raised after its size was asked for."""
    files = Files()
    files._read = lambda part: OSError("broken")  # type: ignore[method-assign]
    with pytest.raises(OSError, match="broken"):
        read_all(files, [Part("a", ByteRange(0, 2))])
    assert read_all(files, [Part("b", ByteRange(10, 12))]) == [b""]
