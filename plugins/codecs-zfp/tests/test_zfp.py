"""`zfp`: the kit over it, its modes, and numbers that it would change."""

from typing import Any

import numpy as np
import pytest
import zfpy

import zarrv3
from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.data_types import DataType
from zarrv3.testing import CodecConformance


def zfp(mode: str, **configuration: Any) -> Any:
    """The codec's document."""
    return {"name": "zfp", "configuration": {"mode": mode, **configuration}}


class TestReversible(CodecConformance):
    """All numbers come back; NaN with another payload is not one."""

    examples = 15
    data_types = ("int32", "uint32", "uint64", "float32", "float64", "int16", "string")
    shapes = ((), (7,), (3, 4), (2, 3, 5), (1, 4, 2, 3), (1, 1, 1, 2, 2))

    @pytest.fixture
    def codec(self) -> Any:
        """The only mode that loses nothing."""
        return zfp("reversible")

    def values(self, data_type: DataType, shape: tuple[int, ...], seed: int) -> Any:
        """Numbers of all sizes."""
        return np.asarray(np.random.default_rng(seed).integers(0, 2**31, shape)).astype(data_type.numpy)


class TestLossy(CodecConformance):
    """The others give numbers that are near."""

    examples = 15
    lossless = False
    data_types = ("int64", "float32", "float64")
    shapes = ((7,), (3, 4))

    @pytest.fixture(params=["tolerance", "rate", "precision"])
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        mode = {"tolerance": "fixed_accuracy", "rate": "fixed_rate", "precision": "fixed_precision"}
        return zfp(mode[request.param], **{request.param: 16})

    def values(self, data_type: DataType, shape: tuple[int, ...], seed: int) -> Any:
        """Numbers that have room."""
        return np.random.default_rng(seed).integers(0, 9999, shape).astype(data_type.numpy)


def test_the_stream_is_the_librarys_without_its_header() -> None:
    """Whoever writes with zfpy is read."""
    values = np.sin(np.arange(40.0)).reshape(5, 8)
    array = zarrv3.create_array(
        shape=(5, 8), dtype="f8", serializer=zfp("fixed_accuracy", tolerance=0.01), compressors=None
    )
    array.store["c/0/0"] = zfpy.compress_numpy(values, tolerance=0.01, write_header=False)
    assert 0 < abs(array[:] - values).max() <= 0.01


@pytest.mark.parametrize(
    "codec",
    [
        zfp("fixed_rate"), zfp("fixed_rate", rate=0), zfp("fixed_rate", rate=1, precision=1), zfp("lossless"),
        zfp("fixed_accuracy", tolerance="1"), zfp("fixed_precision", precision=65), zfp("expert", minbits=1),
        zfp("reversible", rate=1),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_configurations(codec: Any) -> None:
    """Each mode has its members and no others."""
    with pytest.raises(MetadataError, match="zfp"):
        zarrv3.create_array(shape=4, dtype="f8", serializer=codec)


@pytest.mark.parametrize(
    ("dtype", "number"), [("f8", np.nan), ("f4", np.inf), ("i4", 2**30), ("i8", -(2**62))]
)
def test_numbers_that_zfp_would_change_are_refused(dtype: str, number: Any) -> None:
    """They are stored as they are in the reversible mode only."""
    lossy = zarrv3.create_array(shape=4, dtype=dtype, serializer=zfp("fixed_rate", rate=16))
    with pytest.raises(MetadataError, match="cannot encode a number"):
        lossy[0] = number
    exact = zarrv3.create_array(shape=4, dtype=dtype, serializer=zfp("reversible"))
    exact[0] = number
    assert np.array_equal(exact[:1], np.array([number], dtype), equal_nan=dtype[0] == "f")
    with pytest.raises(MetadataError, match="unsigned"):
        zarrv3.create_array(shape=4, dtype="u4", serializer=zfp("fixed_rate", rate=16))


def test_the_mode_that_zfpy_lacks() -> None:
    """A document with it is read, chunks are not."""
    codec = zfp("expert", minbits=1, maxbits=13, maxprec=19, minexp=-2)
    with pytest.raises(UnknownExtensionError, match="expert"):
        zarrv3.create_array(shape=4, dtype="f8", serializer=codec)
