"""Arrays against numpy: whatever is written, read, resized and reopened, numpy is the slow twin."""

import math
import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import zarrv3
from zarrv3 import Array, MemoryStore, config

NumpyArray = np.ndarray[Any, Any]
Shape = tuple[int, ...]

NUMBERS = ["bool", "i1", "u2", "<i4", ">i4", "u8", "f2", ">f4", "f8", "c8", ">c16"]
TEXTS = ["S3", "U4", ">U2", "V5"]
TIMES = ["M8[ns]", ">M8[D]", "m8[s]"]
STRUCT = np.dtype([("a", "<i2"), ("b", "f8"), ("c", "S2")])

COMPRESSORS = [
    None,
    "auto",
    "default",
    {"name": "gzip", "configuration": {"level": 1}},
    [{"name": "zstd", "configuration": {"level": 1, "checksum": True}}, "crc32c"],
]

shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)


def bits(array: Any) -> tuple[Any, ...]:
    """What two arrays must have in common to be the same, NaNs and signs of zeros included."""
    whole = np.asarray(array)
    if whole.dtype.kind in "OTUS":
        return whole.shape, whole.tolist()
    native = whole.astype(whole.dtype.newbyteorder("="))
    return native.shape, native.dtype, native.tobytes()


def same(found: Any, expected: Any) -> None:
    """Fail unless both are the same bit by bit."""
    assert bits(found) == bits(expected)


def chunk_shapes(draw: Any, shape: Shape) -> Shape:
    """Chunk lengths, some of them longer than the array."""
    return tuple(draw(st.integers(1, max(1, length) + 2)) for length in shape)


def fills_of(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Fill values of a dtype, the difficult ones too."""
    found: dict[str, list[Any]] = {
        "f": [0.0, -0.0, 1.5, math.nan, math.inf, -math.inf],
        "c": [0, complex(math.nan, -math.inf), complex(1, math.inf), 1 - 2j],
        "b": [True, False],
        "S": [b"", b"ab"],
        "U": ["", "é"],
    }
    if dtype.kind in "mM":
        found[dtype.kind] = [np.array("NaT", dtype)[()], np.array(7, dtype)[()]]
    if dtype.kind in "iu":
        found[dtype.kind] = [0, 1, np.iinfo(dtype).max]
    return st.sampled_from([None, *found.get(dtype.kind, [])])


def filled(array: Array) -> NumpyArray:
    """What numpy has before anything is written."""
    return np.full(array.shape, array.fill_value, array.dtype)


@st.composite
def arrays(draw: Any, shape: Shape | None = None) -> tuple[Array, NumpyArray]:
    """A new array and its twin, with some values written to both."""
    shape = draw(shapes) if shape is None else shape
    dtype = np.dtype(draw(st.sampled_from([*NUMBERS, *TEXTS, *TIMES, STRUCT])))
    array = zarrv3.create(
        shape,
        chunks=chunk_shapes(draw, shape),
        dtype=dtype,
        fill_value=draw(fills_of(dtype)),
        compressor=draw(st.sampled_from(COMPRESSORS)),
        order=draw(st.sampled_from("CF")),
        write_empty_chunks=draw(st.booleans()),
        dimension_separator=draw(st.sampled_from("./")),
    )
    twin = filled(array)
    if draw(st.booleans()):
        values = draw(values_of(dtype, shape))
        array[...] = values
        twin[...] = values
    return array, twin


def values_of(dtype: np.dtype[Any], shape: Shape) -> st.SearchStrategy[NumpyArray]:
    """Values of a dtype and shape."""
    if dtype.kind == "V" and dtype.names is None:
        return hnp.arrays(f"S{dtype.itemsize}", shape).map(lambda a: a.view(dtype).reshape(shape))
    return hnp.arrays(dtype, shape, elements=_elements(dtype))


def _elements(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "mM":
        return hnp.from_dtype(dtype.newbyteorder("="), min_value=-(2**20), max_value=2**20)
    return None


# ---------------------------------------------------------------- indexing


@given(st.data())
def test_basic_selections_are_numpys(data: st.DataObject) -> None:
    """Integers, slices of any step and dots read and write what numpy does, in any dtype, layout and fill value."""
    array, twin = data.draw(arrays())
    selection = data.draw(hnp.basic_indices(array.shape, allow_newaxis=False))
    note(f"{array.info} {selection}")
    same(array[selection], twin[selection])
    values = data.draw(values_of(array.dtype, np.shape(twin[selection])))
    array[selection] = values
    twin[selection] = values
    same(array[...], twin)
    same(zarrv3.open_array(array.store)[...], twin)


@st.composite
def orthogonal(draw: Any, shape: Shape) -> tuple[Any, ...]:
    """One index for each dimension: an integer, slice, list or mask."""
    found: list[Any] = []
    for length in shape:
        kinds: list[Any] = [
            st.slices(length),
            st.lists(st.booleans(), min_size=length, max_size=length).map(np.array),
        ]
        if length:
            kinds += [
                st.integers(-length, length - 1),
                st.lists(st.integers(-length, length - 1), unique_by=lambda i, n=length: i % n).map(
                    lambda i: np.array(i, dtype=np.intp)
                ),
            ]
        found.append(draw(st.one_of(kinds)))
    return tuple(
        np.array(f, dtype=bool) if isinstance(f, np.ndarray) and f.dtype == float else f for f in found
    )


def outer(selection: tuple[Any, ...], shape: Shape) -> tuple[Any, tuple[Any, ...]]:
    """An orthogonal selection as numpy's ix_, and what undoes the dimensions that integers drop."""
    lists = [
        np.arange(length)[[s] if isinstance(s, int) else s]
        for s, length in zip(selection, shape, strict=True)
    ]
    return np.ix_(*lists), tuple(0 if isinstance(s, int) else slice(None) for s in selection)


@given(st.data())
def test_orthogonal_selections_are_numpys_ix(data: st.DataObject) -> None:
    """`oindex` reads and writes what numpy does with `ix_`."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7))
    array, twin = data.draw(arrays(shape))
    selection = data.draw(orthogonal(shape))
    index, dropped = outer(selection, shape)
    same(array.oindex[selection], twin[index][dropped])
    values = data.draw(values_of(array.dtype, twin[index][dropped].shape))
    array.oindex[selection] = values
    wide = twin[index]
    wide[dropped] = values
    twin[index] = wide
    same(array[...], twin)


@given(st.data())
def test_point_selections_are_numpys(data: st.DataObject) -> None:
    """`vindex` with arrays of coordinates reads and writes what numpy does; of a point named twice the last value stays."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7))
    array, twin = data.draw(arrays(shape))
    many = data.draw(st.integers(0, 12))
    points = tuple(
        np.array(data.draw(st.lists(st.integers(-n, n - 1), min_size=many, max_size=many)), dtype=np.intp)
        for n in shape
    )
    same(array.vindex[points], twin[points])
    values = data.draw(values_of(array.dtype, (many,)))
    array.vindex[points] = values
    flat = np.ravel_multi_index(tuple(p % n for p, n in zip(points, shape, strict=True)), shape)
    for place, value in zip(flat, values, strict=True):
        twin.reshape(-1)[place] = value
    same(array[...], twin)


@given(st.data())
def test_masks_are_numpys(data: st.DataObject) -> None:
    """A boolean array of the array's shape reads and writes what numpy does."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7))
    array, twin = data.draw(arrays(shape))
    mask = data.draw(hnp.arrays(bool, shape))
    same(array[mask], twin[mask])
    same(array.vindex[mask], twin[mask])
    values = data.draw(values_of(array.dtype, (int(mask.sum()),)))
    array[mask] = values
    twin[mask] = values
    same(array[...], twin)


@given(st.data())
def test_blocks_are_chunks(data: st.DataObject) -> None:
    """`blocks[i, j]` reads and writes the elements of that chunk that lie in the array."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7))
    array, twin = data.draw(arrays(shape))
    block = tuple(data.draw(st.integers(0, n - 1)) for n in array.cdata_shape)
    part = tuple(slice(b * c, (b + 1) * c) for b, c in zip(block, array.chunks, strict=True))
    same(array.blocks[block], twin[part])
    values = data.draw(values_of(array.dtype, twin[part].shape))
    array.blocks[block] = values
    twin[part] = values
    same(array[...], twin)


@given(st.data())
def test_fields_are_numpys(data: st.DataObject) -> None:
    """One field or several of a structured dtype read and write what numpy does, the other fields stay."""
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=6))
    array = zarrv3.create(shape, chunks=chunk_shapes(data.draw, shape), dtype=STRUCT)
    twin = data.draw(values_of(STRUCT, shape))
    array[...] = twin
    selection = data.draw(hnp.basic_indices(shape, allow_newaxis=False, allow_ellipsis=False))
    key = selection if isinstance(selection, tuple) else (selection,)
    for name in ("a", "b", "c"):
        same(array[(name, *key)], twin[name][selection])
    both = array[["c", "a"]]
    same(both["a"], twin["a"])
    values = data.draw(values_of(np.dtype("i2"), np.shape(twin["a"][selection])))
    array[("a", *key)] = values
    twin["a"][selection] = values
    same(array[...], twin)


@given(st.data())
def test_values_broadcast(data: st.DataObject) -> None:
    """A scalar or a smaller array is broadcast to the selection as numpy does."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    array = zarrv3.create(shape, chunks=chunk_shapes(data.draw, shape), dtype="f8", fill_value=math.nan)
    twin = filled(array)
    selection = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    target = np.shape(twin[selection])
    given_shape = tuple(
        data.draw(st.sampled_from([1, n])) for n in target[data.draw(st.integers(0, len(target))) :]
    )
    values = np.random.default_rng(0).random(given_shape)
    array[selection] = values
    twin[selection] = values
    same(array[...], twin)


@given(st.data())
def test_variable_length_elements(data: st.DataObject) -> None:
    """Texts and byte strings of any length come back, trailing zero bytes too."""
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5))
    size = math.prod(shape)
    dtype, elements = data.draw(
        st.sampled_from(
            [("string", st.text(st.characters(exclude_categories=["Cs"]))), ("bytes", st.binary())]
        )
    )
    array = zarrv3.create(shape, chunks=chunk_shapes(data.draw, shape), dtype=dtype)
    values = np.empty(shape, object)
    for index, value in zip(
        np.ndindex(shape), data.draw(st.lists(elements, min_size=size, max_size=size)), strict=True
    ):
        values[index] = value
    array[...] = values
    assert np.asarray(array[...]).tolist() == values.tolist()
    selection = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    one = data.draw(elements)
    array[selection] = one
    if isinstance(values[selection], np.ndarray):
        values[selection].fill(one)
    else:
        values[selection] = one
    assert np.asarray(array[...]).tolist() == values.tolist()


@given(st.data())
def test_threads_change_nothing(data: st.DataObject) -> None:
    """With one thread or eight, any window and tasks of any size, results and stored bytes are the same."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9))
    chunks = chunk_shapes(data.draw, shape)
    values = np.random.default_rng(1).integers(0, 3, shape)
    selection = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    results = []
    for threads, window in ((1, 64), (8, data.draw(st.integers(1, 5)))):
        with config.set(threads=threads, window=window), pytest.MonkeyPatch.context() as patch:
            patch.setattr("zarrv3.chunks.tasks.SMALL_CHUNK", 0)
            patch.setattr("zarrv3.chunks.tasks.LARGE", 0)
            array = zarrv3.create(shape, chunks=chunks, dtype="i8", compressor=None)
            array[...] = values
            array[selection] = 1
            results.append((bits(array[...]), bits(array[selection]), dict(array.store.items())))
    assert results[0] == results[1]


# ---------------------------------------------------------------- a life of an array


class ArrayMachine(RuleBasedStateMachine):
    """One array through writes, resizes, appends, attributes and reopening, always equal to its twin."""

    folder: tempfile.TemporaryDirectory[str] | None = None

    def place(self) -> Any:
        """Where the array lies."""
        return MemoryStore()

    @initialize(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=8))
    def create(self, data: st.DataObject, shape: Shape) -> None:
        """Create the array."""
        self.array = zarrv3.create(
            shape,
            chunks=tuple(data.draw(st.integers(1, 4)) for _ in shape),
            dtype="f4",
            fill_value=data.draw(st.sampled_from([0, math.nan, -1])),
            compressor=data.draw(st.sampled_from([None, "auto"])),
            store=self.place(),
            path=data.draw(st.sampled_from([None, "a/b"])),
            write_empty_chunks=data.draw(st.booleans()),
        )
        self.twin = filled(self.array)
        self.attributes: dict[str, Any] = {}

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """Write to a basic selection."""
        selection = data.draw(hnp.basic_indices(self.twin.shape, allow_newaxis=False))
        values = data.draw(st.sampled_from([0.0, -1.0, math.nan, 3.5]))
        self.array[selection] = values
        self.twin[selection] = values

    @rule(data=st.data())
    def write_points(self, data: st.DataObject) -> None:
        """Write where a mask is true."""
        mask = data.draw(hnp.arrays(bool, self.twin.shape))
        values = np.arange(mask.sum(), dtype="f4")
        self.array[mask] = values
        self.twin[mask] = values

    @rule(data=st.data())
    def resize(self, data: st.DataObject) -> None:
        """Give the array another shape; what is new has the fill value."""
        shape = tuple(data.draw(st.integers(0, 9)) for _ in self.twin.shape)
        self.array.resize(shape)
        new = np.full(shape, self.array.fill_value, "f4")
        both = tuple(slice(min(a, b)) for a, b in zip(shape, self.twin.shape, strict=True))
        new[both] = self.twin[both]
        self.twin = new

    @precondition(lambda self: self.twin.size < 400)
    @rule(data=st.data(), many=st.integers(0, 4))
    def append(self, data: st.DataObject, many: int) -> None:
        """Add elements along a dimension."""
        axis = data.draw(st.integers(-self.twin.ndim, self.twin.ndim - 1))
        shape = list(self.twin.shape)
        shape[axis] = many
        values = np.random.default_rng(many).random(shape, "f4")
        assert self.array.append(values, axis) == self.array.shape
        self.twin = np.concatenate([self.twin, values], axis)

    @rule(name=st.sampled_from("abc"), value=st.one_of(st.none(), st.integers(), st.text(max_size=3)))
    def attribute(self, name: str, value: Any) -> None:
        """Set an attribute."""
        self.array.attrs[name] = value
        self.attributes[name] = value

    @rule()
    def reopen(self) -> None:
        """Forget the object and open the array again."""
        self.array = Array(
            self.array.store, self.array.path, write_empty_chunks=not self.array.write_empty_chunks
        )

    @invariant()
    def is_equal(self) -> None:
        """The array is its twin."""
        if hasattr(self, "twin"):
            same(self.array[...], self.twin)
            assert self.array.attrs.asdict() == self.attributes
            assert self.array.nchunks_initialized <= self.array.nchunks

    def teardown(self) -> None:
        """Remove the folder."""
        if self.folder is not None:
            self.folder.cleanup()


class DirectoryArrayMachine(ArrayMachine):
    """The machine over a folder of files."""

    def place(self) -> Any:
        """A new folder."""
        self.folder = tempfile.TemporaryDirectory()
        return self.folder.name


TestInMemory = ArrayMachine.TestCase
TestInDirectory = DirectoryArrayMachine.TestCase
