"""The store contract: what arrays ask of a store, and what a driver, layer or transformer provides.

The contract is synchronous, batch-first and small: one Protocol per capability. A *driver* has `capabilities`, the methods of
what it claims there, and no others; it claims nothing by default, so that a naive driver is safe. Three methods make a
store: `get_many`, `write_many` and `list_prefix`. What a driver lacks besides, the guard above it does by the free functions
of `zarrv3.store.helpers`; nothing is inherited, since a default inherited by a wrapper would hide the fast path of what it
wraps. What users hold (`zarrv3.BaseStore`) has all of the methods.

Rules for every implementation:

* A *key* is text such as `"a/b/zarr.json"`: parts joined by `/`, none of them empty, `.` or `..`. A *folder* is `""` or a key
  followed by `/`. The guard has checked every key and folder that a driver sees, answers empty batches itself, and asks its
  driver to list folders only.
* Values are bytes, whole in memory. What a store returns never changes afterwards: no views into memory that a database
  may reuse. What a caller passes in may change as soon as the call has returned.
* At any instant, to any reader, in any process, a key has its whole old or its whole new value.
* All methods may be called from many threads at once.
* Missing is `None`, a refused change is named in what is returned, everything else that fails is an exception.
"""

from abc import abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes-like: what a store accepts and returns. A memoryview is one-dimensional, contiguous, of format `B`."""

JSON: TypeAlias = Any
"""What `json.loads` can return."""

Version: TypeAlias = Hashable
"""An opaque token that identifies the value a key had: an etag, a generation, a digest, … Only the store that made it can tell
what it means; equal tokens mean equal values. `None` is the version of a missing key, and of no other."""

Versioned: TypeAlias = tuple[Buffer | None, Version | None]
"""A value and its version; both `None` for a missing key."""

Changes: TypeAlias = Mapping[str, Buffer | None]
"""Keys with their new values; `None` erases the key."""

Swaps: TypeAlias = Mapping[str, tuple[Version | None, Buffer | None]]
"""Keys with the version that they must still have, and their new values; `None` erases the key."""


class ByteRange(NamedTuple):
    """Exactly the bytes `value[start:stop]`, clipped as Python clips a slice.

    `ByteRange(8)` is everything from the ninth byte on, `ByteRange(-16)` the last sixteen bytes, `ByteRange(0, 4)` the first
    four. A range past the end of a value is empty, not an error.
    """

    start: int = 0
    stop: int | None = None


class Request(NamedTuple):
    """A key, and the range of its value that is wanted; without one, the whole value.

    More members may follow in later versions, each with a default: read them by name.
    """

    key: str
    range: ByteRange | None = None


def whole(keys: Iterable[str]) -> list[Request]:
    """Requests for the whole values of some keys."""
    return [_new(Request, (key, None)) for key in keys]


def as_requests(requests: Sequence[Any]) -> Sequence[Request]:
    """Requests from requests, or from plain tuples of a key and a range, which may be one too."""
    if {*map(type, requests)} <= {Request}:
        return requests
    made = [Request(*request) for request in requests]
    return [one if one.range is None else one._replace(range=ByteRange(*one.range)) for one in made]


_new = tuple.__new__  # no Python call per key


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one call or one value may be at most; `None` means no limit.

    The guard splits batches of `get_many`, `write_many`, `stat_many`, `get_versioned` and `swap_many` by `batch_keys` and
    `batch_bytes`. It refuses larger keys and values, and transactions of more keys or bytes, with a `LimitError` before
    anything is written.
    """

    batch_keys: int | None = None
    batch_bytes: int | None = None
    key_bytes: int | None = None
    value_bytes: int | None = None
    transaction_keys: int | None = None
    transaction_bytes: int | None = None

    def meet(self, other: "Limits") -> "Limits":
        """The stricter of two sets of limits, field by field."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Limits(
            **{name: min((v for v in pair if v is not None), default=None) for name, pair in pairs.items()}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What this instance of a store can do. A claim is tested; what is not claimed raises `UnsupportedError`."""

    write: bool = False
    """`write_many` stores values."""
    erase: bool = False
    """`write_many` erases keys."""
    list: bool = False
    """`list_prefix` works, and so all that lists."""
    swap: bool = False
    """`get_versioned` and `swap_many` work, atomically against every writer of the store, in any process."""
    swap_erases: bool = False
    """`swap_many` erases keys too: some object stores write on a condition, and erase without one."""
    transactions: bool = False
    """`apply_many` makes all changes at once or none."""
    replace: bool = False
    """`rename_prefix` also moves a folder over the one that it lies in, and what else is there goes, in one step."""
    native_ranges: bool = False
    """A byte range costs what its bytes cost, not what the whole value costs."""
    shared: bool = False
    """Several processes may use the same data at once, each with an instance of its own."""
    persistent: bool = False
    """Values outlive the instance."""
    durable: bool = False
    """A write that has returned survives the death of its process; without it, only what was flushed does."""
    local: bool = False
    """A call costs nothing besides what it moves, no round trip: small batches are as good as large ones."""
    limits: Limits = Limits()
    """What a call or value may be at most."""

    def without(self, *names: str) -> "Capabilities":
        """These capabilities less some of them: what a layer uses, since a layer never adds one."""
        return _without(self, names)

    def read_only(self) -> "Capabilities":
        """These capabilities less all that change anything."""
        return self.without("write", "erase", "swap", "swap_erases", "transactions", "replace")


@lru_cache(100)
def _without(can: Capabilities, names: tuple[str, ...]) -> Capabilities:
    """Kept, since layers ask with every call."""
    changes: dict[str, Any] = dict.fromkeys(names, False)
    return replace(can, **changes)


# ---------------------------------------------------------------- what a driver has


@runtime_checkable
class Driver(Protocol):
    """What every driver has."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this instance can do."""

    @abstractmethod
    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """The requested bytes, in the order of the requests; `None` where a key is missing.

        A key may occur several times; all that one call returns of it is of one version of its value. N requests cost the backend's natural bulk operation, not N round trips.
        """


class Writes(Protocol):
    """With the capabilities `write` and `erase`."""

    @abstractmethod
    def write_many(self, changes: Changes, /) -> None:
        """Store the keys that have a value, replacing what was there, and erase those that have `None`; missing ones are fine.

        Each key has its old or its new value, never a mixture, whatever happens; after an error some keys may have
        their new value. When the call returns, every later read anywhere sees the new values.
        """


class Lists(Protocol):
    """With the capability `list`."""

    @abstractmethod
    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """Every key below the folder (`""` = all), once, in any order."""


class ListsFolders(Protocol):
    """With the capability `list`, where a folder can be listed without everything below it."""

    @abstractmethod
    def list_dir(self, folder: str, /) -> Iterator[str]:
        """What lies directly below the folder, each once, in any order: keys, and folders, whose names end in `/`.

        Names are whole: those of `"a/"` are `"a/zarr.json"`, `"a/c/"`, …
        """


class ListsSizes(Protocol):
    """With the capability `list`, where a listing tells sizes."""

    @abstractmethod
    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """Every key below the folder (`""` = all) with the bytes of its value, in any order; values are not read."""


class Stats(Protocol):
    """Where the size of a value can be told without reading it."""

    @abstractmethod
    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """The bytes of each key's value, in order, in one bulk operation; `None` where a key is missing."""


class SwapsValues(Protocol):
    """With the capability `swap`."""

    @abstractmethod
    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """The value of each key with its version, in order; `(None, None)` where a key is missing."""

    @abstractmethod
    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Write the keys that still have the version they are given with; returns the others, which are left alone.

        Comparing and writing are one step for each key: of several concurrent callers with the same version, one wins.
        `None` as version: the key must be missing; `None` as value: it is erased, with the capability `swap_erases`.
        N keys cost the backend's natural bulk operation. The old value is not sent.
        """


class Transacts(Protocol):
    """With the capability `transactions`."""

    @abstractmethod
    def apply_many(self, changes: Changes, /) -> None:
        """Make all changes at once or, whatever happens, none.

        At any instant, to any reader, in any process, either all changes are seen or none is, also when this process is
        killed in between.
        """


class ErasesFolders(Protocol):
    """With the capability `erase`, where erasing a folder need not list it."""

    @abstractmethod
    def erase_prefix(self, folder: str, /) -> None:
        """Erase every key below the folder (`""` = all)."""


class RenamesFolders(Protocol):
    """With the capabilities `write` and `erase`, where a folder can be moved without copying it."""

    @abstractmethod
    def rename_prefix(self, source: str, target: str, /) -> None:
        """Move every key below the folder `source` to the same place below the folder `target`, which is empty.

        With the capability `replace` the target may also be a folder that the source lies in: what else is there is erased. At any
        instant, to any reader, what is there is the old or the new, also when this process is killed in between. Where nothing
        is below the source, nothing happens.
        """


class Pings(Protocol):
    """Where reading a key need not ask the server, since the driver knows beforehand what is there."""

    @abstractmethod
    def ping(self) -> None:
        """Return when the server has answered to these credentials; raise where it does not. Nothing is written."""


class Holds(Protocol):
    """Where writes are held back, or files and connections are open."""

    @abstractmethod
    def flush(self) -> None:
        """Return when everything written so far would survive a crash of this process (see each backend's README)."""

    @abstractmethod
    def close(self) -> None:
        """Flush and release files and connections; closing twice is fine."""


@runtime_checkable
class Store(
    Driver,
    Writes,
    Lists,
    ListsFolders,
    ListsSizes,
    Stats,
    SwapsValues,
    Transacts,
    ErasesFolders,
    RenamesFolders,
    Holds,
    Protocol,
):
    """All of it: what stores and layers have, and arrays ask for. `list_prefix` takes any text, not only folders."""


METHODS = {
    "write": ("write_many",),
    "erase": ("write_many",),
    "list": ("list_prefix",),
    "swap": ("get_versioned", "swap_many"),
    "transactions": ("apply_many",),
    "replace": ("rename_prefix",),
}
"""The methods that go with each capability; a driver that claims one has to have them."""
