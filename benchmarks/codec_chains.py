"""What `codecs` measures: chains of codecs with the arrays they encode, and how each implementation is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers import TensorStore, ZarrPython, ZarrPythonFused, Zarrs, ZarrV3
from workloads import SEED, signal

ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
CHECKED = {"name": "zstd", "configuration": {"level": 3, "checksum": True}}
GZIP = {"name": "gzip", "configuration": {"level": 5}}
CRC32C = {"name": "crc32c"}
BITS = {
    "name": "blosc",
    "configuration": {"cname": "zstd", "clevel": 5, "shuffle": "bitshuffle", "typesize": 8, "blocksize": 0},
}
TRANSPOSE = {"name": "transpose", "configuration": {"order": [1, 0]}}


@dataclass(frozen=True, kw_only=True)
class Chain:
    """An array of 64 MB and its codecs, as they stand in a document."""

    compressors: tuple[dict[str, Any], ...] = (ZSTD,)
    filters: tuple[dict[str, Any], ...] = ()
    endian: str = "little"
    kind: str = "float64"
    shape: tuple[int, ...] = (4096, 2048)
    chunks: tuple[int, ...] = (256, 256)
    shards: tuple[int, ...] | None = None
    without: tuple[str, ...] = ()
    """The implementations that cannot do it."""
    aim: float = 1.0
    """What ours ÷ the best peer is to be at most."""

    @property
    def serializer(self) -> dict[str, Any]:
        """The array → bytes codec."""
        if self.kind == "string":
            return {"name": "vlen-utf8"}
        return {"name": "bytes", "configuration": {"endian": self.endian}}

    @property
    def codecs(self) -> list[dict[str, Any]]:
        """All of them as one list, sharding too."""
        codecs = [*self.filters, self.serializer, *self.compressors]
        if self.shards is None:
            return codecs
        little = {"name": "bytes", "configuration": {"endian": "little"}}
        sharding = {"chunk_shape": self.chunks, "codecs": codecs, "index_codecs": [little, CRC32C]}
        return [{"name": "sharding_indexed", "configuration": sharding}]


SHARDS = (1024, 1024)
CHAINS = {
    "zstd+crc32c": Chain(compressors=(ZSTD, CRC32C)),
    "crc32c": Chain(compressors=(CRC32C,)),
    "gzip": Chain(compressors=(GZIP,)),
    "gzip in shards": Chain(compressors=(GZIP,), shards=SHARDS),
    "zstd with checksum": Chain(compressors=(CHECKED,)),
    "blosc-zstd bitshuffle": Chain(compressors=(BITS,)),
    "transpose+zstd": Chain(filters=(TRANSPOSE,)),
    "big-endian": Chain(compressors=(), endian="big"),
    "big-endian+zstd": Chain(endian="big"),
    "uint16 images": Chain(kind="uint16", shape=(8, 2048, 2048), chunks=(1, 512, 512)),
    "zstd in shards": Chain(shards=SHARDS),
    "zstd+crc32c in shards": Chain(compressors=(ZSTD, CRC32C), shards=SHARDS),
    "ragged edges": Chain(shape=(4000, 2090)),
    "strings": Chain(
        kind="string", shape=(2_000_000,), chunks=(50_000,), without=("tensorstore", "zarrs"), aim=0.8
    ),
}


def data(chain: Chain, folder: Path) -> np.ndarray:
    """The values of a chain, made once and then mapped by every process; texts are made by each."""
    if chain.kind == "string":
        return texts(chain.shape[0])
    path = folder / f"{chain.kind}-{'x'.join(map(str, chain.shape))}.npy"
    if not path.exists():
        np.save(path, images(chain.shape) if chain.kind == "uint16" else signal(chain.shape))
    mapped = np.load(path, mmap_mode="r")
    mapped.reshape(-1)[::512].sum()  # every page is mapped before anything is timed
    return mapped


def images(shape: tuple[int, ...]) -> np.ndarray:
    """Images of blurred spots with the noise of a detector."""
    rng = np.random.default_rng(SEED)
    y, x = np.linspace(0, 40, shape[1])[:, None], np.linspace(0, 40, shape[2])[None, :]
    mean = 200 + 100 * np.sin(y) ** 2 * np.cos(x) ** 2
    return np.stack([rng.poisson(mean) for _ in range(shape[0])]).astype("u2")


def texts(count: int) -> np.ndarray:
    """Names and sentences, some of them not ASCII, of 0 to 90 bytes."""
    rng = np.random.default_rng(SEED)
    words = np.array(
        ["station", "Zürich", "Reykjavík", "temperature", "", "东京", "gauge 17", "x" * 60, "north"]
    )
    first, second = words[rng.integers(0, len(words), (2, count))].tolist(), rng.integers(0, 10**6, count)
    pairs = zip(*first, second.tolist(), strict=True)
    return np.array([f"{a} {b} {number}" for a, b, number in pairs], dtype=np.dtypes.StringDType())


class _Chains:
    """What zarrv3 and zarr-python spell alike."""

    library: Any

    def write_chain(self, path: str, chain: Chain, values: np.ndarray) -> None:
        """Create the array and write all of it."""
        array = self.library.create_array(
            path,
            shape=chain.shape,
            dtype=values.dtype,
            chunks=chain.chunks,
            shards=chain.shards,
            filters=[*chain.filters],
            serializer=chain.serializer,
            compressors=[*chain.compressors],
        )
        array[...] = values


class OurChains(_Chains, ZarrV3):
    """This project."""


class _ZarrPythonChains(_Chains, ZarrPython):
    pass


class _FusedChains(ZarrPythonFused, _ZarrPythonChains):
    pass


class _ZarrsChains(Zarrs, _ZarrPythonChains):
    pass


class _TensorStoreChains(TensorStore):
    def write_chain(self, path: str, chain: Chain, values: np.ndarray) -> None:
        """Create the array and write all of it."""
        grid = {"name": "regular", "configuration": {"chunk_shape": chain.shards or chain.chunks}}
        metadata = {
            "shape": chain.shape,
            "data_type": chain.kind,
            "chunk_grid": grid,
            "codecs": chain.codecs,
        }
        self._open(path, spec={"metadata": metadata}, create=True).write(values).result()


CHAIN_PEERS: dict[str, Callable[[], Any]] = {
    "zarrv3": OurChains,
    "tensorstore": _TensorStoreChains,
    "zarrs": _ZarrsChains,
    "zarr-python fused": _FusedChains,
    "zarr-python": _ZarrPythonChains,
}
