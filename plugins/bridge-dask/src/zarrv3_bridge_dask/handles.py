"""An array as the tasks of a graph carry it: by configuration, opened again by each process, refused where that is unsafe."""

import threading
from typing import Any, Self

import numpy as np
from dask.tokenize import tokenize

from zarrv3 import Array
from zarrv3.errors import ConfigurationError, UnsupportedError

PATIENCE = 60.0
"""How many seconds to wait for tasks that are still writing when their graph has failed."""


class Handle:
    """What tasks know an array by.

    Within a process it is the array itself. Pickled, it is the store's configuration with path and metadata, never a
    connection; `UnsupportedError` for a store that several processes cannot use at once, whose copy would be another,
    empty store there. Thread-safe.
    """

    def __init__(self, array: Array) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the dimensions."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    def __reduce__(self) -> tuple[type[Self], tuple[Array]]:
        if not self.array.store.capabilities.shared:
            raise UnsupportedError(
                f"{self.array.store.describe()} cannot be used by several processes at once: compute with dask's "
                "threads (dask.config.set(scheduler='threads')), or copy the data to a store that can, such as a folder"
            )
        return type(self), (self.array,)

    def __dask_tokenize__(self) -> Any:
        return token(self.array)


class Source(Handle):
    """An array that tasks read."""

    def __getitem__(self, selection: Any) -> Any:
        """Read what is selected."""
        return self.array[selection]


class Target(Handle):
    """An array that tasks write; a store that loses unflushed writes with its process is flushed after each."""

    def __init__(self, array: Array) -> None:
        super().__init__(array)
        self._changed = threading.Condition()
        self._writers = 0
        self._given_up = False

    def __setitem__(self, selection: Any, value: Any) -> None:
        """Write to what is selected; `AssignmentError` for what cannot become elements, masked ones for instance."""
        with self._changed:
            if self._given_up:
                return
            self._writers += 1
        try:
            self.array[selection] = value
            if not self.array.store.capabilities.durable:
                self.array.store.flush()
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()

    def give_up(self) -> None:
        """Have later tasks of this process write nothing, and wait for those that are writing: dask leaves them to themselves."""
        with self._changed:
            self._given_up = True
            self._changed.wait_for(lambda: not self._writers, timeout=PATIENCE)


def token(array: Array) -> str:
    """A text that is the same for the same array in every process: from the store's spec, the path and the document.

    It differs from call to call for a store without a spec, which lives in this process alone.
    """
    try:
        spec = array.store.spec()
    except ConfigurationError:
        return str(tokenize(id(array.store), array.path, array.metadata.to_document()))
    return str(tokenize(spec, array.path, array.metadata.to_document()))
