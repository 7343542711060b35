"""The codecs of numcodecs, called as in `zarr.codecs.numcodecs`: `LZ4(acceleration=2)`, `Delta(dtype="i4")`.

A name stands for a function that makes the codec; `zarrv3-codecs-numcodecs` provides them.
"""

from collections.abc import Callable
from typing import Any

from zarrv3.format.codecs import Codec
from zarrv3.format.extensions import NamedConfig
from zarrv3.registry import OFFERED

_NAMES = {
    name.removeprefix("numcodecs.").replace("_", ""): name
    for name in OFFERED["codecs"]
    if name.startswith("numcodecs.")
}


def __getattr__(name: str) -> Callable[..., Codec]:
    """What makes the codec of that name."""
    if (known := _NAMES.get(name.lower())) is None or name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)

    def make(**configuration: Any) -> Codec:
        return NamedConfig(known, configuration).resolve("codecs", Codec, name)  # type: ignore[type-abstract]

    return make
