"""numcodecs itself: its codecs by name, imported when the first chunk is encoded or decoded."""

from collections.abc import Mapping
from typing import Any

from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.codecs.support import lazy
from zarrv3.store.contract import JSON


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
