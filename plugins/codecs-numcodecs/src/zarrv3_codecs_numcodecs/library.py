"""numcodecs itself: its codecs by name, imported when the first chunk is encoded or decoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.codecs import Codec
from zarrv3.format.codecs.support import lazy
from zarrv3.format.extensions import check_members
from zarrv3.store.contract import JSON


@dataclass(frozen=True)
class NumCodec(Codec):
    """A codec of numcodecs, whose configuration is kept as the document spells it."""

    name: str
    configuration: Mapping[str, JSON] = field(default_factory=dict)

    required: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"codec {name!r}", configuration, cls.required, cls.optional)
        return cls(name, configuration)

    def __post_init__(self) -> None:
        """Check what numcodecs would only find out when it is called."""
        object.__setattr__(
            self, "configuration", {member: _plain(value) for member, value in self.configuration.items()}
        )
        for member, value in self.configuration.items():
            self._check(member, value)

    def _check(self, member: str, value: JSON) -> None:
        whole_number(self.name, member, value)

    def to_json(self) -> JSON:
        return {"name": self.name, "configuration": dict(self.configuration)}


def _plain(value: Any) -> JSON:
    """A value of a configuration as JSON has it: numbers of numpy, and dtypes, may be given too."""
    if isinstance(value, np.generic):
        return value.item()
    return np.dtype(value).str if isinstance(value, np.dtype | type) else value


def numcodec(name: str, configuration: Mapping[str, JSON]) -> Any:
    """The codec of numcodecs that `numcodecs.<id>` names; `UnknownExtensionError` if it needs a missing package."""
    identifier = name.removeprefix("numcodecs.")
    try:
        return lazy("numcodecs").get_codec({**configuration, "id": identifier})
    except (ImportError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, ImportError) or "codec not available" in str(error):
            package = {"pcodec": "pcodec", "zfpy": "zfpy"}.get(identifier, "numcodecs")
            raise UnknownExtensionError(f"codec {name!r} needs a package: pip install {package}") from error
        raise MetadataError(f"codec {name!r}: {error}") from error


def whole_number(codec: str, member: str, value: JSON) -> int:
    """An integer of a codec's configuration, of any size that C understands."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise MetadataError(f"codec {codec!r}: {member} must be an integer, not {value!r:.80}")
    return value
