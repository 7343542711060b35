"""What every data type provides: its numpy form, its JSON form and its fill values."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.extensions import NamedConfig, check_members, shown
from zarrv3.store.contract import JSON


class DataType(ABC):
    """A data type of the specification or of an extension; instances are immutable and compare by value."""

    serializer: ClassVar[str] = "bytes"
    """The name of the array → bytes codec of a new array."""

    zero_is_default: ClassVar[bool] = False
    """The integer 0 stands for the default fill value, as in zarr 2: for types without a zero."""

    number: ClassVar[Literal["integer", "float", "complex"] | None] = None
    """What kind of number an element is; `None` for what is not a number."""

    portable: ClassVar[bool] = True
    """Documents with it may be stored; false for types that exist only in what a layer shows."""

    @classmethod
    @abstractmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """The type that a document calls `name`; `MetadataError` for a configuration that it does not know."""

    @classmethod
    @abstractmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        """The type whose arrays have this dtype in memory (in any byte order); `None` if it is not of this class."""

    @property
    @abstractmethod
    def numpy(self) -> np.dtype[Any]:
        """The dtype of arrays in memory, in native byte order."""

    @property
    def has_byte_order(self) -> bool:
        """The `bytes` codec must be told the byte order."""
        return False

    @property
    def implied_endian(self) -> str | None:
        """The byte order of old arrays whose `bytes` codec does not say it."""
        return None

    @property
    def has_spare_bits(self) -> bool:
        """Not every pattern of bits is a value: decoded arrays must pass through `sanitize`."""
        return False

    @property
    def item_size(self) -> int | None:
        """Bytes of an encoded element; `None` where elements differ in length."""
        return self.numpy.itemsize

    @property
    def carrier(self) -> np.dtype[Any]:
        """A dtype of the same layout that numpy can byte-swap: what the `bytes` codec handles."""
        return self.numpy

    @property
    def component(self) -> np.dtype[Any]:
        """The dtype of either part of a complex number; of everything else that of an element."""
        return self.numpy

    @abstractmethod
    def to_json(self) -> JSON:
        """The value of `data_type` in a document."""

    @abstractmethod
    def default_fill(self) -> Any:
        """The fill value of an array that was created without one."""

    def cast_fill(self, value: Any) -> Any:
        """A user's fill value as a scalar of this type; `None` is the default, `MetadataError` if it does not fit."""
        value = plain(value)
        is_default = value is None or (self.zero_is_default and is_zero(value))
        return self.default_fill() if is_default else self.fill_from_user(value)

    def fill_from_user(self, value: Any) -> Any:
        """What a user's value means that is not the default; unless overridden, what it would mean in a document."""
        return self.fill_from_json(value)

    @abstractmethod
    def fill_from_json(self, value: JSON) -> Any:
        """The scalar that a document's `fill_value` means."""

    @abstractmethod
    def fill_to_json(self, value: Any) -> JSON:
        """The scalar as it stands in a document: exact, whatever its bits are."""

    def sanitize(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A decoded array with spare bits cleared; `CorruptDataError` if elements are not values of this type."""
        return array

    def refuse(self, value: Any) -> NoReturn:
        """Raise the `MetadataError` for a fill value that is not one of this type."""
        raise MetadataError(f"fill_value {shown(value)} is not a value of data type {self.describe()}")

    def describe(self) -> str:
        """The type in a few words, for errors."""
        named = NamedConfig.parse(self.to_json(), "data_type")
        return text if len(text := str(named)) < 100 else named.name


@dataclass(frozen=True)
class Named(DataType):
    """A type that is no more than its name: it has no configuration."""

    name: str

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"data type {name!r}", configuration)
        return cls(name)

    def to_json(self) -> JSON:
        return self.name


def plain(value: Any) -> Any:
    """A 0-d array as its scalar, everything else as it is."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value[()]
    return value


def is_zero(value: Any) -> bool:
    """Whether a fill value is the plain integer 0, which zarr 2 used as "the default" for every type."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) == 0
