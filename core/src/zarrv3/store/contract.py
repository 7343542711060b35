"""The store contract: what arrays ask of a store and what every backend, layer and transformer provides.

The contract is synchronous, batch-first and small. Nothing in it has a default implementation: a default inherited by a
wrapper would hide the fast path of the store it wraps. The conveniences that users want (`store["key"]`, `rename`, …)
are written once, over these methods, in `zarrv3.store.BaseStore`; fall-backs that a backend may call on purpose are
free functions in `zarrv3.store.helpers`.

Rules for every implementation:

* A *key* is text such as `"a/b/zarr.json"`: parts joined by `/`, no empty part, no `.` or `..`. A *folder* is `""` or
  a key followed by `/`. Listing takes any text as prefix; the guard asks its driver for folders only and filters. (The
  guard above every driver has checked all of them.)
* Values are bytes. What a store returns never changes afterwards: no views into memory that a database may reuse. What
  a caller passes in may change as soon as the call has returned.
* At any instant, to any reader, in any process, a key has its whole old or its whole new value.
* All methods may be called from many threads at once.
* Missing is `None`, a refused precondition is `False`, everything else that fails is an exception.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes-like: what a store accepts and returns. A memoryview is one-dimensional, contiguous, of format `B`."""

JSON: TypeAlias = Any
"""What `json.loads` can return."""


class ByteRange(NamedTuple):
    """Exactly the bytes `value[start:stop]`, with the clipping of a Python slice.

    `ByteRange(8)` is all from the eighth byte on, `ByteRange(-16)` the last sixteen bytes, `ByteRange(0, 4)` the first
    four. A range past the end of a value is empty, not an error.
    """

    start: int = 0
    stop: int | None = None


Request: TypeAlias = tuple[str, ByteRange | None]
"""A key and the range of its value that is wanted; `None` is the whole value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one call or one value may be at most; `None` is no limit.

    The guard splits batches by `batch_keys` and `batch_bytes` and refuses keys and values that are larger than
    `key_bytes` and `value_bytes` with a `LimitError`.
    """

    batch_keys: int | None = None
    batch_bytes: int | None = None
    key_bytes: int | None = None
    value_bytes: int | None = None

    def meet(self, other: "Limits") -> "Limits":
        """The stricter of two sets of limits, field by field."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Limits(
            **{name: min((v for v in pair if v is not None), default=None) for name, pair in pairs.items()}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What this instance of a store can do. A claim is tested; what is not claimed raises `UnsupportedError`."""

    write: bool = True
    """`set_many` works."""
    erase: bool = True
    """`erase_many` and `erase_prefix` work."""
    list: bool = True
    """`sizes`, `list_prefix` and `list_dir` work."""
    atomic_create: bool = True
    """`compare_and_set(key, None, new)` is atomic against every writer of the store."""
    atomic_swap: bool = True
    """`compare_and_set(key, old, new)` is atomic against every writer of the store."""
    transactions: bool = False
    """`transaction()` makes all writes of a block appear at once or not at all."""
    native_ranges: bool = False
    """A byte range costs what its bytes cost, not what the whole value costs."""
    shared: bool = True
    """Several processes may use the same data at once, each with an instance of its own."""
    persistent: bool = True
    """Values outlive the instance."""
    durable: bool = True
    """A write that has returned survives the death of its process; without it, only what was flushed does."""
    local: bool = False
    """A call costs nothing besides what it moves, no round trip: small batches are as good as large ones."""
    limits: Limits = Limits()
    """What a call or value may be at most."""

    def without(self, *names: str) -> "Capabilities":
        """The same with some capabilities taken away: what a layer uses, since a layer never adds one."""
        changes: dict[str, Any] = dict.fromkeys(names, False)
        return replace(self, **changes)

    @classmethod
    def read_only(cls, **changes: Any) -> Self:
        """What a store has that cannot be written."""
        refused = dict.fromkeys(("write", "erase", "atomic_create", "atomic_swap", "transactions"), False)
        return cls(**{**refused, **changes})


@runtime_checkable
class Store(Protocol):
    """Eleven methods over keys and bytes; see the rules at the top of this module."""

    @property
    def capabilities(self) -> Capabilities:
        """What this instance can do."""
        ...

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """The requested bytes, in the order of the requests; `None` where a key is missing.

        A key may occur several times. N requests cost the backend's natural bulk operation, not N round trips.
        """
        ...

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Store every value, replacing what was there.

        Each key has its old or its new value, never a mixture, whatever happens; after an error some keys may have
        their new value. When the call returns, every later read anywhere sees the new values.
        """
        ...

    def erase_many(self, keys: Collection[str], /) -> None:
        """Remove the keys; missing ones are fine."""
        ...

    def erase_prefix(self, folder: str, /) -> None:
        """Remove every key below the folder (`""` = all)."""
        ...

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Move every key below the folder `source` to the same place below the folder `target`, which is empty.

        Backends that can do it in one step do; the others use `helpers.rename_by_copy`, which never loses a value but
        may, when it is interrupted, leave keys in both places.
        """
        ...

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """Replace `old` by `new` if the key still has that value; `None` stands for absence on either side.

        Returns whether it was done. Of several concurrent callers with the same `old`, one wins.
        """
        ...

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """Keys with the bytes they occupy, without reading values; in any order.

        Where `where` is a folder: every key below it. Where it is a key: that key, or nothing when it is missing; this
        works without the capability `list`.
        """
        ...

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """Every key that starts with `prefix`, once, in any order."""
        ...

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """The keys and the sub-folders directly below the folder: whole names, sorted, sub-folders end in `/`."""
        ...

    def flush(self) -> None:
        """Return when everything written so far would survive a crash of this process (see each backend's README)."""
        ...

    def close(self) -> None:
        """Flush and release files and connections; closing twice is fine."""
        ...


@runtime_checkable
class TransactionalStore(Store, Protocol):
    """What a store that claims the capability `transactions` has besides."""

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """Set the keys that have a value and erase those that have `None`: all at once or, whatever happens, none.

        At any instant, to any reader, in any process, either all changes are seen or none is, also when this process is
        killed in between.
        """
        ...
