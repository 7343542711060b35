"""The conformance class for codecs: derive, give one fixture, and every check is a test of yours.

    class TestMyCodec(CodecConformance):
        @pytest.fixture
        def codec(self):
            return {"name": "my-codec", "configuration": {"level": 3}}

What chunks it is tried on follows from the data types that it accepts, of those in `data_types`.
"""

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import CorruptDataError, LimitError, MetadataError, ZarrError
from zarrv3.format.codecs import (
    ArrayArrayCodec,
    ArrayBytesCodec,
    BytesBytesCodec,
    ChunkSpec,
    Codec,
    CodecChain,
    default_serializer,
    parse_codec,
)
from zarrv3.format.data_types import DataType, data_type_of, filled
from zarrv3.store.contract import Buffer
from zarrv3.testing.mutations import damaged
from zarrv3.testing.processes import threads_together
from zarrv3.testing.rules import (
    CARRIED_FILLS,
    CHECKSUM,
    CONFIGURATION,
    DAMAGE,
    ENCODED_SIZE,
    FITS,
    PICKLE,
    ROUND_TRIP,
    ConformanceError,
    only_our_errors,
    require,
    same,
)
from zarrv3.testing.samples import SHAPES, Array, check_document, check_refusals, equal_bits, steady, values
from zarrv3.testing.smoke import SmokeTested

seeds = st.integers(0, 1 << 20)
bytes_ = st.one_of(
    st.binary(max_size=300), st.builds(lambda b, n: b * n, st.binary(max_size=5), st.integers(0, 900))
)


class CodecConformance(SmokeTested):
    """Everything a codec has to do; the subclass gives the fixture `codec`."""

    fixture = "codec"
    data_types: ClassVar[Sequence[Any]] = (
        "bool", "int8", "int32", "uint16", "uint64", "float16", "float32", "float64", "complex64", "M8[s]", "r24", "U3",
        "string", "bytes", [("a", "i4"), ("b", "?")],
    )  # fmt: skip
    """The data types that are tried, as `zarrv3.create_array` takes them."""
    shapes: ClassVar[Sequence[tuple[int, ...]]] = SHAPES
    """The chunk shapes that are tried."""
    lossless: ClassVar[bool] = True
    """Whether what is decoded has the bits of what was encoded."""
    encodes_fill: ClassVar[bool] = True
    """Whether a codec from arrays to arrays gives the encoded fill value to the codecs behind it, not the same number."""
    examples: ClassVar[int] = 60
    """How many chunks each test tries."""

    @pytest.fixture
    def codec(self) -> Any:
        """Return the codec, or its document (then it has to be installed): override this."""
        pytest.fail(f"{type(self).__name__} has to define the fixture `codec`; see zarrv3.testing.codecs")

    def try_out(self, extension: Any) -> None:
        """Encode and decode some chunks of the largest shape and the first data type that fit."""
        made = parse_codec(extension)
        fitting = [*self._specs(made)]
        require(fitting, FITS, f"the codec fits none of the data types {[*map(str, self.data_types)]}")
        spec = max(fitting, key=lambda spec: math.prod(spec.shape))
        chain = CodecChain.build(self._around(made, spec), spec)
        for seed in range(3):
            array = self.values(spec.data_type, spec.shape, seed)
            found = np.asarray(chain.decode(chain.encode(array)))
            what = f"a chunk of {_shown(spec)}"
            same((found.shape, found.dtype), (array.shape, array.dtype), ROUND_TRIP, what)
            require(not self.lossless or equal_bits(found, array), ROUND_TRIP, f"{what} came back different")

    def test_basics(self, codec: Any) -> None:
        """The codec can be made, fits some chunk, and gives it back."""
        self.check_basics(codec)

    # ------------------------------------------------------------ the configuration

    def test_document(self, codec: Any) -> None:
        """The codec comes back from its document, also as it is recorded for a chunk."""
        made = parse_codec(codec)
        check_document(made, what=f"codec {made!r}")
        for spec in self._specs(made):
            evolved = made.evolve(spec)
            check_document(evolved, what=f"codec {made!r}, evolved for {_shown(spec)}")
            require(
                evolved.evolve(spec) == evolved, CONFIGURATION, "a codec that was evolved evolves further"
            )
            chain = CodecChain.build(self._around(made, spec), spec)
            again = CodecChain.build(map(_again, chain.codecs), spec)
            data = chain.encode(self.values(spec.data_type, spec.shape, 4))
            what = f"what comes back from the document does not decode {_shown(spec)} as the codec does"
            try:
                found = np.asarray(again.decode(data))
            except CorruptDataError as error:
                raise ConformanceError(CONFIGURATION, f"{what}: {error}") from error
            require(equal_bits(np.asarray(chain.decode(data)), found), CONFIGURATION, what)

    def test_malformed_configurations(self, codec: Any) -> None:
        """A wrong configuration raises `MetadataError`, at the latest when the codec meets a chunk."""
        made = parse_codec(codec)
        specs = [*self._specs(made)][:4]

        def use(accepted: Codec) -> None:
            for spec in specs:
                with only_our_errors(
                    CONFIGURATION, f"{accepted.to_json()} for {_shown(spec)}", MetadataError
                ):
                    accepted.evolve(spec)  # itself: a chain would translate what it raises
                    CodecChain.build(self._around(accepted, spec), spec)

        check_refusals(made, use, what="the codec")

    def test_pickling(self, codec: Any) -> None:
        """A codec survives pickling."""
        made = parse_codec(codec)
        require(pickle.loads(pickle.dumps(made)) == made, PICKLE, "the copy of a codec is not equal to it")  # noqa: S301

    def test_what_does_not_fit(self, codec: Any) -> None:
        """A chunk that the codec cannot encode is refused with `MetadataError`; some chunk can be encoded."""
        fitting = [*self._specs(parse_codec(codec))]
        require(fitting, FITS, f"the codec fits none of the data types {[*map(str, self.data_types)]}")

    # ------------------------------------------------------------ round trips

    def test_round_trips(self, codec: Any) -> None:
        """Chunks of all shapes and data types decode to what was encoded, whatever memory holds them."""
        chains = self._chains(codec)

        @steady(self.examples)
        @given(st.sampled_from(chains), seeds)
        def check(chain: CodecChain, seed: int) -> None:
            array = self.values(chain.spec.data_type, chain.spec.shape, seed)
            before = array.copy()
            data = bytes(chain.encode(array))
            require(equal_bits(array, before), ROUND_TRIP, "encoding changed what was encoded")
            if chain.encoded_size is not None:
                same(
                    len(data), chain.encoded_size, ENCODED_SIZE, f"the encoded bytes of {_shown(chain.spec)}"
                )
            for kind in (bytes, bytearray, memoryview):
                self._decodes(chain, kind(data), array)
            strided = np.array(array, order="F")
            self._decodes(chain, chain.encode(strided), array)
            padded = np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
            self._decodes(chain, chain.encode(padded), array)

        check()

    def test_nobodys_memory(self, codec: Any) -> None:
        """What was encoded stays as it is when the array changes, and what was decoded when the encoded bytes do."""
        for chain in self._chains(codec):
            if chain.spec.nbytes is None or not chain.spec.shape:
                continue
            array = self.values(chain.spec.data_type, chain.spec.shape, 1)
            data = chain.encode(array)
            before = bytes(data)
            array.reshape(-1).view(np.uint8)[:] ^= 255
            same(bytes(data), before, ROUND_TRIP, "encoded bytes after their array was changed")
            out = np.empty(chain.spec.shape, chain.spec.data_type.numpy)
            given = bytearray(before)
            chain.decode(given, out)
            kept = out.copy()
            given[:] = bytes(len(given))
            require(
                equal_bits(out, kept),
                ROUND_TRIP,
                "a decoded chunk changed with the bytes it was decoded from",
            )

    def test_memory_beside_is_left_alone(self, codec: Any) -> None:
        """Decoding into memory writes into it and not beside it."""
        for chain in self._chains(codec):
            spec = chain.spec
            if spec.nbytes is None:
                continue
            array = self.values(spec.data_type, spec.shape, 2)
            memory = np.empty((3, *spec.shape), spec.data_type.numpy)
            memory.reshape(-1).view(np.uint8)[:] = 0x5A
            chain.decode(chain.encode(array), memory[1:2].reshape(spec.shape))
            for beside in (memory[:1], memory[2:]):
                raw = beside.reshape(-1).view(np.uint8)
                require(
                    bool((raw == 0x5A).all()), ROUND_TRIP, "decoding wrote outside the memory it was given"
                )

    def test_claims_about_size(self, codec: Any) -> None:
        """What a codec says about its encoded bytes, and about the arrays that it makes, is true."""
        made = parse_codec(codec)
        if isinstance(made, BytesBytesCodec):
            self._sizes_of_bytes(made)
        for spec in self._specs(made):
            evolved = made.evolve(spec)
            array = self.values(spec.data_type, spec.shape, 3)
            if isinstance(evolved, ArrayArrayCodec):
                found, claimed = evolved.encode(array, spec), evolved.resolve(spec)
                expected = (claimed.shape, claimed.data_type.numpy)
                same((found.shape, found.dtype), expected, ENCODED_SIZE, f"what {_shown(spec)} resolves to")
            elif isinstance(evolved, ArrayBytesCodec):
                data, size = evolved.encode(array, spec), evolved.encoded_size(spec)
                require(
                    size in {None, len(data)},
                    ENCODED_SIZE,
                    f"{_shown(spec)} has {len(data)} bytes, not {size}",
                )
                if evolved.is_plain(spec):
                    same(
                        bytes(data),
                        array.tobytes(),
                        ENCODED_SIZE,
                        f"the bytes of {_shown(spec)}, said to be plain",
                    )

    def test_fill_values(self, codec: Any) -> None:
        """Elements that were never written are the fill value too where a codec behind this one fills them in."""
        made = parse_codec(codec)
        if not isinstance(made, ArrayArrayCodec):
            pytest.skip("the fill value ends at a codec that makes bytes")
        for spec, seed in product(self._specs(made), range(4)):
            fill = self.values(spec.data_type, (1,), seed)[0]
            given = spec._replace(fill_value=fill)
            try:
                evolved = made.evolve(given)
                claimed = evolved.resolve(given)
            except MetadataError:  # a fill value that it cannot carry
                continue
            array = filled(spec.shape, fill, spec.data_type.numpy)
            with np.errstate(all="ignore"):
                found = filled(claimed.shape, claimed.fill_value, claimed.data_type.numpy)
                wanted = filled(claimed.shape, fill, spec.data_type.numpy).astype(found.dtype)
                if self.encodes_fill:
                    wanted = evolved.decode(evolved.encode(array, given), given)
                    found = evolved.decode(found, given)
            what = (
                f"{_shown(spec)}: resolve() makes {claimed.fill_value!r} of the fill value {fill!r}, but a chunk of nothing "
                "else means other values; make one that does, raise MetadataError, or say `encodes_fill = False`"
            )
            require(equal_bits(np.asarray(found), np.asarray(wanted)), CARRIED_FILLS, what)

    def test_many_threads(self, codec: Any) -> None:
        """Threads that encode and decode different chunks with one codec do not disturb each other."""
        for chain in self._chains(codec)[::5]:

            def work(number: int, chain: CodecChain) -> None:
                array = self.values(chain.spec.data_type, chain.spec.shape, number)
                data = chain.encode(array)
                for _ in range(10):
                    require(
                        chain.encode(array) == data, ROUND_TRIP, "encoded differently among other threads"
                    )
                    self._decodes(chain, data, array)

            threads_together([partial(work, number, chain) for number in range(4)])

    # ------------------------------------------------------------ damage

    def test_damaged_bytes(self, codec: Any) -> None:
        """Bytes that were cut, lengthened or changed raise `CorruptDataError`, or decode to the right shape and size."""
        made = parse_codec(codec)
        if isinstance(made, ArrayArrayCodec):
            pytest.skip("a codec from arrays to arrays meets no stored bytes")

        @steady(self.examples)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            for decode, encoded in self._victims(made, data):
                for victim in _damaged(encoded, data):
                    decode(victim)

        check()

    def test_claimed_checksum(self, codec: Any) -> None:
        """Where the codec says that it has a checksum, a flipped bit never gives other bytes or elements."""
        made = parse_codec(codec)
        if not made.has_checksum:
            pytest.skip("the codec does not say that it has a checksum")
        chain = max(self._chains(codec), key=lambda chain: chain.spec.item_count)
        array = self.values(chain.spec.data_type, chain.spec.shape, 3)
        encoded = bytes(chain.encode(array))
        for bit in range(0, 8 * len(encoded), 1 + len(encoded) // 100):
            victim = bytearray(encoded)
            victim[bit // 8] ^= 1 << bit % 8
            with suppress(CorruptDataError, LimitError):
                found = np.asarray(chain.decode(bytes(victim)))
                require(
                    equal_bits(found, array), CHECKSUM, f"bit {bit} of {len(encoded)} bytes can be flipped"
                )

    def test_nothing_larger_than_allowed(self, codec: Any) -> None:
        """Bytes that decode to more than they may raise `CorruptDataError` and nothing else."""
        made = parse_codec(codec)
        if not isinstance(made, BytesBytesCodec):
            pytest.skip("not a codec from bytes to bytes")
        evolved = made.evolve(_bytes_spec(4096))
        data = bytes(evolved.encode(bytes(4096)))
        for size, limit in ((None, 100), (100, None), (5000, None), (0, None), (None, 0)):
            try:
                found = evolved.decode(data, size, None, limit=limit)
            except CorruptDataError:
                continue
            raise ConformanceError(
                DAMAGE, f"{len(found)} bytes were decoded with size={size} and limit={limit}"
            )
        same(
            bytes(evolved.decode(data, None, None, limit=4096)),
            bytes(4096),
            DAMAGE,
            "decoded with limit=4096",
        )

    # ------------------------------------------------------------ helpers

    def values(self, data_type: DataType, shape: tuple[int, ...], seed: int) -> Array:
        """An array to be encoded: override it for a codec that takes only some values."""
        return values(data_type, shape, seed)

    def _specs(self, codec: Codec) -> Iterator[ChunkSpec]:
        """The chunks that the codec accepts, of those that are tried; refusing them raises `MetadataError` only."""
        for named in self.data_types:
            data_type = data_type_of(named)
            for shape in self.shapes:
                spec = ChunkSpec(shape, data_type, data_type.default_fill())
                try:
                    codec.evolve(spec)  # itself: a chain would translate what it raises
                    CodecChain.build(self._around(codec, spec), spec)
                except MetadataError:
                    continue
                except Exception as error:
                    raise ConformanceError(
                        FITS, f"{_shown(spec)} raised {type(error).__name__} ({error}), not MetadataError"
                    ) from error
                yield spec

    def _around(self, codec: Codec, spec: ChunkSpec) -> list[Codec]:
        """The codec with the serializer that it needs."""
        if isinstance(codec, ArrayArrayCodec):
            return [codec, default_serializer(codec.evolve(spec).resolve(spec).data_type)]
        return [codec] if isinstance(codec, ArrayBytesCodec) else [default_serializer(spec.data_type), codec]

    def _chains(self, codec: Any) -> list[CodecChain]:
        made = parse_codec(codec)
        return [CodecChain.build(self._around(made, spec), spec) for spec in self._specs(made)]

    def _decodes(self, chain: CodecChain, data: Buffer, array: Array) -> None:
        """What bytes decode to, with and without memory given, is the array, if the codec keeps everything."""
        kept = bytes(data)
        found = chain.decode(data)
        what = f"a chunk of {_shown(chain.spec)}"
        same((found.shape, found.dtype), (array.shape, array.dtype), ROUND_TRIP, what)
        out = _other_bits(np.asarray(found))
        require(chain.decode(data, out) is out, ROUND_TRIP, "decode(buffer, out) did not return `out`")
        require(equal_bits(np.asarray(found), out), ROUND_TRIP, f"{what} differs when decoded into memory")
        require(not self.lossless or equal_bits(out, array), ROUND_TRIP, f"{what} came back different")
        same(bytes(data), kept, ROUND_TRIP, "the encoded bytes after decoding")

    def _sizes_of_bytes(self, made: BytesBytesCodec) -> None:
        for size in (1, 2, 8, 1000, 65_536):
            evolved = made.evolve(_bytes_spec(size))
            data = values(data_type_of("uint8"), (size,), size).tobytes()
            encoded = bytes(evolved.encode(data))
            claimed = evolved.encoded_size(size)
            require(
                claimed in {None, len(encoded)},
                ENCODED_SIZE,
                f"{size} bytes become {len(encoded)}, not {claimed}",
            )
            out = bytearray(size + 2)
            evolved.decode(encoded, size, memoryview(out)[1:-1])
            same(bytes(out), b"\0" + data + b"\0", ROUND_TRIP, f"{size} bytes decoded into memory")
            same(bytes(evolved.decode(encoded, size)), data, ROUND_TRIP, f"{size} bytes")
            same(
                bytes(evolved.decode(encoded, None, limit=size)),
                data,
                ROUND_TRIP,
                f"{size} bytes of no known size",
            )

    def _victims(self, made: Codec, data: st.DataObject) -> Iterator[tuple[Callable[[bytes], None], bytes]]:
        """Encoded bytes, each with what decodes them and raises if that goes wrong in a wrong way."""
        if isinstance(made, BytesBytesCodec):
            content = data.draw(bytes_.filter(len))
            compressor = made.evolve(_bytes_spec(len(content)))
            yield partial(_decode_bytes, compressor, len(content)), bytes(compressor.encode(content))
            return
        spec = data.draw(st.sampled_from([*self._fitting(made)]))
        serializer = cast("ArrayBytesCodec", made.evolve(spec))
        array = self.values(spec.data_type, spec.shape, data.draw(seeds))
        yield partial(_decode_chunk, serializer, spec), bytes(serializer.encode(array, spec))

    def _fitting(self, made: Codec) -> list[ChunkSpec]:
        known: dict[str, list[ChunkSpec]] = self.__dict__.setdefault("_known", {})
        key = repr(made.to_json())
        if key not in known:
            known[key] = [*self._specs(made)]
        return known[key]


def _again(codec: Codec) -> Codec:
    return cast("Codec", check_document(codec, what=f"codec {codec!r}"))


def _bytes_spec(size: int) -> ChunkSpec:
    return ChunkSpec((size,), data_type_of("uint8"), 0)


def _damaged(encoded: bytes, data: st.DataObject) -> Iterator[bytes]:
    """Damaged copies of some bytes."""
    yield b""
    yield encoded + data.draw(st.binary(min_size=1, max_size=9))
    yield data.draw(st.binary(max_size=40))
    yield encoded[: data.draw(st.integers(0, max(0, len(encoded) - 1)))]
    yield data.draw(damaged(encoded))
    yield data.draw(damaged(encoded[:16])) + encoded[16:]  # most formats have a header


def _decode_bytes(codec: BytesBytesCodec, size: int, damaged: bytes) -> None:
    for exact, limit in ((size, None), (None, size)):
        found = _guarded(partial(codec.decode, damaged, exact, None, limit=limit), damaged)
        if found is None:
            continue
        right = len(found) == size if limit is None else len(found) <= size
        require(right, DAMAGE, f"{len(found)} bytes were decoded where {size} are expected")
    out = bytearray(size + 2)
    _guarded(lambda: codec.decode(damaged, size, memoryview(out)[1:-1]), damaged)
    same((out[0], out[-1]), (0, 0), DAMAGE, "the memory beside that damaged bytes were decoded into")


def _other_bits(array: Array) -> Array:
    """Memory for an array of these values in which no byte is right yet; texts are all empty."""
    if array.dtype.hasobject or array.dtype.kind == "T":
        return np.empty(array.shape, array.dtype)
    raw = np.frombuffer(array.tobytes(), np.uint8) ^ 255
    return raw.view(array.dtype).reshape(array.shape)


def _decode_chunk(codec: ArrayBytesCodec, spec: ChunkSpec, damaged: bytes) -> None:
    expected = (spec.shape, spec.data_type.numpy)
    for out in (None, np.empty(*expected)):
        found = _guarded(partial(codec.decode, damaged, spec, out), damaged)
        if found is None:
            continue
        same((found.shape, found.dtype), expected, DAMAGE, "what damaged bytes decoded to")
        size = codec.encoded_size(spec)
        require(
            size in {None, len(damaged)},
            DAMAGE,
            f"{len(damaged)} bytes were decoded where {size} are expected",
        )


def _guarded(call: Callable[[], Any], damaged: bytes) -> Any:
    try:
        return call()
    except (CorruptDataError, LimitError):
        return None
    except Exception as error:
        text = "another of our errors" if isinstance(error, ZarrError) else "a raw error"
        raise ConformanceError(
            DAMAGE,
            f"damaged bytes raised {text}, {type(error).__name__}: {error}; they were {damaged[:60]!r}",
        ) from error


def _shown(spec: ChunkSpec) -> str:
    return f"{spec.data_type.describe()} {spec.shape} ({math.prod(spec.shape)} elements)"


__all__ = ["CodecConformance"]
