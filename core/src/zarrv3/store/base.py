"""What a user holds: the conveniences of every store, written once over the contract.

`BaseStore` adds to the contract's methods the mapping protocol, the methods that zarr-python 2 gave its V3 stores, a
context manager, equality, pickling, and a description of itself (`spec`). No store overrides any of it: a backend, layer
or transformer provides the contract, and everything here follows.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, overload

from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    KeyMissingError,
    NodeNotFoundError,
    SwapUnknownError,
    UnsupportedError,
)
from zarrv3.options.declared import Option, Table, declared
from zarrv3.options.environment import escape, values_of
from zarrv3.options.redaction import redact, redact_options, redact_url, secrets_of
from zarrv3.options.urls import Url
from zarrv3.registry import load
from zarrv3.store import helpers
from zarrv3.store.contract import JSON, Buffer, ByteRange, Request, Store, whole
from zarrv3.store.keys import split_prefix
from zarrv3.store.views import Items, Values

Range: TypeAlias = tuple[int, int | None]
"""A range as zarr-python 2 spells it: start (negative = from the end) and length (`None` = to the end)."""

Separator: TypeAlias = Annotated[
    Literal[".", "/"] | None,
    Option("the separator that arrays created here use by default"),
]
"""The option `dimension_separator` of a store."""


class Address(NamedTuple):
    """Where data lies, so that two spellings of one place can be compared."""

    file: str | None
    """The file or folder of this machine; `None` where it is elsewhere."""
    key: str | None
    """The folder within that file, or within what the options name; `None` where each key is a file below `file`."""


class BaseStore(Store, MutableMapping[str, bytes]):
    """What every store object has: the conveniences over the contract.

    Thread-safe. A store is true even when it is empty, since its length takes a listing.
    """

    kind: ClassVar[str]
    """The name the class is registered under: its URL scheme or adapter name, and its name in a spec."""

    takes_store: ClassVar[bool] = False
    """Whether the constructor's first parameter is a store to wrap, which is not an option."""

    tested_against: ClassVar[Mapping[str, str]] = {}
    """The servers and libraries that the tests ran against, with their versions; shown in `docs/capabilities.md`."""

    given_options: Mapping[str, Any]
    """The options by name: checked and complete, with `${NAME}` not expanded, which `option` does.

    What pickles and specs are made of. Never changed in place; a subclass whose copies need other options assigns another mapping.
    """

    @property
    def dimension_separator(self) -> str | None:
        """The separator that arrays created in this store use unless they are told otherwise: `.`, `/` or `None`."""
        return None

    @property
    def remembers(self) -> bool:
        """Whether a layer may return one part of a value as it was earlier and another as it is now."""
        return False

    # ------------------------------------------------------------ the mapping protocol

    def __getitem__(self, key: str) -> bytes:
        """The value of a key; `KeyError` when it is missing."""
        value = self.get_many(whole([key]))[0]
        if value is None:
            raise KeyMissingError(f"key {key!r} is not in {self.describe()}")
        return bytes(value)

    def __setitem__(self, key: str, value: Buffer) -> None:
        """Store a bytes-like value, replacing what was there."""
        self.write_many({key: value})

    def __delitem__(self, key: str) -> None:
        """Remove a key; `KeyError` when it is missing."""
        if key not in self:
            raise KeyMissingError(f"key {key!r} is not in {self.describe()}; nothing was erased")
        self.write_many({key: None})

    def __contains__(self, key: object) -> bool:
        """Whether a key exists; its value is not read."""
        return isinstance(key, str) and bool(key) and self.stat_many([key])[0] is not None

    def __iter__(self) -> Iterator[str]:
        """All keys, in any order."""
        return self.list_prefix("")

    def __len__(self) -> int:
        """How many keys there are: lists the whole store."""
        return sum(1 for _ in self.list_prefix(""))

    def __bool__(self) -> bool:
        """True, also when empty."""
        return True

    @property
    def refuses_writes(self) -> bool:
        """Whether every write is refused, whatever lies below; known without asking the backend."""
        return False

    @property
    def live(self) -> BaseStore:
        """The store without layers on top that show documents as they were earlier."""
        return self

    def snapshot(self, key: str, /) -> Mapping[str, JSON] | None:  # noqa: ARG002 - asked of layers
        """The document that a layer on top shows as it was earlier, parsed; `None` where it is shown as it is now.

        It is not to be changed.
        """
        return None

    def items(self) -> Items:
        """All keys and values, read in batches."""
        return Items(self)

    def values(self) -> Values:
        """All values, read in batches."""
        return Values(self)

    @overload  # type: ignore[override]
    def update(self, other: Mapping[str, Buffer], /, **more: Buffer) -> None: ...
    @overload
    def update(self, other: Iterable[tuple[str, Buffer]] = (), /, **more: Buffer) -> None: ...
    def update(
        self, other: Mapping[str, Buffer] | Iterable[tuple[str, Buffer]] = (), /, **more: Buffer
    ) -> None:
        """Store many values in one batch."""
        self.write_many(dict(other, **more))

    setitems = update

    def clear(self) -> None:
        """Erase everything."""
        self.erase_prefix("")

    def getitems(
        self,
        keys: Sequence[str],
        *,
        contexts: Mapping[str, Mapping[str, Any]] | None = None,  # noqa: ARG002 - zarr-python 2's; there is one kind of memory
    ) -> dict[str, bytes]:
        """The values of those keys that exist, read in one batch."""
        values = self.get_many(whole(keys))
        return {key: bytes(value) for key, value in zip(keys, values, strict=True) if value is not None}

    def delitems(self, keys: Iterable[str]) -> None:
        """Remove those keys that exist."""
        self.write_many(dict.fromkeys(keys))

    # ------------------------------------------------------------ the methods of zarr-python 2

    def list(self) -> list[str]:
        """All keys."""
        return [*self.list_prefix("")]

    def listdir(self, path: str = "") -> builtins.list[str]:
        """The sorted names directly below a path; empty when there is nothing."""
        folder = _folder(path)
        return sorted({name[len(folder) :].rstrip("/") for name in self.list_dir(folder)})

    def erase(self, key: str) -> None:
        """Remove a key; `KeyError` when it is missing."""
        del self[key]

    def rmdir(self, path: str = "") -> None:
        """Remove a node with everything below it (`""`: the whole hierarchy); nothing there is not an error."""
        self.erase_prefix(_folder(path))

    def rename(self, src_path: str, dst_path: str) -> None:
        """Move a node with everything below it to a path where nothing is.

        Raises `NodeNotFoundError` (a `FileNotFoundError` and `KeyError`) when nothing is at `src_path`, and
        `InvalidKeyError` (a `ValueError`) when something is at `dst_path` or one path lies inside the other.
        """
        source, target = _folder(src_path), _folder(dst_path)
        helpers.check_rename(source, target)
        if next(self.list_prefix(source), None) is None:
            raise NodeNotFoundError(f"nothing to rename at {src_path!r} in {self.describe()}")
        if next(self.list_prefix(target), None) is not None:
            raise InvalidKeyError(
                f"{dst_path!r} in {self.describe()} is taken; erase it before renaming to it"
            )
        self.rename_prefix(source, target)

    def getsize(self, path: str = "") -> int:
        """The stored bytes below a path, or of one key; 0 when there is nothing."""
        below = sum(size for _, size in self.list_sizes(_folder(path)))
        key = path.strip("/")
        return below + ((self.stat_many([key])[0] or 0) if key else 0)

    def get_partial_values(
        self, key_ranges: Iterable[tuple[str, Range | None]]
    ) -> builtins.list[bytes | None]:
        """Pieces of values as `(key, (start, length))`, in order; `None` for a missing key.

        A negative start counts from the end; a length of `None` reaches to the end. Pieces are clipped to the value.
        """
        requests = [Request(key, _byte_range(wanted)) for key, wanted in key_ranges]
        return [None if value is None else bytes(value) for value in self.get_many(requests)]

    def set_partial_values(self, key_start_values: Iterable[tuple[str, int, Buffer]]) -> None:
        """Write pieces `(key, start, value)` into values, each key by one read and one write.

        A negative start replaces everything from there to the end. A piece may extend a value but not leave a gap
        (`ValueError`); of a missing key only a piece that starts at 0 can be the first. Concurrent calls on one key lose
        nothing where the store can swap atomically.
        """
        pieces: dict[str, list[tuple[int, Buffer]]] = {}
        for key, start, value in key_start_values:
            pieces.setdefault(key, []).append((start, value))
        if not self.capabilities.swap:
            olds = zip(pieces, self.get_many(whole(pieces)), strict=True)
            self.write_many({key: _patched(key, old, pieces[key]) for key, old in olds})
            return
        left: Collection[str] = [*pieces]
        while left:  # those that somebody else changed meanwhile: on top of theirs
            found = zip(left, self.get_versioned([*left]), strict=True)
            swaps = {key: (version, _patched(key, old, pieces[key])) for key, (old, version) in found}
            try:
                left = self.swap_many(swaps)
            except SwapUnknownError:
                left = [*swaps]

    @property
    def supports_efficient_get_partial_values(self) -> bool:
        """Whether a piece costs what the piece costs, not what the whole value costs."""
        return self.capabilities.native_ranges

    def supports_efficient_set_partial_values(self) -> bool:
        """Never: a piece is written by replacing the whole value, which keeps every write atomic."""
        return False

    def is_readable(self) -> bool:
        """Always."""
        return True

    def is_writeable(self) -> bool:
        """Whether values can be stored."""
        return self.capabilities.write

    def is_erasable(self) -> bool:
        """Whether keys can be removed."""
        return self.capabilities.erase

    def is_listable(self) -> bool:
        """Whether keys can be listed."""
        return self.capabilities.list

    @property
    def several_writers(self) -> str:
        """Whether writers in several processes lose nothing of each other's here: `yes, because …` or `no, because …`."""
        can = self.capabilities
        if can.swap and can.shared:
            return "yes, because it swaps: what others have written meanwhile is noticed and kept"
        if not can.write:
            return "yes, because nothing can be written"
        if can.swap:
            return "yes, because only one process at a time can write its data"
        return "no, because it cannot swap: if two change parts of one chunk or document, one change is lost"

    # ------------------------------------------------------------ transactions

    @contextmanager
    def transaction(self) -> Iterator[BaseStore]:
        """A block whose writes appear all at once when it ends, or not at all when it raises or the process dies.

        The block gets a store: what is written through that store, by arrays and groups opened in it too, belongs to the
        transaction and is seen through it alone until the end. Writes are kept in memory until then.

        Raises `UnsupportedError` where the store has no transactions.
        """
        if not self.capabilities.transactions:
            raise UnsupportedError(
                f"{self.describe()} has no transactions; each key is still replaced atomically"
            )
        pending = load("layers", "transaction")(self)
        try:
            yield pending
        except BaseException:
            pending.abandon()
            raise
        pending.commit()

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """The store that this one lies on and where a folder lies there; a store that holds data itself, as it is."""
        return self, folder

    def stack(self) -> Iterator[BaseStore]:
        """This store and those that it lies on, the outermost first."""
        return (store for store, _ in self.way_down(""))

    def way_down(self, folder: str) -> Iterator[tuple[BaseStore, str]]:
        """This store and those that it lies on, the outermost first, each with where a folder lies there."""
        store: BaseStore = self
        yield store, folder
        while (below := store.below(folder))[0] is not store:
            store, folder = below
            yield store, folder

    def beside(self, folder: str) -> Sequence[tuple[BaseStore, str]]:  # noqa: ARG002 - asked of layers
        """Other stores than that below from which what lies in a folder is read too, and where it lies there."""
        return ()

    def ground(self, folder: str = "") -> tuple[BaseStore, str]:
        """The store below all layers, which holds the data, and where a folder lies there."""
        *_, lowest = self.way_down(folder)
        return lowest

    def address(self, folder: str) -> Address:
        """Where what lies below a folder is kept, as far as the options tell; asked of stores that hold data themselves."""
        return Address(None, folder)

    # ------------------------------------------------------------ life

    def ping(self, within: float = 5.0) -> None:
        """Return when every server that is read from has answered and lets us in; raise what is wrong otherwise.

        Each is asked for a byte of the root's document, past all layers: none answers from a cache, or asks again. Nothing is written.

        Args:
            within: after how many seconds `StoreTimeoutError` is raised; the store's own time-outs may be longer.
        """
        latest = monotonic() + within
        for store, folder in self._grounds(""):
            store.reach(folder, max(0.0, latest - monotonic()))

    def reach(self, folder: str, within: float) -> None:
        """Have the server of a folder answer within some seconds; asked of stores that hold data themselves."""
        raise NotImplementedError

    def _grounds(self, folder: str) -> Iterator[tuple[BaseStore, str]]:
        """The stores below all layers from which what lies in a folder is read, and where it lies there."""
        yield self.ground(folder)
        for store, where in self.way_down(folder):
            for other, place in store.beside(where):
                yield from other._grounds(place)

    _entered = 0

    def __enter__(self) -> Self:
        """Enter a block at whose end the store is closed; blocks may be nested, the outermost one closes."""
        self._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Close at the end of the outermost block."""
        self._entered -= 1
        if self._entered == 0:
            self.close()

    # ------------------------------------------------------------ description

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The options that the path and host of a URL stand for; none unless a class says otherwise."""
        if url.authority or url.path.strip("/"):
            raise ConfigurationError(
                f"{redact_url(url.text)!r}: {cls.kind!r} takes no path or host, only options after '?'"
            )
        return {}

    @classmethod
    def from_url(cls, url: Url, **options: Any) -> Self:
        """Construct from a URL, and options that win over the URL's."""
        return cls.from_options({**cls.url_options(url), **options})

    @classmethod
    def url_options(cls, url: Url) -> dict[str, Any]:
        """The options that a URL stands for: its path and host (`location`), and its query as values."""
        return cls.declared().from_url(cls, url)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Construct from named options; an unknown one is an error that lists the known ones."""
        return cls(**cls.declared().taken(options))

    @classmethod
    def declared(cls) -> Table:
        """The options of the class: what its constructor's signature says."""
        return declared(cls)

    @classmethod
    def example_url(cls, folder: str) -> str | None:  # noqa: ARG003 - for subclasses
        """A URL for new data below a folder of this machine; `None` where there is none, or a server is needed.

        What gives one appears in the demo and in the conformance run of the installed packages.
        """
        return None

    @classmethod
    def example_server(cls) -> AbstractContextManager[str] | None:
        """A block that starts a server of its own, yields a URL for new data there, and stops it again; `None` if none.

        What gives one appears in `examples/demo.py --servers` and in the table of capabilities. Raises `ImportError` where
        the package that brings the server is missing.
        """
        return None

    def option(self, name: str) -> Any:
        """The value of an option with `${NAME}` expanded and converted; ask for it at the last moment and do not keep it."""
        return self.declared().use(name, self.given_options[name])

    def secrets(self) -> builtins.list[str]:
        """What no error may show: the texts of secret options, and what variables stand for."""
        return [*secrets_of(self.given_options, self.declared().secrets), *values_of(self.given_options)]

    def spec(self) -> dict[str, JSON]:
        """What `open_store` makes an equal store from: a dict that can be written as JSON or TOML.

        It holds the options that differ from their defaults, secrets included when they were given literally: write
        `${NAME}` to take them from the environment instead. Raises `ConfigurationError` for a store around a live object.
        """
        options, live = self.changed_options(), self.declared().live
        for name, value in options.items():
            if name in live or not _is_json(value):
                raise ConfigurationError(
                    f"{self.describe()} was made from a live object ({name}=…) and has no spec; "
                    "open it by URL or by plain options to get one"
                )
        return {"store": self.kind, **escape(options)}

    def describe(self) -> str:
        """The store in one line, without secrets: how errors name it."""
        options = self.changed_options().items()
        # a store would list itself
        plain = {n: v.describe() if isinstance(v, BaseStore) else v for n, v in options}
        arguments = ", ".join(f"{n}={v!r}" for n, v in redact_options(plain, self.declared().secrets).items())
        return redact(f"{type(self).__name__}({arguments})")

    def __repr__(self) -> str:
        """The store in one line, without secrets."""
        return f"<{self.describe()}>"

    def _repr_html_(self) -> str:
        """The store in a notebook."""
        from html import escape

        return f"<code>{escape(self.describe())}</code>"

    def __eq__(self, other: object) -> bool:
        """Whether both are of one class and were made for the same data."""
        return type(other) is type(self) and self.identity() == other.identity()

    __hash__ = None  # type: ignore[assignment]  # equal stores may hold different data a moment later

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration: the copy opens connections of its own."""
        return _rebuild, (type(self), dict(self.given_options))

    def changed_options(self) -> dict[str, Any]:
        """The options that differ from their defaults, as they were given: with their variables."""
        known = self.declared().options
        return {
            n: v for n, v in self.given_options.items() if n not in known or not _same(v, known[n].default)
        }

    def identity(self) -> Any:
        """What is equal in two stores of a class that were made for the same data: the options that differ from their defaults.

        A subclass leaves out what does not change which data it is, and puts in what the options do not say.
        """
        return self.changed_options()


def _rebuild(cls: type[BaseStore], options: dict[str, Any], *inner: BaseStore) -> BaseStore:
    return cls(*inner, **options)


def _folder(path: str) -> str:
    path = path.strip("/")
    return split_prefix(f"{path}/")[0] if path else ""


def _byte_range(wanted: Range | None) -> ByteRange | None:
    if wanted is None:
        return None
    start, length = wanted
    if length is None:
        return ByteRange(start)
    if length < 0:
        raise InvalidKeyError(f"the length of a range cannot be negative: {wanted!r}")
    stop = start + length
    return ByteRange(start, None if start < 0 <= stop else stop)


def _patched(key: str, old: Buffer | None, pieces: Sequence[tuple[int, Buffer]]) -> bytes:
    value = bytearray(old or b"")
    for start, piece in pieces:
        if start < 0:
            if -start > len(value):
                raise InvalidKeyError(
                    f"piece of {key!r} starts {-start} bytes from the end of {len(value)} bytes"
                )
            value[start:] = piece
        elif start > len(value):
            raise InvalidKeyError(
                f"piece of {key!r} starts at byte {start} but the value has {len(value)} bytes"
            )
        else:
            value[start : start + len(piece)] = piece
    return bytes(value)


def _same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and a == b)


def _is_json(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_json(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_json(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)
