"""Everything that writing a dataset to a group will do, worked out and checked before anything is changed."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from itertools import repeat
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from xarray import Variable, conventions
from xarray.backends.common import AbstractWritableDataStore
from xarray.coding.times import infer_calendar_name
from xarray.core.common import contains_cftime_datetimes

from zarrv3 import Array
from zarrv3.errors import AssignmentError, ConfigurationError, MetadataError
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy.creation import metadata_for
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON
from zarrv3_bridge_xarray import chunking
from zarrv3_bridge_xarray.encoding import MEANING, PACKING, cast, encoded, is_time
from zarrv3_bridge_xarray.variables import DIMENSIONS, array_dtype, as_variable, encoded_attributes

Mode: TypeAlias = Literal["w", "w-", "a", "a-", "r+"]

OPTIONS = frozenset(
    {"chunks", "shards", "compressors", "filters", "serializer", "fill_value", "chunk_key_encoding",
     "storage_transformers", "write_empty_chunks"}
)  # fmt: skip
"""What a variable's encoding may say about its array, besides what xarray's conventions take from it."""

IGNORED = frozenset({"preferred_chunks", "source", "original_shape", "dtype"})
"""What xarray's backends leave in encodings about where values came from, and what has been carried out by then."""


class Target(NamedTuple):
    """Values of a variable and where they go."""

    values: Any
    """An encoded variable in memory, or a dask array."""
    path: str
    """The array's path in the store."""
    region: tuple[slice, ...]
    grows: tuple[int, int, int] | None
    """The axis along which the array has to grow first, its length now and then."""
    write_empty: bool | None


class Plan(NamedTuple):
    """What will be done to one group."""

    path: str
    attributes: dict[str, JSON] | None
    """Those of the group; `None` leaves them."""
    arrays: dict[str, ArrayMetadata]
    """The arrays to create, by path in the store."""
    changed: dict[str, dict[str, JSON]]
    """The attributes that arrays get which are there, by path."""
    targets: list[Target]


class PlanStore(AbstractWritableDataStore):
    """Where `Dataset.dump_to_store` puts a dataset: it becomes a plan, nothing is written.

    Args:
        store: the store.
        path: the path of the group.
        mode: as in `to_zarrv3`.
        arrays: the arrays that are in the group and stay.
        append_dim: the dimension that grows.
        region: the part that is written.
        there: the attributes that the group has.
        align: change blocks of dask arrays that share chunks, instead of refusing.
        is_safe: refuse such blocks where the store cannot swap values.
        write_empty: whether to store chunks of the fill value.
    """

    def __init__(
        self,
        store: BaseStore,
        path: str,
        mode: Mode,
        *,
        arrays: Mapping[str, Array],
        there: Mapping[str, JSON],
        append_dim: Hashable | None = None,
        region: Mapping[Hashable, slice] | None = None,
        align: bool = False,
        is_safe: bool = True,
        write_empty: bool | None = None,
    ) -> None:
        self._there = there
        self._is_safe = is_safe
        self._store, self._path, self._mode = store, path, mode
        self._arrays = arrays
        self._append_dim = append_dim
        self._region = dict(region or {})
        self._align = align
        self._write_empty = write_empty
        self.plan = Plan(path, None, {}, {}, [])

    def store(
        self,
        variables: Mapping[Hashable, Variable],
        attributes: Mapping[str, Any],
        check_encoding_set: Collection[Hashable] = frozenset(),
        writer: Any = None,  # noqa: ARG002 - values go where the plan says
        unlimited_dims: Any = None,  # noqa: ARG002 - every dimension can grow
    ) -> None:
        """Make the plan; called by `Dataset.dump_to_store`."""
        changes = self._mode != "r+"
        self.plan = self.plan._replace(attributes=self._group_attributes(attributes) if changes else None)
        for name, variable in variables.items():
            if not isinstance(name, str) or not name or "/" in name:
                raise MetadataError(f"a variable needs a name that is a text without '/', not {name!r}")
            there = self._arrays.get(name)
            try:
                if there is None:
                    self._plan_new(name, variable, is_strict=name in check_encoding_set)
                else:
                    self._plan_existing(there, variable, has_encoding=name in check_encoding_set)
            except Exception as error:
                error.add_note(f"while writing the variable {name!r}")
                raise

    # ------------------------------------------------------------ arrays that are not there

    def _plan_new(self, name: str, variable: Variable, *, is_strict: bool) -> None:
        if self._mode == "r+":
            raise ConfigurationError(
                f"there is no array {name!r} in the store, and mode='r+' creates none; use mode='a'"
            )
        if self._region and set(self._region) & set(variable.dims):
            raise ConfigurationError(
                f"there is no array {name!r} in the store of which a region could be written; "
                "write the whole first, with compute=False if its values are to come later"
            )
        if not is_strict:
            variable = _without_length(variable)
        stored = encoded(variable, name)
        options = self._options(stored, is_strict=is_strict)
        write_empty = options.pop("write_empty_chunks", self._write_empty)
        metadata = metadata_for(
            self._store,
            shape=stored.shape,
            dtype=array_dtype(stored.dtype),
            attributes=encoded_attributes(stored.attrs, stored.dtype),
            dimension_names=[str(dim) for dim in stored.dims],
            **options,
        )
        array = Array(self._store, folder_of(self._path) + name, metadata=metadata)
        region = tuple(slice(0, n) for n in stored.shape)
        values = self._aligned(stored, array, region)
        self.plan.arrays[array.path] = metadata
        self.plan.targets.append(Target(values, array.path, region, None, write_empty))

    def _options(self, stored: Variable, *, is_strict: bool) -> dict[str, Any]:
        """What a variable's encoding says about its array, and chunks that fit the blocks of a dask array."""
        given = {str(key): value for key, value in stored.encoding.items() if value is not None}
        if is_strict and (unknown := sorted(set(given) - OPTIONS - IGNORED)):
            raise ConfigurationError(
                f"unknown encoding {unknown[0]!r}; known are {', '.join(sorted(OPTIONS))} and those of CF conventions"
            )
        options = {key: value for key, value in given.items() if key in OPTIONS}
        if not is_strict and not _holds(stored.dtype, options.get("fill_value")):
            options.pop("fill_value", None)  # of another dtype
        for key in ("chunks", "shards"):  # of another array, whose number of dimensions was another
            lengths = options.get(key)
            if not isinstance(lengths, list | tuple) or is_strict:
                continue
            if len(lengths) != stored.ndim:
                del options[key]
            else:
                options[key] = tuple(map(_reaching, lengths, stored.shape))
        if stored.dtype.kind == "f":
            options.setdefault("fill_value", np.nan)  # as xarray's own engine
        if stored.chunks is not None and "chunks" not in options:
            options.update(chunking.fitting(stored.data, options.get("shards"), align=self._align))
        return options

    # ------------------------------------------------------------ arrays that are there

    def _plan_existing(self, array: Array, variable: Variable, *, has_encoding: bool) -> None:
        if has_encoding:
            raise ConfigurationError(
                f"{array!r} exists; its encoding cannot be changed by mode={self._mode!r}"
            )
        grows = self._append_dim is not None and self._append_dim in variable.dims
        if self._mode == "a-" and self._append_dim is not None and not grows:
            return
        stored = _like_stored(array, variable)
        region, growth = self._place(array, stored, grows=grows)
        strict = self._mode == "r+" and bool(self._region)
        values = self._aligned(stored, array, region, partial=not strict)
        if self._mode != "r+":
            is_whole = growth is None and not set(self._region) & set(variable.dims)
            attributes = self._attributes(array, stored, is_whole=is_whole)
            if attributes != array.attrs.asdict():
                self.plan.changed[array.path] = attributes
        self.plan.targets.append(Target(values, array.path, region, growth, self._write_empty))

    def _attributes(self, array: Array, stored: Variable, *, is_whole: bool) -> dict[str, JSON]:
        """What an array says about its values afterwards: as the new variable does, if that replaces all of them.

        What stored numbers mean stays, as they are encoded like those before.
        """
        there = array.attrs.asdict()
        new = encoded_attributes(stored.attrs, stored.dtype)
        coordinates = self._coordinates(there, new)
        if is_whole:
            own = {*MEANING, DIMENSIONS, *(("units", "calendar") if is_time(as_variable(array)) else ())}
            kept = {name: value for name, value in there.items() if name in own}
            there = {**{name: value for name, value in new.items() if name not in own}, **kept}
        return there | coordinates

    def _group_attributes(self, attributes: Mapping[str, Any]) -> dict[str, JSON]:
        new = encoded_attributes(attributes)
        return new | self._coordinates(self._there, new)

    def _coordinates(self, there: Mapping[str, JSON], new: Mapping[str, JSON]) -> dict[str, JSON]:
        """The attribute `coordinates` with those that it names already, if their arrays stay."""
        before, after = (str(found.get("coordinates") or "").split() for found in (there, new))
        names = [name for name in before if name in self._arrays or name in after]
        both = [*names, *(name for name in after if name not in names)]
        return {"coordinates": " ".join(both)} if both else {}

    def _aligned(
        self, stored: Variable, array: Array, region: tuple[slice, ...], *, partial: bool = True
    ) -> Any:
        return chunking.aligned(
            stored, array, region, align=self._align, is_safe=self._is_safe, partial=partial
        )

    def _place(
        self, array: Array, stored: Variable, *, grows: bool
    ) -> tuple[tuple[slice, ...], tuple[int, int, int] | None]:
        """The part of the array that is written, and how it has to grow for that."""
        parts: list[slice] = []
        growth = None
        for axis, (dim, length, there) in enumerate(zip(stored.dims, stored.shape, array.shape, strict=True)):
            if grows and dim == self._append_dim:
                growth = (axis, there, there + length)
                parts.append(slice(there, there + length))
                continue
            part = self._region.get(dim, slice(0, there))
            if part.stop - part.start != length:
                raise AssignmentError(
                    f"{array!r} has {part.stop - part.start} places along {dim!r}, the variable {length}; "
                    "append_dim adds to the end of a dimension, region writes to a part"
                )
            parts.append(part)
        return tuple(parts), growth


# ---------------------------------------------------------------- values


def _without_length(variable: Variable) -> Variable:
    """A variable without the length of texts in its encoding, where it was read from somewhere with shorter ones."""
    dtype = variable.encoding.get("dtype")
    if not isinstance(dtype, np.dtype) or dtype.kind not in "US" or dtype in {"S1", variable.dtype}:
        return variable
    found = variable.copy(deep=False)
    found.encoding = {key: value for key, value in variable.encoding.items() if key != "dtype"}
    return found


def _holds(dtype: np.dtype[Any], fill: Any) -> bool:
    """Whether a fill value is one of a dtype, as far as numbers and times go."""
    kinds = np.asarray(fill).dtype.kind, dtype.kind
    if {*kinds} & {"M", "m"} or not {*kinds} <= {*"iufcb"}:
        return not {*kinds} & {"M", "m"} or kinds[0] == kinds[1]
    with np.errstate(all="ignore"):
        return bool(np.array_equal(np.asarray(fill).astype(dtype), fill, equal_nan=True))


def _like_stored(array: Array, variable: Variable) -> Variable:
    """A variable encoded as the array in the store is; raises `AssignmentError` where that cannot be done exactly."""
    raw = as_variable(array)
    decoded = conventions.decode_cf_variable(array.basename, raw)
    if set(decoded.dims) != set(variable.dims):
        raise AssignmentError(f"{array!r} has the dimensions {decoded.dims}, the variable {variable.dims}")
    new = variable.copy(deep=False).transpose(*decoded.dims)
    if {*MEANING} & {*new.attrs} or (is_time(new) and new.dtype.kind in "iuf"):
        new = conventions.decode_cf_variable(array.basename, new)  # it was opened as stored
    if array.dtype.kind in "mM" and new.dtype.kind == array.dtype.kind:
        stored = Variable(new.dims, new.data, {k: v for k, v in new.attrs.items() if k != "units"})
    else:
        kinds = new.dtype.kind, decoded.dtype.kind
        if kinds == ("m", "m") or (kinds[0] in "iub" and kinds[1] in "fc"):
            new = new.copy(deep=False, data=cast(new, decoded.dtype, array.basename, rounds=False))
        new.encoding = _like(raw, decoded)
        _check_calendar(array, raw, new)
        stored = encoded(new, array.basename)
        _check_meaning(array, raw, stored)
    _check_kind(array, stored)
    data = cast(stored, array.dtype, array.basename, rounds=bool({*PACKING} & {*raw.attrs}))
    return stored if data is stored.data else stored.copy(deep=False, data=data)


def _like(raw: Variable, decoded: Variable) -> dict[str, Any]:
    """The encoding for new values of an array that exists.

    The stored dtype is in it only where the conventions need it, as values are cast to it afterwards.
    """
    found = {k: v for k, v in decoded.encoding.items() if k not in OPTIONS | {"preferred_chunks", "dtype"}}
    found.setdefault("_FillValue", None)  # no default
    if "_Unsigned" in found or (is_time(decoded) and "dtype" not in raw.attrs):
        found["dtype"] = raw.dtype
    if is_time(raw):
        found["calendar"] = raw.attrs.get("calendar", "standard")
    return found


def _check_calendar(array: Array, raw: Variable, new: Variable) -> None:
    """Raise `AssignmentError` for dates of another calendar than the array's, which would be other days there."""
    if is_time(raw) and contains_cftime_datetimes(new):
        calendars = [raw.attrs.get("calendar", "standard").lower(), infer_calendar_name(new.data)]
        first, second = ("standard" if "gregorian" in calendar else calendar for calendar in calendars)
        if first != second:
            raise AssignmentError(
                f"{array!r} has the calendar {calendars[0]!r}, the variable {calendars[1]!r}"
            )


def _check_meaning(array: Array, raw: Variable, stored: Variable) -> None:
    """Raise `AssignmentError` where numbers would mean something else than those in the array."""
    times = is_time(raw) or is_time(stored)
    if times and {raw.dtype.kind, stored.dtype.kind} <= {*"iuf"} and _same_times(raw, stored):
        times = False
    for name in (*MEANING, *(("units", "calendar") if times else ())):
        new: Any = stored.attrs.get(name)
        there: Any = raw.attrs.get(name)
        if name == "dtype" and there == "bool" and stored.dtype == bool:
            continue
        if not (new is there or np.array_equal(new, there) or (_is_nan(new) and _is_nan(there))):
            raise AssignmentError(
                f"the values cannot be encoded as those of {array!r}: {name} would be {new!r} instead of {there!r}"
            )


def _same_times(*variables: Variable) -> bool:
    """Whether numbers are the same times by the units and calendars of some variables."""
    names = ("units", "calendar")
    found = [
        conventions.decode_cf_variable(
            "times", Variable("x", [0, 1], {name: v.attrs[name] for name in names if name in v.attrs})
        ).to_numpy()
        for v in variables
    ]
    return all(other.dtype.kind == found[0].dtype.kind and np.array_equal(other, found[0]) for other in found)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | complex | np.inexact) and bool(np.isnan(value))


def _reaching(lengths: Any, extent: int) -> Any:
    """Lengths of chunks that are listed, of a shorter array perhaps: the last one again as often as it takes."""
    if not isinstance(lengths, list | tuple) or not lengths:
        return lengths
    missing = max(0, extent - sum(lengths))
    return (*lengths, *repeat(lengths[-1], -(-missing // lengths[-1])))


KINDS = {
    "f": "fiub",
    "c": "cfiub",
    "i": "iufb",
    "u": "iufb",
    "b": "b",
    "U": "UTO",
    "S": "SO",
    "T": "TUO",
    "O": "OTUS",
}
"""From which kinds of dtypes values are cast to each."""


def _check_kind(array: Array, stored: Variable) -> None:
    """Raise `AssignmentError` for values that are of another nature than those of the array."""
    if stored.dtype.kind not in KINDS.get(array.dtype.kind, array.dtype.kind):
        raise AssignmentError(
            f"values of {stored.dtype} cannot be stored in {array!r} without loss; "
            f"convert them first: variable.astype({str(array.dtype)!r})"
        )
