"""Which kernels are used, and that whatever they leave undone is done."""

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from importlib_metadata import EntryPoint

import zarrv3
from zarrv3 import registry
from zarrv3.chunks import kernels
from zarrv3.chunks.kernels import UNDONE
from zarrv3.errors import RegistryError
from zarrv3.format.codecs import CodecChain
from zarrv3.options.settings import config

Offer = Callable[..., None]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Have exactly these kernels installed, by name."""
    others = [point for point in registry._installed() if point.group != "zarrv3.kernels"]

    def offer(**values: str) -> None:
        points = [EntryPoint(name, value, "zarrv3.kernels") for name, value in values.items()]
        monkeypatch.setattr(registry, "_installed", lambda: iter([*others, *points]))
        registry.reset()
        kernels._last = None

    yield offer
    monkeypatch.undo()
    registry.reset()
    kernels._last = None


class Lazy:
    """Kernels that do every second piece and leave the others."""

    asked: list[int]

    def __init__(self) -> None:
        self.asked = []

    def chunks(self, chain: CodecChain) -> "LazyChunks | None":
        """Only for chunks that are stored as they are."""
        return None if chain.compressors else LazyChunks(chain, self.asked)


class LazyChunks:
    """The chunks of one chain."""

    def __init__(self, chain: CodecChain, asked: list[int]) -> None:
        self.chain = chain
        self.asked = asked

    def decode(self, values: Sequence[Any], pieces: Sequence[Any], out: np.ndarray[Any, Any]) -> list[int]:
        """The even ones."""
        self.asked.append(len(pieces))
        for number, (value, piece) in enumerate(zip(values, pieces, strict=True)):
            if number % 2 == 0:
                chunk = (
                    self.chain.spec.fill_value if value is None else self.chain.decode(value)[piece.inside]
                )
                out[piece.outside] = chunk
        return [*range(1, len(pieces), 2)]

    def encode(
        self,
        pieces: Sequence[Any],
        value: np.ndarray[Any, Any],
        rooms: Any = None,
        *,
        keep_empty: bool,
        olds: Sequence[Any] | None = None,
    ) -> list[Any]:
        """The even ones, all of which are stored."""
        self.asked.append(len(pieces))
        assert rooms is None
        assert not keep_empty
        made: list[Any] = [UNDONE] * len(pieces)
        for number, piece in [*enumerate(pieces)][::2]:
            chunk = (
                np.empty(self.chain.spec.shape) if olds is None else self.chain.decode(olds[number]).copy()
            )
            chunk[piece.inside] = value[piece.outside]
            made[number] = chunk.tobytes()
        return made


@pytest.fixture
def lazy(offered: Offer, monkeypatch: pytest.MonkeyPatch) -> Lazy:
    """The kernels `lazy`, which are installed but not in use."""
    module = types.ModuleType("lazy_kernels")
    made = Lazy()
    module.Lazy = type("Made", (), {"__new__": lambda _: made})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lazy_kernels", module)
    offered(lazy="lazy_kernels:Lazy")
    return made


def test_what_is_left_is_done(lazy: Lazy) -> None:
    """Chunks that a kernel leaves are encoded and decoded as if there were none."""
    values = np.arange(1, 101.0)
    with config.set(kernels="lazy", threads=1):
        array = zarrv3.create_array(None, data=values, chunks=10, compressors=None)
        assert lazy.asked == [10]
        np.testing.assert_array_equal(array[...], values)
        np.testing.assert_array_equal(array[::-3], values[::-3])
        assert lazy.asked == [10] * 3
        array[5:35] = 0  # two chunks that are covered, and two of which parts stay
        assert lazy.asked == [10] * 3 + [2, 2]
        values[5:35] = 0
        np.testing.assert_array_equal(array[...], values)
        packed = zarrv3.create_array(None, data=values, chunks=10)
        np.testing.assert_array_equal(packed[...], values)
        assert lazy.asked == [10] * 3 + [2, 2, 10]
    with config.set(kernels="none"):
        np.testing.assert_array_equal(array[...], values)
        assert lazy.asked == [10] * 3 + [2, 2, 10]


def test_the_default_may_be_missing(offered: Offer) -> None:
    """Without the package everything is done in Python; so it is where it was installed without a compiler."""
    offered()
    assert kernels.kernels() is None
    offered(native="no_module_of_this_name:Native")
    assert kernels.kernels() is None
    array = zarrv3.create_array(None, data=np.arange(10), chunks=3)
    assert array[...].tolist() == [*range(10)]


def test_others_must_be_there(offered: Offer) -> None:
    """A name given by the user that is not installed, or cannot be loaded, is an error."""
    offered(native="no_module_of_this_name:Native", broken="no_module_of_this_name:Broken")
    with config.set(kernels="nativ"), pytest.raises(RegistryError, match="did you mean 'native'"):
        kernels.kernels()
    with config.set(kernels="broken"), pytest.raises(RegistryError, match="no_module_of_this_name"):
        kernels.kernels()
    with config.set(kernels="none"):
        assert kernels.kernels() is None
