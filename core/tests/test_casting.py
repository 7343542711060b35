"""Values that become elements: what numpy would make something else of is refused, and nothing is written."""

import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

import zarrv3
from zarrv3.errors import AssignmentError

TEXT = np.dtypes.StringDType
FRAME = pd.DataFrame({"id": [2**53 + 1, 2], "n": [3, 4]})
MASKED_FIELDS = np.ma.array([(1, 2), (3, 4)], [("a", "u1"), ("b", "f4")], mask=[(0, 1), (0, 0)])  # type: ignore[no-untyped-call]


class Protocol:
    """What has one protocol only: torch tensors, columns of Arrow and others have these."""

    def __init__(self, array: Any, *names: str, **members: Any) -> None:
        vars(self).update(members, **{name: getattr(array, name) for name in names})
        self.array = array

    shape = property(lambda self: self.array.shape)


class Arrow(Protocol):
    """A column that numpy makes an array of."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.array


class Tensor(Protocol):
    """A tensor of another library on this machine's memory."""

    dtype = "torch.float32"

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


REFUSED: list[tuple[Any, Any, str]] = [
    ("u1", np.array([300, 1]), "out of range"),
    ("u1", np.array([-1, 1]), "out of range"),
    ("u1", [300, 1], "out of bounds"),
    ("u1", [np.int64(300), 1], "out of bounds"),
    ("i8", np.array([2**63, 1], "u8"), "out of range"),
    ("i4", np.array([1e10, 1]), "out of range"),
    ("i4", np.array([np.nan, 1]), "NaN"),
    ("i4", np.array([np.inf, 1]), "infinity"),
    ("i4", [np.nan, 1], "missing"),
    (ml_dtypes.int4, np.array([9, 1]), "out of range"),
    (ml_dtypes.int4, [9, 1], "out of range"),
    ("f4", np.array([1j, 1]), "imaginary"),
    ("f4", [1j, 1], "complex"),
    ("bool", np.array(["False", ""]), "text"),
    ("bool", ["False", ""], "text"),
    ("bool", [None, True], "missing"),
    ("<U4", "abcde", "5 characters"),
    ("<U4", ["abcde", "a"], "5 characters"),
    ("<U4", np.array(["abcde", "a"], TEXT()), "5 characters"),
    ("<U4", np.array([12345, 1]), "5 characters"),
    ("S4", [b"abcde", b"a"], "5 characters"),
    ("V4", [b"abcde", b"a"], "5 characters"),
    ("V4", np.zeros(2, "V5"), "5 characters"),
    ("M8[ns]", np.array(["3000-01-01", "2000-01-01"], "M8[s]"), "times are out of range"),
    ("M8[ns]", ["3000-01-01", "2000-01-01"], "times are out of range"),
    ("m8[s]", np.zeros(2, "M8[s]"), "spans"),
    ("string", ["a", None], "missing"),
    ("string", ["a", np.nan], "missing"),
    ("string", ["a", pd.NA], "missing"),
    ("string", pd.Series(["a", None]), "missing"),
    ("string", np.array(["a", None], TEXT(na_object=None)), "missing"),
    ("<U4", np.array(["a", np.nan], TEXT(na_object=np.nan)), "missing"),
    ("<U4", ["a", None], "missing"),
    ("i4", pd.Series([1, None], dtype="Int64"), "NaN"),
    ("i4", np.ma.array([1, 2], mask=[0, 1]), "masked"),  # type: ignore[no-untyped-call]
    ("i4", np.ma.masked, "masked"),
    ("i4", Arrow(np.array([1, np.nan])), "NaN"),
    (MASKED_FIELDS.dtype, MASKED_FIELDS, "masked"),
    ([("a", "u1"), ("b", "<U2")], np.array([(300, "a")] * 2, [("a", "i4"), ("b", "<U5")]), "out of range"),
    ([("a", "u1"), ("b", "<U2")], [(1, "abc"), (1, "a")], "3 characters"),
    ([("a", [("b", "S1")])], [((b"ab",),)] * 2, "2 characters"),
    ("string", [["a"], ["a", "b"]], "differ in length|inhomogeneous"),
]


@pytest.mark.parametrize(("dtype", "value", "why"), REFUSED)
def test_what_would_become_something_else(dtype: Any, value: Any, why: str) -> None:
    """It is an error that says why, for assignments and for new arrays, and nothing is changed."""
    array = zarrv3.zeros(2, dtype=dtype)
    before = dict(array.store)
    with pytest.raises(AssignmentError, match=why):
        array[:] = value
    with pytest.raises(AssignmentError, match=why):
        array.append(value)
    assert dict(array.store) == before
    store = zarrv3.MemoryStore()
    with pytest.raises(AssignmentError, match=why):
        zarrv3.create_array(store, shape=2, dtype=dtype, data=value)
    assert not dict(store)


ACCEPTED: list[tuple[Any, Any, list[Any]]] = [
    ("i4", np.array([1.5, -1.5]), [1, -1]),
    ("u1", np.array([255.0, -0.5]), [255, 0]),
    ("u1", np.array([255, 0]), [255, 0]),
    ("u8", [2**64 - 1, 1], [2**64 - 1, 1]),
    ("u1", True, [1, 1]),
    ("f4", [1, None], [1, np.nan]),
    ("f4", [1, pd.NA], [1, np.nan]),
    ("f8", pd.Series([1, None], dtype="Int64"), [1, np.nan]),
    ("bool", np.array([2, 0]), [True, False]),
    (ml_dtypes.int4, np.array([7, -8]), [7, -8]),
    ("<U4", np.array(["abcd", "e"], "<U9"), ["abcd", "e"]),
    ("<U4", [1, "ab"], ["1", "ab"]),
    ("<U2", np.array(["ab", "c"], TEXT(na_object=np.nan)), ["ab", "c"]),
    ("S4", ["abcd", "e"], [b"abcd", b"e"]),
    ("string", ["a\0", "b"], ["a\0", "b"]),
    ("string", pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
    ("string", np.array(["a", "b"], TEXT(na_object=None)), ["a", "b"]),
    ("bytes", [b"a\0", bytearray(b"b")], [b"a\0", b"b"]),
    ("i4", np.ma.array([1, 2], mask=[0, 0]), [1, 2]),  # type: ignore[no-untyped-call]
    ("f4", Tensor(np.array([1.5, 2.5], "f4")), [1.5, 2.5]),
    ("i4", Arrow(np.array([1, 2])), [1, 2]),
]


@pytest.mark.parametrize(("dtype", "value", "elements"), ACCEPTED)
def test_what_numpy_converts_too(dtype: Any, value: Any, elements: list[Any]) -> None:
    """Fractions are cut off, what is missing is NaN where there is one, and array-likes of every kind are taken."""
    array = zarrv3.zeros(2, dtype=dtype)
    array[:] = value
    np.testing.assert_array_equal(array[:], np.array(elements, array.dtype))


def test_times_of_every_unit() -> None:
    """What is missing is NaT; times that a finer unit can express are exact, of those in a coarser one the rest is cut off."""
    array = zarrv3.zeros(2, dtype="M8[ns]")
    for value in (["2000-01-01", None], [pd.Timestamp("2000"), pd.NaT], np.array(["2000", "NaT"], "M8[Y]")):
        array[:] = value
        assert array[0] == np.datetime64("2000-01-01")
        assert np.isnat(array[1])
    array = zarrv3.zeros(2, dtype="m8[s]")
    array[:] = np.array([1999, 1000], "m8[ms]")
    assert array[:].tolist() == np.array([1, 1], "m8[s]").tolist()


def test_overflow_of_floats_warns() -> None:
    """A number that a float cannot express becomes infinite, of which numpy warns."""
    array = zarrv3.zeros(2, dtype="f4")
    with pytest.warns(RuntimeWarning, match="overflow"):
        array[:] = np.array([1e300, 1])
    assert array[0] == np.inf


NEW: list[tuple[Any, str, list[Any]]] = [
    (FRAME, "int64", FRAME.to_numpy().tolist()),
    (pd.Series(["a", "b"]), "string", ["a", "b"]),
    (pd.Index(["a", "b"]), "string", ["a", "b"]),
    (pd.Series(["a", "b"], dtype="category"), "string", ["a", "b"]),
    (pd.Series([1, 2], dtype="Int32"), "int32", [1, 2]),
    (pd.Series([True, False], dtype="boolean"), "bool", [True, False]),
    (np.array(["a", "b"], object), "string", ["a", "b"]),
    (np.array(["a", "b"], TEXT(na_object=None)), "string", ["a", "b"]),
    (Tensor(np.array([1, 2], "f2")), "float16", [1, 2]),
    (Arrow(np.array(["a", "b"], object)), "string", ["a", "b"]),
    (Arrow(np.array([1, 2]), null_count=0), "int64", [1, 2]),
]


@pytest.mark.parametrize(("data", "dtype", "elements"), NEW)
def test_new_arrays_of_array_likes(data: Any, dtype: str, elements: list[Any]) -> None:
    """The data type is that of numpy's array, with texts of any length for texts; integers stay integers."""
    store = zarrv3.MemoryStore()
    group = zarrv3.create_group()
    group["x"] = data
    zarrv3.save(store, data)
    like = zarrv3.zeros_like(data)
    for array in (zarrv3.array(data), zarrv3.create_array(data=data), group["x"], zarrv3.open_array(store)):
        assert array.metadata.data_type.to_json() == dtype
        assert array[:].tolist() == elements
        assert (like.shape, like.dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (["a", None], "missing"),
        ([1, None], "missing"),
        (np.array(["a", None], object), "missing"),
        (pd.Series([1, None], dtype="Int64"), "missing"),
        (Arrow(np.array([1, np.nan]), null_count=1), "missing"),
        (np.ma.array([1, 2], mask=[0, 1]), "masked"),  # type: ignore[no-untyped-call]
        ([2**63, -1], "integers do not fit"),
        ([[1], [1, 2]], "inhomogeneous"),
    ],
)
def test_new_arrays_of_what_is_missing(data: Any, why: str) -> None:
    """Nothing is guessed, and nothing created."""
    group = zarrv3.create_group()
    with pytest.raises(AssignmentError, match=why), warnings.catch_warnings():
        group["x"] = data
    assert not list(group)
