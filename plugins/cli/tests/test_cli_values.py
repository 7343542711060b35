"""`cat` and the selections it takes: against numpy."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import SelectionError
from zarrv3_cli import pictures, selections, texts

Run = Callable[..., Any]
ROWS = np.arange(6000).reshape(100, 60)


def spelled(index: object) -> str:
    """An index as it is written in brackets."""
    if isinstance(index, slice):
        parts = [index.start, index.stop, index.step][: 2 if index.step is None else 3]
        return ":".join("" if part is None else str(part) for part in parts)
    return "..." if index is ... else str(index)


LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=3).map(tuple)


def index(length: int) -> st.SearchStrategy[Any]:
    """What numpy takes for a dimension."""
    number = st.integers(-length, length - 1) if length else st.nothing()
    bound = st.none() | st.integers(-15, 15)
    return number | st.builds(slice, bound, bound, st.none() | st.integers(-4, 4).filter(bool))


@st.composite
def selected(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """A shape and a selection that numpy takes for it."""
    shape = draw(LENGTHS)
    count = draw(st.integers(0, len(shape)))
    dots = draw(st.none() | st.integers(0, count))
    before = shape[: count if dots is None else dots]
    after = shape[len(shape) - count + len(before) :] if dots is not None else ()
    indices = [draw(index(length)) for length in (*before, *after)]
    if dots is not None:
        indices.insert(dots, ...)
    return shape, tuple(indices)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [("-1,-2:", ROWS[-1, -2:]), ("-3::2,0", ROWS[-3::2, 0]), ("-100,:2", ROWS[-100, :2])],
)
def test_a_selection_may_begin_with_a_minus(
    given_: str, expected: Any, url: str, run: Run, tmp_path: Path
) -> None:
    """A selection that begins with a minus is not an option, what is misspelt still is one, and values of options stay."""
    assert json.loads(run("cat", f"{url}/a/t", given_, "--json").out) == expected.tolist()
    assert "No such option: --jsn" in run("cat", f"{url}/a/t", "--jsn").err
    zarrv3.save_array(tmp_path / "odd", np.arange(3), path="-1")
    assert run("cat", tmp_path / "odd", "-p", "-1", "-1").out == "2\n"


@given(selected(), st.lists(st.integers(1, 5), min_size=3, max_size=3))
def test_selections_are_numpys(case: tuple[tuple[int, ...], tuple[Any, ...]], steps: list[int]) -> None:
    """Spelling, completing and cutting a selection select what numpy selects, in order, each element once."""
    shape, selection = case
    data = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    expected = data[selection]
    parsed = selections.parse(",".join(map(spelled, selection)))
    assert parsed == (selection or (...,))
    full = selections.complete(parsed, shape)
    assert np.array_equal(data[full], expected)
    assert selections.lengths(full, shape) == np.shape(expected)
    parts = [data[part] for part in selections.cut(full, shape, tuple(steps))]
    whole = np.concatenate(parts) if np.ndim(expected) else parts[0]
    assert np.array_equal(whole, expected)
    small = data[selections.thinned(full, shape, (3, 3, 3))]
    assert all(length <= 3 for length in small.shape)
    assert np.isin(small, expected).all()


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 7))
def test_parts_end_at_chunks(length: int, chunk: int, step: int) -> None:
    """No chunk is in two parts."""
    full = (slice(None, None, step),)
    chunks = [
        {i // chunk for i in range(length)[part[0]]} for part in selections.cut(full, (length,), (chunk,))
    ]
    assert all(len(found) == 1 for found in chunks)
    assert len({*map(tuple, chunks)}) == len(chunks)


@pytest.mark.parametrize("text", ["[1:2, :]", " 1:2,:", "1:2,:,"])
def test_spellings(text: str) -> None:
    """Brackets, spaces and a comma at the end are accepted."""
    assert selections.parse(text) == (slice(1, 2), slice(None))


@pytest.mark.parametrize("selection", [(1, 2, 3), (..., ...), (9,), (-4,), (slice(0, 1, 0),)], ids=str)
def test_impossible_selections(selection: tuple[Any, ...], run: Run, tmp_path: Path) -> None:
    """What does not fit the array is an error of one line."""
    zarrv3.save_array(tmp_path / "a", np.zeros((3, 3)))
    with pytest.raises(SelectionError):
        selections.complete(selection, (3, 3))
    ended = run("cat", tmp_path / "a", "--", ",".join(map(spelled, selection)))
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)


def test_text_of_rows(url: str, run: Run) -> None:
    """Two dimensions are lines of fields; one is an element a line; none is the element."""
    rows = [line.split("\t") for line in run("cat", f"{url}/a/t", "8:33,::7").out.splitlines()]
    assert np.array_equal(np.array(rows, dtype=int), ROWS[8:33, ::7])
    column = run("cat", url, "[-95::-1,3]", "-p", "a/t").out.split()
    assert np.array_equal(np.array(column, dtype=int), ROWS[-95::-1, 3])
    assert run("cat", f"{url}|zarr3:a/t", "1,1").out == "61\n"
    assert run("cat", f"{url}/s").out == "a\nb\\tc\nü\n"


def test_text_of_tables(url: str, run: Run) -> None:
    """Three dimensions are tables with an empty line between them, also where they are read in parts."""
    tables = run("cat", f"{url}/z").out.split("\n\n")
    found = [[list(map(float, line.split("\t"))) for line in table.splitlines()] for table in tables]
    assert np.array_equal(np.array(found), zarrv3.load(f"{url}/z"), equal_nan=True)
    four = np.arange(16).reshape(2, 2, 2, 2)
    assert "\n".join(texts.lines([four[:1], four[1:]])) == (
        "0\t1\n2\t3\n\n4\t5\n6\t7\n\n\n8\t9\n10\t11\n\n12\t13\n14\t15"
    )


def test_json_of_values(url: str, run: Run, tmp_path: Path) -> None:
    """Values are nested lists; what JSON has no number for is a text."""
    assert json.loads(run("cat", f"{url}/z", "0,0", "--json").out) == ["NaN", 0.125, 0.25, 0.375]
    assert json.loads(run("cat", f"{url}/s", "--json").out) == ["a", "b\tc", "ü"]
    assert json.loads(run("cat", f"{url}/a/t", "0,5", "--json").out) == 5
    cases: list[tuple[Any, Any]] = [
        (np.array([1 + 2j, complex(0, np.inf)]), [[1.0, 2.0], [0.0, "Infinity"]]),
        (np.array(["2020-01-01", "NaT"], "M8[D]"), ["2020-01-01", "NaT"]),
        (np.array([(1, -np.inf)], dtype=[("a", "i1"), ("b", "f4")]), [[1, "-Infinity"]]),
        (np.array([True, False]), [True, False]),
    ]
    for number, (data, expected) in enumerate(cases):
        zarrv3.save_array(tmp_path / f"{number}", data)
        assert json.loads(run("cat", tmp_path / f"{number}", "--json").out) == expected


@pytest.mark.parametrize(
    "dtype", ["i2", ">f8", "c8", "M8[s]", "S3", "U2", "?", [("a", "i4"), ("b", "f4")]], ids=str
)
def test_npy_of_every_type(dtype: Any, run: Run, tmp_path: Path) -> None:
    """A `.npy` file holds what is selected, without pickles."""
    data = np.arange(60).reshape(10, 6).astype("i4").astype(dtype)
    zarrv3.save_array(tmp_path / "a", data, chunks=(3, 4))
    assert run("cat", tmp_path / "a", "1:9:2,::-1", "--npy", tmp_path / "a.npy").code == 0
    found = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert found.dtype == data.dtype.newbyteorder("=")
    assert np.array_equal(found, data[1:9:2, ::-1])


def test_npy_of_texts(url: str, run: Run, tmp_path: Path) -> None:
    """Texts of varying length become texts of one length; other things of varying length are refused, and no file made."""
    assert run("cat", f"{url}/s", "--npy", tmp_path / "s.npy").err == ""
    assert np.load(tmp_path / "s.npy").tolist() == ["a", "b\tc", "ü"]
    zarrv3.create_array(tmp_path / "b", shape=(2,), dtype="variable_length_bytes")[:] = [b"1", b"22"]
    ended = run("cat", tmp_path / "b", "--npy", tmp_path / "b.npy")
    assert ended.code == 1
    assert ".npy" in ended.err
    zarrv3.create_array(tmp_path / "c", shape=(1,), dtype=str)[:] = ["ends in NUL\0"]
    assert "NUL" in run("cat", tmp_path / "c", "--npy", tmp_path / "c.npy").err
    assert {path.name for path in tmp_path.iterdir()} == {"data.zarr", "s.npy", "b", "c"}


def test_npy_into_a_pipe(url: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`--npy -` writes to stdout."""
    from zarrv3_cli import main

    assert main(["cat", f"{url}/a/t", ":,4", "--npy", "-"]) == 0
    assert np.array_equal(np.load(io.BytesIO(capfdbinary.readouterr().out)), ROWS[:, 4])


def test_a_failed_npy_replaces_nothing(url: str, run: Run, tmp_path: Path) -> None:
    """When a chunk is corrupt the old file stays as it was and nothing lies beside it."""
    target = tmp_path / "out" / "t.npy"
    target.parent.mkdir()
    target.write_bytes(b"old")
    Path(url, "a/t/c/9/2").write_bytes(b"short")
    ended = run("cat", f"{url}/a/t", "--npy", target)
    assert ended.code == 1
    assert "'c/9/2'" in ended.err
    assert target.read_bytes() == b"old"
    assert [*target.parent.iterdir()] == [target]


def test_values_are_read_in_parts(url: str) -> None:
    """Text of a large array is made part by part, each chunk read once."""
    from zarrv3_cli.reading import _parts

    store = zarrv3.Counting(zarrv3.open_store(url))
    array = zarrv3.open_array(store, path="a/t", mode="r")
    store.reset()
    parts = _parts(array, selections.complete((...,), array.shape))
    assert next(parts).shape == (10, 60)
    assert store.requested["get_many"] == 3
    assert np.array_equal(np.concatenate([ROWS[:10], *parts]), ROWS)
    assert store.requested["get_many"] == 30


def test_a_picture_in_a_pipe(url: str, run: Run) -> None:
    """A picture in a pipe is made of characters from dark to bright, small enough for 80 columns."""
    lines = run("cat", f"{url}/a/t", "--picture").out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert {*lines[-1]} == {"@"}
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("what", ["s", "z", "a/t"])
def test_no_picture_of_that(what: str, url: str, run: Run) -> None:
    """A picture of texts, of three dimensions or of one is refused, saying what to do."""
    selection = "0,:" if what == "a/t" else "..."
    ended = run("cat", f"{url}/{what}", selection, "--picture")
    assert ended.code == 1
    assert "select two" in ended.err


def test_brightness() -> None:
    """The smallest finite number is dark and the largest bright; infinities, and numbers that are all the same, do no harm."""
    values = np.array([[0.0, 1.0, np.nan], [np.inf, -1.0, -np.inf]])
    assert pictures.grey(values).tolist() == [[128, 255, 0], [0, 0, 0]]
    assert pictures.grey(np.full((2, 2), 7)).tolist() == [[0, 0], [0, 0]]
    assert pictures.grey(np.full((1, 1), np.nan)).tolist() == [[0]]
    assert pictures.grey(np.array([[True, False]])).tolist() == [[255, 0]]
    assert pictures.grey(np.array([[3 + 4j, 0]])).tolist() == [[255, 0]]
    big = np.finfo("f8").max
    assert pictures.grey(np.array([[big, -big, 0]])).tolist() == [[255, 0, 128]]


def test_colours_in_a_pipe(run: Run, tmp_path: Path) -> None:
    """Red, green and blue become their mean where there are no colours."""
    data = np.zeros((4, 2, 3), np.uint8)
    data[:, 1] = 255
    zarrv3.save_array(tmp_path / "rgb", data)
    assert run("cat", tmp_path / "rgb", "--picture").out == " @\n @\n"
