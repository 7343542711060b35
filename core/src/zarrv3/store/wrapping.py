"""Store objects from objects that are not: drivers, mappings; and back."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Annotated, Any

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import Option
from zarrv3.store.backend import Backend
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Driver
from zarrv3.store.memory import KVStore


def _is_driver(candidate: object) -> bool:
    """Whether an object looks like a driver, also where it passes on what it is asked for."""
    return callable(getattr(candidate, "get_many", None)) and hasattr(candidate, "capabilities")


class DriverStore(Backend):
    """Any object with the contract's methods as a full store, guarded."""

    kind = "driver"

    def __init__(
        self,
        driver: Annotated[
            Any,
            Option("any object with the contract's methods", live=True, check=_is_driver, takes="a Driver"),
        ],
    ) -> None:
        super().__init__(driver=driver)

    def connect(self) -> Driver:
        """The driver as it was given."""
        driver: Driver = self.given_options["driver"]
        return driver

    def describe(self) -> str:
        """The class of the driver."""
        return f"DriverStore({type(self.given_options['driver']).__name__})"


def wrap(store: object) -> BaseStore:
    """A store object from one, from anything that has the contract's methods, or from a mutable mapping."""
    if isinstance(store, BaseStore):
        return store
    if _is_driver(store):
        return DriverStore(store)
    if isinstance(store, MutableMapping):
        return KVStore(store)
    what = (
        "zarrv3.storage.ZipStore(file)"
        if hasattr(store, "read")
        else "a store object, a mutable mapping, a URL or a configuration"
    )
    raise ConfigurationError(f"not a store: {type(store).__name__}; give {what}")


def as_mapping(store: object) -> MutableMapping[str, bytes]:
    """Any store as a mutable mapping from keys to bytes: the way back from `KVStore`."""
    return wrap(store)
