"""What a key is called in the database: `<prefix>:<key>` for its value, as zarr-python 2 has it."""

import re
from dataclasses import dataclass

from zarrv3.errors import InvalidKeyError
from zarrv3.store.keys import check_key

_GLOB = re.compile(rb"([\\*?\[\]^-])")


@dataclass(frozen=True, slots=True)
class Names:
    """The names that belong to one prefix. All are bytes, so a client's encoding does not matter."""

    prefix: bytes
    """What the names of values begin with, the colon included."""
    index: bytes
    """The sorted set of all keys. No value has this name: no key contains `//`, whatever the prefix."""

    @classmethod
    def of(cls, prefix: str) -> "Names":
        """The names below a prefix."""
        return cls(f"{prefix}:".encode(), f"{prefix}//index".encode())

    def value(self, key: str) -> bytes:
        """The name of a key's value."""
        return self.prefix + key.encode()

    def pattern(self, folder: str) -> bytes:
        """The glob that matches the names below a folder and nothing else."""
        return _GLOB.sub(rb"\\\1", self.prefix + folder.encode()) + b"*"

    def key(self, name: bytes) -> str | None:
        """The key whose value has the name; `None` when it is the name of something else."""
        try:
            return check_key(name[len(self.prefix) :].decode())
        except (InvalidKeyError, UnicodeDecodeError):
            return None


def bounds(folder: str) -> tuple[bytes, bytes]:
    """The range of index members below a folder, as ZRANGEBYLEX takes it; the empty member is in none."""
    if not folder:
        return b"(", b"+"
    start = folder.encode()
    return b"[" + start, b"(" + start[:-1] + b"0"  # "0" is the character after "/"
