"""Text: strings of any length and strings of a fixed number of code points."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from zarrv3.errors import CorruptDataError
from zarrv3.format.data_types.base import Named
from zarrv3.format.data_types.binary import Padded
from zarrv3.store.contract import JSON

_LAST_CODE_POINT = 0x10FFFF


def text_of(value: Any) -> str | None:
    """A `str` that can be encoded as UTF-8; `None` for everything else."""
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return str(value)


@dataclass(frozen=True)
class String(Named):
    """`string`: text of any length, in memory numpy's `StringDType` without an object for missing elements."""

    serializer = "vlen-utf8"
    zero_is_default = True
    item_size = None
    numpy = np.dtypes.StringDType()

    name: str = "string"

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        return cls() if isinstance(dtype, np.dtypes.StringDType) else None

    def default_fill(self) -> Any:
        return ""

    def fill_from_json(self, value: JSON) -> Any:
        text = text_of(value)
        return self.refuse(value) if text is None else text

    def fill_to_json(self, value: Any) -> JSON:
        return str(value)


class FixedText(Padded):
    """`fixed_length_utf32`: numpy's `U`, which drops trailing null characters."""

    name = "fixed_length_utf32"
    scalar = np.str_
    unit = 4
    has_byte_order = True
    has_spare_bits = True

    def fill_from_json(self, value: JSON) -> Any:
        text = text_of(value)
        if text is None or len(text.rstrip("\0")) > self.length:
            self.refuse(value)
        return np.str_(text.rstrip("\0"))

    def fill_to_json(self, value: Any) -> JSON:
        return str(value)

    def sanitize(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        # numpy only fails when somebody looks at the element
        if array.size and np.ascontiguousarray(array).reshape(-1).view(np.uint32).max() > _LAST_CODE_POINT:
            raise CorruptDataError("a character is not a Unicode code point")
        return array
