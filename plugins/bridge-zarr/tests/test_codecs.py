"""Codecs made for zarr-python: found by their entry points, used and written like ours, exchanged with zarr-python."""

import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import zarrv3
from zarrv3 import registry
from zarrv3.errors import CorruptDataError, MetadataError, RegistryError, UnknownExtensionError
from zarrv3.format.codecs import parse_codec
from zarrv3.testing import CodecConformance
from zarrv3_bridge_zarr.codecs import adapted

PACKAGE = """
from dataclasses import dataclass

import numpy as np
from zarr.abc.codec import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec
from zarr.core.common import parse_named_configuration


class Named:
    @classmethod
    def from_dict(cls, data):
        _, configuration = parse_named_configuration(data, require_configuration=False)
        return cls(**(configuration or {}))

    def to_dict(self):
        return {"name": self.name, "configuration": dict(vars(self))}

    def compute_encoded_size(self, size, spec):
        return size


@dataclass(frozen=True)
class Add(Named, ArrayArrayCodec):
    name = "foreign.add"
    is_fixed_size = True
    number: int = 1

    def __post_init__(self):
        if type(self.number) is not int or not 0 <= self.number < 100:
            raise ValueError("number must be small")

    def resolve_metadata(self, spec):
        from dataclasses import replace

        if spec.dtype.to_native_dtype().kind not in "iu":
            raise TypeError("integers only")
        return replace(spec, fill_value=spec.fill_value + spec.dtype.to_native_dtype().type(self.number))

    async def _encode_single(self, data, spec):
        array = data.as_numpy_array()
        return spec.prototype.nd_buffer.from_numpy_array(array + array.dtype.type(self.number))

    async def _decode_single(self, data, spec):
        array = data.as_numpy_array()
        return spec.prototype.nd_buffer.from_numpy_array(array - array.dtype.type(self.number))


@dataclass(frozen=True)
class Raw(Named, ArrayBytesCodec):
    name = "foreign.raw"
    is_fixed_size = True

    async def _encode_single(self, data, spec):
        return spec.prototype.buffer.from_bytes(data.as_numpy_array().tobytes())

    async def _decode_single(self, data, spec):
        array = np.frombuffer(data.to_bytes(), spec.dtype.to_native_dtype()).reshape(spec.shape)
        return spec.prototype.nd_buffer.from_numpy_array(array)


@dataclass(frozen=True)
class Invert(Named, BytesBytesCodec):
    name = "foreign.invert"
    is_fixed_size = True

    def _encode_sync(self, data, spec):
        return spec.prototype.buffer.from_bytes(bytes(255 - byte for byte in data.to_bytes()))

    _decode_sync = _encode_sync

    async def _encode_single(self, data, spec):
        return self._encode_sync(data, spec)

    _decode_single = _encode_single
"""

LITTLE: Any = {"name": "bytes", "configuration": {"endian": "little"}}
ADD: Any = {"name": "foreign.add", "configuration": {"number": 3}}
RAW: Any = {"name": "foreign.raw", "configuration": {}}
INVERT: Any = {"name": "foreign.invert", "configuration": {}}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with codecs for zarr-python."""
    folder = tmp_path / "site"
    information = folder / "foreign_codecs-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "foreign_codecs.py").write_text(PACKAGE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-codecs\nVersion: 1.0\n")
    names = {"foreign.add": "Add", "foreign.raw": "Raw", "foreign.invert": "Invert", "foreign.wrong": "np"}
    points = "".join(f"{name} = foreign_codecs:{value}\n" for name, value in names.items())
    (information / "entry_points.txt").write_text(f"[zarr.codecs]\n{points}")
    monkeypatch.syspath_prepend(str(folder))
    registry.reset()
    yield folder
    sys.modules.pop("foreign_codecs", None)
    registry.reset()


class TestForeign(CodecConformance):
    """The kit over a codec of each kind."""

    examples = 8
    data_types = ("int32", "uint8")
    shapes = ((7,), (3, 4))

    @pytest.fixture(params=[ADD, RAW, INVERT], ids=lambda codec: codec["name"])
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param


@pytest.mark.parametrize(
    "codecs", [[ADD, LITTLE], [RAW], [LITTLE, INVERT], [ADD, RAW, INVERT, "crc32c"]], ids=str
)
def test_arrays_are_exchanged_with_zarr_python(codecs: list[Any], tmp_path: Path, package: Path) -> None:
    """Each reads in a process of its own what the other has written."""
    values = np.arange(12, dtype="i4").reshape(3, 4)
    array = zarrv3.create_array(
        tmp_path / "a", shape=(3, 4), chunks=(2, 3), dtype="i4", codecs=codecs, fill_value=7
    )
    array[:] = values
    program = f"""
        import sys, numpy as np
        sys.path.insert(0, {str(package)!r})
        import zarr
        array = zarr.open_array({str(tmp_path / "a")!r}, mode="r+")
        values = np.arange(12).reshape(3, 4)
        assert (array[:] == values).all()
        array[:] = values + 5
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], check=True)
    again = zarrv3.open_array(tmp_path / "a", mode="r")
    assert np.array_equal(again[:], values + 5)
    assert pickle.loads(pickle.dumps(again))[2, 3] == 16


def test_objects_and_configurations() -> None:
    """An object of such a codec is taken as it is; what the class refuses is a `MetadataError`."""
    import foreign_codecs  # type: ignore[import-not-found]

    array = zarrv3.create_array(shape=4, dtype="i4", filters=[foreign_codecs.Add(number=9)], fill_value=1)
    assert array.layout.chain.inner.fill_value == 10
    assert array.metadata.to_document()["codecs"][0] == {
        "name": "foreign.add",
        "configuration": {"number": 9},
    }
    with pytest.raises(MetadataError, match="number must be small"):
        parse_codec({"name": "foreign.add", "configuration": {"number": 100}})
    with pytest.raises(MetadataError, match="integers only"):
        zarrv3.create_array(shape=4, dtype="f4", filters=[ADD])
    with pytest.raises(UnknownExtensionError, match="not a codec of zarr-python"):
        parse_codec("foreign.wrong")
    with pytest.raises(RegistryError, match="not a codec of zarr-python"):
        adapted(zarr.Array)


def test_damaged_chunks() -> None:
    """What a foreign codec cannot decode is a `CorruptDataError`."""
    array = zarrv3.create_array(shape=4, dtype="i4", codecs=[RAW])
    for damaged in (b"", b"abc", bytes(20)):
        array.store["c/0"] = damaged
        with pytest.raises(CorruptDataError):
            array[:]


def test_names_are_known_without_being_imported() -> None:
    """The registry lists neither adapters nor the plugins of others, and imports a codec when it is named."""
    assert registry.installed("codecs", "foreign.add")
    assert not registry.installed("codecs", "foreign.unknown")
    assert "foreign_codecs" not in sys.modules
    assert not [
        plugin for plugin in registry.plugins() if "foreign" in plugin.name or "adapters" in plugin.kind
    ]


ZSTD: Any = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
TRANSPOSED: Any = {"name": "transpose", "configuration": {"order": [1, 0]}}
BIG: Any = {"name": "bytes", "configuration": {"endian": "big"}}
GZIP: Any = {"name": "gzip", "configuration": {"level": 1}}
EXPORTED: dict[str, tuple[str, list[Any]]] = {
    "bitround": ("f4", [{"name": "bitround", "configuration": {"keepbits": 5}}, LITTLE]),
    "conditional": ("i4", [LITTLE, {"name": "conditional", "configuration": {"codecs": [ZSTD]}}]),
    "n5_default": ("i4", [{"name": "n5_default", "configuration": {"codecs": [TRANSPOSED, BIG, GZIP]}}]),
    "packbits": ("bool", [{"name": "packbits", "configuration": {}}]),
    "reshape": ("i4", [{"name": "reshape", "configuration": {"shape": [[0, 1]]}}, LITTLE]),
    "zfp": ("f4", [{"name": "zfp", "configuration": {"mode": "reversible"}}]),
}


def test_zarr_python_opens_our_codecs(tmp_path: Path) -> None:
    """zarr-python in another process reads and writes arrays with the codecs of ours that it lacks; the bytes are the same."""
    values = {}
    for name, (dtype, codecs) in EXPORTED.items():
        metadata = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [6, 5],
            "data_type": np.dtype(dtype).name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 4]}},
            "chunk_key_encoding": {"name": "default"},
            "fill_value": False if dtype == "bool" else 0,
            "codecs": codecs,
        }
        for folder in ("ours", "theirs"):
            zarrv3.open_store(f"{tmp_path}/{folder}")[f"{name}/zarr.json"] = json.dumps(metadata).encode()
        array = zarrv3.open_array(f"{tmp_path}/ours", path=name, mode="r+")
        array[:, :4] = (np.arange(24).reshape(6, 4) % 3).astype(dtype)
        values[name] = array[:].tolist()
    code = """
        import json, sys, numpy as np, zarr
        folder, found = sys.argv[1], {}
        for name in sys.argv[2:]:
            found[name] = zarr.open_array(f"{folder}/ours/{name}", mode="r")[:].tolist()
            array = zarr.open_array(f"{folder}/theirs/{name}", mode="r+")
            array[:, :4] = (np.arange(24).reshape(6, 4) % 3).astype(array.dtype)
            array[0, 0] = array[0, 0]
        print(json.dumps(found))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), *EXPORTED],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == values
    ours, theirs = (dict(zarrv3.open_store(f"{tmp_path}/{folder}").items()) for folder in ("ours", "theirs"))
    assert {key: bytes(value) for key, value in ours.items() if "zarr.json" not in key} == {
        key: bytes(value) for key, value in theirs.items() if "zarr.json" not in key
    }


def test_codecs_exported_to_zarr_python_are_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package that has a codec, what is made of it for zarr-python is not found in its place."""
    points = registry._entry_points()
    assert points["zarr.codecs"]["zfp"]
    monkeypatch.setitem(points["zarrv3.codecs"], "zfp", [])
    assert not registry.installed("codecs", "zfp")
