"""The implementations, each with the same four functions: create and write, open and read, read a selection.

All use Blosc lz4 level 5 with byte shuffle, the same chunks, shards and keys, and their default number of threads.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from workloads import Workload

BLOSC = {
    "name": "blosc",
    "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 8, "blocksize": 0},
}
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


class Peer(ABC):
    """One implementation in this process."""

    @abstractmethod
    def version(self) -> str:
        """What is measured."""

    @abstractmethod
    def write(self, path: str, workload: Workload, values: np.ndarray) -> None:
        """Create the array and write all of it."""

    @abstractmethod
    def open(self, path: str) -> Any:
        """The array, which is read, written and appended to in numpy's and zarr-python's manner."""

    @abstractmethod
    def read(self, path: str) -> np.ndarray:
        """Open the array and read all of it."""

    @abstractmethod
    def select(self, path: str, name: str, chosen: Any) -> np.ndarray:
        """Open the array and read a selection."""


class ZarrV3(Peer):
    """This project."""

    def __init__(self) -> None:
        import zarrv3

        self.library = zarrv3

    def version(self) -> str:
        """See `Peer`."""
        return f"zarrv3 {self.library.__version__}"

    def write(self, path: str, workload: Workload, values: np.ndarray) -> None:
        """See `Peer`."""
        array = self.library.create_array(
            path,
            shape=workload.shape,
            dtype="f8",
            chunks=workload.chunks,
            shards=workload.shards,
            compressors=[BLOSC],
        )
        array[...] = values

    def open(self, path: str) -> Any:
        """See `Peer`."""
        return self.library.open_array(path, mode="r+")

    def read(self, path: str) -> np.ndarray:
        """See `Peer`."""
        return self.library.open_array(path, mode="r")[...]

    def select(self, path: str, name: str, chosen: Any) -> np.ndarray:
        """See `Peer`."""
        array = self.library.open_array(path, mode="r")
        if name == "elements":
            return np.array([array[point] for point in chosen])
        return array.vindex[chosen] if name == "points" else array[chosen]


class ZarrPython(Peer):
    """zarr-python, with one of the codec pipelines there are for it."""

    pipeline = "zarr.core.codec_pipeline.BatchedCodecPipeline"

    def __init__(self) -> None:
        import zarr

        self.library = zarr
        zarr.config.set({"codec_pipeline.path": self.pipeline})
        warnings.filterwarnings("ignore")

    def version(self) -> str:
        """See `Peer`."""
        return f"zarr-python {self.library.__version__}, {self.pipeline.rpartition('.')[2]}"

    def write(self, path: str, workload: Workload, values: np.ndarray) -> None:
        """See `Peer`."""
        codec = self.library.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=8)
        array = self.library.create_array(
            path,
            shape=workload.shape,
            dtype="f8",
            chunks=workload.chunks,
            shards=workload.shards,
            compressors=[codec],
        )
        array[...] = values

    def open(self, path: str) -> Any:
        """See `Peer`."""
        return self.library.open_array(path, mode="r+")

    def read(self, path: str) -> np.ndarray:
        """See `Peer`."""
        return np.asarray(self.library.open_array(path, mode="r")[...])

    def select(self, path: str, name: str, chosen: Any) -> np.ndarray:
        """See `Peer`."""
        array = self.library.open_array(path, mode="r")
        if name == "elements":
            return np.array([array[point] for point in chosen])
        return np.asarray(array.vindex[chosen] if name == "points" else array[chosen])


class ZarrPythonFused(ZarrPython):
    """zarr-python with its synchronous pipeline."""

    pipeline = "zarr.core.codec_pipeline.FusedCodecPipeline"


class Zarrs(ZarrPython):
    """zarr-python with the codecs of zarrs (Rust)."""

    pipeline = "zarrs.ZarrsCodecPipeline"

    def version(self) -> str:
        """See `Peer`."""
        from importlib.metadata import version

        return f"zarrs {version('zarrs')} in zarr-python {self.library.__version__}"


class TensorStoreArray:
    """An array of TensorStore in zarr-python's manner."""

    def __init__(self, store: Any) -> None:
        self.store = store

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension."""
        return self.store.shape

    @property
    def oindex(self) -> TensorStoreArray:
        """Each dimension on its own."""
        return TensorStoreArray(self.store.oindex)

    @property
    def vindex(self) -> TensorStoreArray:
        """Points."""
        return TensorStoreArray(self.store.vindex)

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Read."""
        return np.asarray(self.store[selection].read().result())

    def __setitem__(self, selection: Any, value: Any) -> None:
        """Write."""
        self.store[selection].write(value).result()

    def append(self, values: np.ndarray) -> None:
        """Make the array longer and write behind what was there."""
        length, *rest = self.store.shape
        self.store = self.store.resize(exclusive_max=[length + len(values), *rest]).result()
        self[length:] = values


class TensorStore(Peer):
    """TensorStore (C++)."""

    def __init__(self) -> None:
        import tensorstore

        self.library = tensorstore

    def version(self) -> str:
        """See `Peer`."""
        from importlib.metadata import version

        return f"TensorStore {version('tensorstore')}"

    def _open(self, path: str, **options: Any) -> Any:
        kvstore = {"driver": "file", "path": path, "file_io_sync": False}  # no fsync, as everywhere else here
        spec = {"driver": "zarr3", "kvstore": kvstore, **options.pop("spec", {})}
        return self.library.open(spec, **options).result()

    def write(self, path: str, workload: Workload, values: np.ndarray) -> None:
        """See `Peer`."""
        codecs: list[Any] = [LITTLE, BLOSC]
        if workload.shards is not None:
            index = [LITTLE, {"name": "crc32c"}]
            sharding = {"chunk_shape": workload.chunks, "codecs": codecs, "index_codecs": index}
            codecs = [{"name": "sharding_indexed", "configuration": sharding}]
        grid = {"name": "regular", "configuration": {"chunk_shape": workload.shards or workload.chunks}}
        metadata = {"shape": workload.shape, "data_type": "float64", "chunk_grid": grid, "codecs": codecs}
        self._open(path, spec={"metadata": metadata}, create=True).write(values).result()

    def open(self, path: str) -> Any:
        """See `Peer`."""
        return TensorStoreArray(self._open(path, open=True))

    def read(self, path: str) -> np.ndarray:
        """See `Peer`."""
        return np.asarray(self._open(path, open=True).read().result())

    def select(self, path: str, name: str, chosen: Any) -> np.ndarray:
        """See `Peer`."""
        array = self._open(path, open=True)
        if name == "elements":
            return np.array([array[point].read().result() for point in chosen])
        if name == "points":
            return np.asarray(array.vindex[chosen].read().result())
        return np.asarray(array[chosen].read().result())


PEERS: dict[str, Callable[[], Peer]] = {
    "zarrv3": ZarrV3,
    "tensorstore": TensorStore,
    "zarrs": Zarrs,
    "zarr-python fused": ZarrPythonFused,
    "zarr-python": ZarrPython,
}
