"""The conformance class for data types: derive, give one fixture, and every check is a test of yours.

class TestMyType(DataTypeConformance):
    @pytest.fixture
    def data_type(self):
        return {"name": "my-type", "configuration": {"unit": "m"}}
"""

import json
import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import MetadataError
from zarrv3.format.codecs import ChunkSpec, CodecChain, default_codecs, default_serializer
from zarrv3.format.data_types import DataType, data_type_of, filled
from zarrv3.testing.rules import (
    CONFIGURATION,
    DATA_TYPES,
    FILLS,
    PICKLE,
    ROUND_TRIP,
    ConformanceError,
    require,
    same,
    shown,
)
from zarrv3.testing.samples import SHAPES, Array, check_document, check_refusals, equal_bits, steady, values
from zarrv3.testing.smoke import SmokeTested

seeds = st.integers(0, 1 << 20)
texts = st.one_of(
    st.text(max_size=5), st.sampled_from(["NaN", "Infinity", "-Infinity", "0x7fc00001", "0xg", "AAAA", "NaT"])
)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-300, 300), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
objects = st.one_of(
    documents,
    st.binary(max_size=9),
    st.complex_numbers(),
    st.builds(np.float64, st.floats()),
    st.builds(np.datetime64, st.integers(-9, 9), st.just("D")),
    st.just(object()),
)


class DataTypeConformance(SmokeTested):
    """Everything a data type has to do; the subclass gives the fixture `data_type`."""

    fixture = "data_type"
    examples: ClassVar[int] = 100
    """How many values each test tries."""

    @pytest.fixture
    def data_type(self) -> Any:
        """Return the data type, or its document (then it has to be installed): override this."""
        pytest.fail(
            f"{type(self).__name__} has to define the fixture `data_type`; see zarrv3.testing.data_types"
        )

    def values(self, data_type: DataType, shape: tuple[int, ...], seed: int) -> Array:
        """An array of the type: override it where not all bits are values."""
        return values(data_type, shape, seed)

    def try_out(self, extension: Any) -> None:
        """Write the type down, and send an array through the codecs that it has by default."""
        made = data_type_of(extension)
        check_document(made, what="the data type")
        array = self.values(made, (7,), 0)
        chain = CodecChain.build(default_codecs(made), ChunkSpec((7,), made, made.default_fill()))
        found = np.asarray(chain.decode(bytes(chain.encode(array))))
        require(equal_bits(found, array), ROUND_TRIP, "an array of shape (7,) came back different")

    def test_basics(self, data_type: Any) -> None:
        """The type can be made and written down, and an array of it comes back from its default codecs."""
        self.check_basics(data_type)

    # ------------------------------------------------------------ document and dtype
    def test_document(self, data_type: Any) -> None:
        """The type comes back from its document; equal types have equal hashes and a description of one line."""
        made = data_type_of(data_type)
        check_document(made, what=f"data type {made.describe()}")
        require(
            hash(made) == hash(data_type_of(data_type)), CONFIGURATION, "equal types have different hashes"
        )
        require(made.describe() and "\n" not in made.describe(), CONFIGURATION, "describe() is not one line")

    def test_malformed_configurations(self, data_type: Any) -> None:
        """A wrong configuration raises `MetadataError` when it is read; an accepted one gives a type."""

        def use(accepted: DataType) -> None:
            try:
                check_document(accepted, what=f"data type {accepted.describe()}")
                np.empty(1, accepted.numpy)
            except (ValueError, TypeError, MemoryError) as error:
                raise ConformanceError(
                    CONFIGURATION,
                    f"{accepted.to_json()} is accepted but unusable: {type(error).__name__}: {error}",
                ) from error

        check_refusals(data_type_of(data_type), use, what="the data type")

    def test_pickling(self, data_type: Any) -> None:
        """A data type survives pickling."""
        made = data_type_of(data_type)
        copy = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
        require(copy == made, PICKLE, "the copy of a data type is not equal to it")

    def test_dtype(self, data_type: Any) -> None:
        """The dtype is in native byte order and has the sizes that it should; from it, no other type of the class comes."""
        made = data_type_of(data_type)
        dtype = made.numpy
        require(dtype.isnative, DATA_TYPES, f"{dtype!r} is not a native dtype")
        same(made.carrier.itemsize, dtype.itemsize, DATA_TYPES, "the bytes of an element of the carrier")
        lengths = dtype.hasobject or dtype.kind == "T"
        same(made.item_size, None if lengths else dtype.itemsize, DATA_TYPES, "item_size")
        swapped = [] if dtype.kind == "T" else [dtype.newbyteorder("<"), dtype.newbyteorder(">")]
        for spelling in (dtype, *swapped):
            found = type(made).from_numpy(spelling)
            same(
                None if found is None else found.numpy,
                None if found is None else dtype,
                DATA_TYPES,
                "from_numpy",
            )

    # ------------------------------------------------------------ fill values

    def test_default_fill(self, data_type: Any) -> None:
        """The default fill value is what `None` means, and comes back from its document."""
        made = data_type_of(data_type)
        fill = made.default_fill()
        self._same_fill(made, made.cast_fill(None), fill, "cast_fill(None)")
        self._comes_back(made, fill)

    def test_fill_values(self, data_type: Any) -> None:
        """Every value of the type is a fill value that comes back from its document bit by bit, NaN's payloads included."""
        made = data_type_of(data_type)

        @steady(self.examples)
        @given(seeds)
        def check(seed: int) -> None:
            for value in self.values(made, (3,), seed):
                self._comes_back(made, value)
                self._same_fill(made, made.cast_fill(value), value, f"cast_fill({shown(value)})")
                array = filled((2, 2), value, made.numpy)
                self._same_fill(made, array[1, 1], value, f"an array filled with {shown(value)}")

        check()

    def test_what_is_not_a_fill_value(self, data_type: Any) -> None:
        """Whatever stands in a document or is given by a user is a fill value that comes back, or a `MetadataError`."""
        made = data_type_of(data_type)

        @steady(self.examples)
        @given(documents, objects)
        def check(document: Any, given_: Any) -> None:
            for read, what in ((made.fill_from_json, document), (made.cast_fill, given_)):
                try:
                    found = read(what)
                except MetadataError:
                    continue
                except Exception as error:
                    raise ConformanceError(
                        FILLS,
                        f"{read.__name__}({what!r}) raised {type(error).__name__} ({error}), not MetadataError",
                    ) from error
                try:
                    self._comes_back(made, found)
                except (TypeError, ValueError) as error:
                    raise ConformanceError(
                        FILLS,
                        f"{read.__name__}({what!r}) returned {found!r}, which is not a scalar of the type",
                    ) from error

        check()

    # ------------------------------------------------------------ arrays

    def test_default_codecs(self, data_type: Any) -> None:
        """Arrays go through the codecs that a new array has by default, and come back bit by bit."""
        made = data_type_of(data_type)

        @steady(self.examples)
        @given(st.sampled_from(SHAPES), seeds)
        def check(shape: tuple[int, ...], seed: int) -> None:
            spec = ChunkSpec(shape, made, made.default_fill())
            array = self.values(made, shape, seed)
            for codecs in ((default_serializer(made),), default_codecs(made)):
                chain = CodecChain.build(codecs, spec)
                found = chain.decode(bytes(chain.encode(array)))
                require(
                    equal_bits(found, array), ROUND_TRIP, f"an array of shape {shape} came back different"
                )
                if made.item_size is not None and not codecs[1:]:
                    same(chain.encoded_size, spec.nbytes, DATA_TYPES, f"the encoded bytes of shape {shape}")
            if made.item_size is not None:
                sane = made.sanitize(array.copy())
                require(equal_bits(sane, array), DATA_TYPES, "sanitize changes values of the type")

        check()

    # ------------------------------------------------------------ helpers

    def _comes_back(self, made: DataType, fill: Any) -> None:
        document = made.fill_to_json(fill)
        try:
            text = json.dumps(document, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConformanceError(FILLS, f"fill_to_json({shown(fill)}) is not JSON: {error}") from error
        try:
            found = made.fill_from_json(json.loads(text))
        except MetadataError as error:
            raise ConformanceError(
                FILLS, f"fill_to_json({shown(fill)}) is {text}, which is refused: {error}"
            ) from error
        self._same_fill(made, found, fill, f"the fill value in the document {text}")

    def _same_fill(self, made: DataType, found: Any, expected: Any, what: str) -> None:
        one, other = (_array(made, value) for value in (found, expected))
        require(equal_bits(one, other), FILLS, f"{what} is {shown(found)}, not {shown(expected)}")


def _array(made: DataType, value: Any) -> Array:
    array = np.empty((1,), made.numpy)
    array[0] = value
    return array


__all__ = ["DataTypeConformance"]
