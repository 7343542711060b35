"""The conformance kit through the server: our own clients of S3 over our own S3, over a store in memory."""

import uuid
from collections.abc import Iterator
from functools import partial

import pytest

from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3_serve.s3.testing import server
from zarrv3_store_fsspec import FSStore
from zarrv3_store_obstore import ObjectStore

KEYS = {"zarrv3-key": "zarrv3-secret"}
OPTIONS = {"key": "zarrv3-key", "secret": "zarrv3-secret", "conditional_writes": True}


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A server that wants signatures."""
    with server("memory://kit", keys=KEYS, writable=True) as url:
        yield url


class TestObstore(InterruptConformance, StoreConformance):
    """An `ObjectStore` over a store in memory."""

    examples = 2
    steps = 15

    @pytest.fixture
    def opener(self, s3: str) -> Opener:
        """Every call opens the same folder of the bucket."""
        return partial(ObjectStore, f"s3://zarr/{uuid.uuid4().hex}", endpoint_url=s3, **OPTIONS)


@pytest.mark.slow
class TestFsspec(InterruptConformance, StoreConformance):
    """An `FSStore` over a store in memory."""

    examples = 4
    steps = 20

    @pytest.fixture
    def opener(self, s3: str) -> Opener:
        """Every call opens the same folder of the bucket."""
        return partial(FSStore, f"s3://zarr/{uuid.uuid4().hex}", endpoint_url=s3, **OPTIONS)
