"""What the classes for extensions of the format try: values of a data type, and configurations that are wrong."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from hypothesis import HealthCheck, given, settings

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.data_types import DataType
from zarrv3.format.extensions import NamedConfig
from zarrv3.store.contract import JSON
from zarrv3.testing.mutations import mutated
from zarrv3.testing.rules import CONFIGURATION, ConformanceError, only_our_errors, require, same

Array: TypeAlias = np.ndarray[Any, Any]

SHAPES = ((), (1,), (7,), (3, 4), (2, 3, 5), (1, 16, 1))
"""Chunk shapes that are tried."""

TEXTS = ("", "a", "añ€😀", "x" * 40, "\0", "ends in a space ", "日本")

WRONG_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1.5, "", "nonsense", [], [1], ["nonsense"], [[]], {}, {"name": 1}, [None, -7],
)  # fmt: skip
"""What the members of a configuration are replaced by: some of it may be right."""


def values(data_type: DataType, shape: tuple[int, ...], seed: int) -> Array:
    """An array of a data type: random bits, few different values, or a single value, depending on the seed."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    count = int(np.prod(shape, dtype=int))
    made = _sanitized(data_type, _any(data_type.numpy, count, rng)).reshape(shape)
    style = rng.randrange(4)
    if style == 0 or not count:
        return made
    return made.reshape(-1)[[rng.randrange(min(count, style**2)) for _ in range(count)]].reshape(shape)


def _any(dtype: np.dtype[Any], count: int, rng: random.Random) -> Array:
    if dtype.names:
        made = np.zeros(count, dtype)
        for name in dtype.names:
            field = dtype[name]
            base, inner = field.subdtype or (field, ())
            size = int(np.prod(inner, dtype=int))
            made[name] = _any(base, count * size, rng).reshape(count, *inner)
        return made
    if dtype.kind == "O":
        made = np.empty(count, dtype)
        made[:] = [rng.randbytes(rng.randrange(9)) for _ in range(count)]
        return made
    if dtype.kind in "TU":
        return np.array([rng.choice(TEXTS) for _ in range(count)], dtype=dtype).reshape(count)
    if dtype.kind == "b":
        return np.frombuffer(rng.randbytes(count), np.uint8) > 127
    size = dtype.itemsize
    raw = np.frombuffer(bytearray(rng.randbytes(count * size)), np.uint8).reshape(count, size)
    for place in range(0, count, 3):  # nothing, a NaN with a payload, minus zero, …
        raw[place, : rng.choice((0, size))] = rng.choice((0, 255))
        raw[place, -1:] = rng.choice((0, 127, 128, 255))
    return raw.reshape(-1).view(dtype).reshape(count)


def _sanitized(data_type: DataType, array: Array) -> Array:
    if not data_type.has_spare_bits:
        return array
    try:
        return data_type.sanitize(array)
    except CorruptDataError:  # values, of the few bits that are surely some
        return data_type.sanitize((array.view(np.uint8) & 1).view(array.dtype))


def equal_bits(one: Array, other: Array) -> bool:
    """Whether two arrays have one shape, dtype and content, NaNs and their payloads included."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject or one.dtype.kind == "T":
        return bool(one.tolist() == other.tolist())
    return one.tobytes() == other.tobytes()


# ---------------------------------------------------------------- configurations


def through_json(document: JSON, what: str) -> NamedConfig:
    """An extension's document after a round through text, taken apart."""
    try:
        text = json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConformanceError(CONFIGURATION, f"to_json() of {what} is not JSON: {error}") from error
    read = json.loads(text)
    same(read, document, CONFIGURATION, f"to_json() of {what} after a round through text")
    return NamedConfig.parse(read, what)


def steady(examples: int) -> settings:
    """How tests of extensions try so many examples: the same ones each time, however long they take."""
    return settings(
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=[*HealthCheck],
        max_examples=examples,
    )


def check_document(made: Any, *, what: str) -> Any:
    """An extension comes back from its document, equal and with the same document; returns what came back."""
    named = through_json(made.to_json(), what)
    try:
        again = type(made).from_json(named.name, named.configuration)
    except MetadataError as error:
        raise ConformanceError(CONFIGURATION, f"{what} refuses its own document: {error}") from error
    same(again.to_json(), made.to_json(), CONFIGURATION, f"to_json() of what from_json made of {what}")
    require(again == made, CONFIGURATION, f"{what} is not equal to what comes back from its document")
    return again


def check_refusals(made: Any, use: Callable[[Any], object], *, what: str) -> None:
    """Read configurations that are wrong, at any depth, and use what was made of those that were accepted.

    A member that is not known has to be refused, whatever else is wrong may be; nothing but `MetadataError` is raised.
    """
    named = NamedConfig.parse(made.to_json(), what)
    cls = type(made)
    unknown = {**named.configuration, "no such member": 1}
    if _read(cls, named.name, unknown, what) is not None:
        raise ConformanceError(
            CONFIGURATION, f"{what} accepts a configuration with a member 'no such member'"
        )

    def check(configuration: Mapping[str, JSON]) -> None:
        accepted = _read(cls, named.name, configuration, what)
        if accepted is not None:
            use(accepted)

    for configuration in _mutations(named.configuration):
        check(configuration)
    odd_ones = mutated(dict(named.configuration)).filter(lambda one: isinstance(one, dict))
    settings(
        derandomize=True, max_examples=100, database=None, deadline=None, suppress_health_check=[*HealthCheck]
    )(given(odd_ones)(check))()


def _mutations(configuration: Mapping[str, JSON]) -> Iterator[dict[str, JSON]]:
    for name, value in configuration.items():
        yield {other: item for other, item in configuration.items() if other != name}
        wrong = [*WRONG_VALUES]
        if isinstance(value, list):
            wrong += [value * 2, value[1:], [value], *([wrong] for wrong in WRONG_VALUES)]
        if isinstance(value, str):
            wrong += [value.upper(), f"{value} ", f"{value}\0"]
        if isinstance(value, int):
            wrong += [str(value), -value, value + 10**6]
        for item in wrong:
            yield {**configuration, name: item}


def _read(cls: Any, name: str, configuration: Mapping[str, JSON], what: str) -> Any:
    with only_our_errors(CONFIGURATION, f"from_json of {what}, for {dict(configuration)},", MetadataError):
        return cls.from_json(name, configuration)
    return None
