"""The layer that changes nothing: the base class of all others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, Capabilities, Changes, Request, Swaps, Versioned, as_requests
from zarrv3.store.keys import check_folder, check_keys, split_prefix
from zarrv3.store.values import (
    check_changes,
    check_erasing,
    check_renaming,
    check_swaps,
    check_transaction,
    require,
)
from zarrv3.store.wrapping import wrap


class Layer(BaseStore):
    """A store around a store that passes every call on unchanged; subclasses override what they are about.

    Each of the contract's methods is forwarded by itself, so that the inner store's fast paths stay visible. A layer
    never claims a capability that its inner store lacks. What a subclass overrides is checked before it runs: keys, values,
    and that the layer's own `capabilities` allow it. Closing it closes the inner store.

    Args:
        store: what it wraps: a store, anything with the contract's methods, or a mutable mapping.
        options: the subclass's own options, by the names of its constructor's parameters.
    """

    kind = "layer"
    takes_store: ClassVar[bool] = True

    def __init__(self, store: object, **options: Any) -> None:
        self.inner: BaseStore = wrap(store)
        self.given_options = self.declared().check(options)

    @property
    def dimension_separator(self) -> str | None:
        """See `BaseStore`: the inner store's."""
        return self.inner.dimension_separator

    @property
    def remembers(self) -> bool:
        """See `BaseStore`: whether the inner store does."""
        return self.inner.remembers

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Have what a subclass overrides checked like the guard's methods: keys, values, and whether it may write at all.

        Where it has `capabilities` of its own, so is what it inherits and need not be able to do.
        """
        super().__init_subclass__(**arguments)
        passed: dict[str, str] = {}
        for names in _TOGETHER:
            own = [name for name in names if getattr(cls, name) is not getattr(Layer, name)]
            if own:
                passed |= {name: own[0] for name in names if name not in own}
        if passed and (cls.capabilities is Layer.capabilities or "get_many" in passed):
            raise TypeError(_past(cls, next(iter(passed.values())), " and ".join(passed)))
        for name, check in _CHECKS.items():
            method = vars(cls).get(name)
            if name in passed:
                method = _unsupported(name, passed[name])
            elif method is None and "capabilities" in vars(cls) and name not in _ALWAYS:
                inherited = getattr(cls, name)
                method = inherited if inherited is getattr(Layer, name) else None
            if method is not None and not isinstance(method, property):
                setattr(cls, name, _checking(method, check))

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        return self.inner.get_many(requests)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self.inner.stat_many(keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        return self.inner.get_versioned(keys)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        return self.inner.list_prefix(prefix)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        return self.inner.list_dir(folder)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        return self.inner.list_sizes(folder)

    def write_many(self, changes: Changes, /) -> None:
        self.inner.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        self.inner.apply_many(changes)

    def erase_prefix(self, folder: str, /) -> None:
        self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        self.inner.rename_prefix(source, target)

    def flush(self) -> None:
        self.inner.flush()

    def close(self) -> None:
        self.inner.close()

    # ------------------------------------------------------------ description

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """The inner store and where a folder of this layer lies there; as far as is known, in the same place."""
        return self.inner, folder

    @classmethod
    def around(cls, store: object, options: Mapping[str, Any]) -> BaseStore:
        """Construct around a store from named options; an unknown one is an error that lists the known ones."""
        return cls(store, **cls.declared().taken(options))

    def spec(self) -> dict[str, JSON]:
        """The inner store's spec with this layer's added."""
        inner = self.inner.spec()
        own = super().spec()
        layer = {"layer": own.pop("store"), **own}
        return {**inner, "layers": [*inner.get("layers", []), layer]}

    def describe(self) -> str:
        """The layer and what it lies on."""
        return f"{super().describe()} on {self.inner.describe()}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration of the whole stack."""
        rebuild, arguments = super().__reduce__()
        return rebuild, (*arguments, self.inner)

    def identity(self) -> Any:
        """See `BaseStore`; with the inner store."""
        return self.inner, self.changed_options()


# ---------------------------------------------------------------- checks


def _check_requests(_: Layer, requests: Sequence[Request]) -> tuple[Sequence[Request]]:
    check_keys([request[0] for request in requests])
    return (as_requests(requests),)


def _check_versions(layer: Layer, keys: Sequence[str]) -> None:
    check_keys(keys)
    require(layer, "swap")


_TOGETHER = (("get_many", "get_versioned"), ("write_many", "swap_many", "apply_many"))
"""Methods of which a layer overrides all or none: values are read, and written, by each of them.

One with `capabilities` of its own may be unable to do some, and then must not claim them.
"""

_CHECKS: Mapping[str, Callable[..., object]] = {
    "get_many": _check_requests,
    "stat_many": lambda _, keys: check_keys(keys),
    "get_versioned": _check_versions,
    "list_prefix": lambda _, prefix: split_prefix(prefix)[1:],
    "list_dir": lambda _, folder: (check_folder(folder),),
    "list_sizes": lambda _, folder: (check_folder(folder),),
    "write_many": check_changes,
    "swap_many": check_swaps,
    "apply_many": check_transaction,
    "erase_prefix": lambda layer, folder: (check_erasing(layer, folder),),
    "rename_prefix": check_renaming,
}
"""What is checked before each method of a layer runs.

A check that returns a tuple gives the arguments to run it with: requests by name, `""` for the folder `"/"`.
"""

_ALWAYS = {"get_many", "stat_many", "list_prefix", "list_dir", "list_sizes"}
"""What is passed on unchecked: reading needs no capability, and a store below may list more than it claims."""


def _checking(method: Callable[..., Any], check: Callable[..., object]) -> Callable[..., Any]:
    @wraps(method)
    def checked(self: Layer, *arguments: Any) -> Any:
        found = check(self, *arguments)
        return method(self, *(found if type(found) is tuple else arguments))

    return checked


def _past(cls: type[Layer], own: str, missing: str) -> str:
    return f"{cls.__name__} overrides {own} and not {missing}: the same values would pass it by"


def _unsupported(name: str, own: str) -> Callable[..., Any]:
    """A method that a layer cannot leave to its inner store, since it overrides another one; where it is claimed, that is an error."""

    def unsupported(self: Layer, *_: Any) -> Any:
        raise TypeError(_past(type(self), own, name))

    return unsupported
