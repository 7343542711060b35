"""Parts of shards that a cache remembers while somebody else replaces the shards."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
FILL = -1


def sharded(chunk: int, inner: list[Any], location: str) -> dict[str, Any]:
    """The document of the codec; its inner chunks have no checksum, so that wrong bytes would be numbers."""
    index = [LITTLE, {"name": "crc32c"}]
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [chunk],
            "codecs": inner,
            "index_codecs": index,
            "index_location": location,
        },
    }


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("nested", [False, True], ids=["shards", "shards-in-shards"])
@pytest.mark.parametrize(
    "options", [{}, {"ttl": 3.0}, {"max_size": 1200}, {"max_size": 400}], ids=["all", "ttl", "few", "tiny"]
)
def test_what_is_read_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], nested: bool, location: str
) -> None:
    """Values may be old, as a cache's are, but each was at its place at some time: never parts of two versions mixed."""
    now = 0.0
    monkeypatch.setattr(zarrv3.LRUStoreCache, "clock", staticmethod(lambda: now))
    inner = [sharded(2, [LITTLE], location)] if nested else [LITTLE]
    for number in range(5):
        rng = random.Random(number)
        url = f"file://{tmp_path}/{number}|prefix:a"
        codecs = [sharded(4, inner, location)]
        store = zarrv3.open_store(url)
        writer = zarrv3.create_array(
            store, shape=(64,), chunks=(32,), dtype="i4", codecs=codecs, fill_value=FILL, overwrite=True
        )
        seen: list[set[int]] = [{FILL} for _ in range(64)]
        cache = zarrv3.LRUStoreCache(zarrv3.open_store(url), **options)
        reader = zarrv3.open_array(zarrv3.ReadOnly(cache), mode="r")
        for version in range(12):
            value = np.arange(64) + 1000 * version
            for start in range(0, 64, 2):  # chunks come and go, so that the others move
                if rng.random() < 0.4:
                    value[start : start + 2] = FILL
            writer[:] = value
            for element, known in zip(value.tolist(), seen, strict=True):
                known.add(element)
            for _ in range(rng.randrange(1, 5)):
                now += rng.random()
                start = rng.randrange(64)
                part = reader[start : start + rng.randrange(1, 12)]
                found = [value in seen[start + offset] for offset, value in enumerate(part.tolist())]
                assert all(found), (number, version, start, part)
