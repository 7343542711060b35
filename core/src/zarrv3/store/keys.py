"""Which texts are keys, folders and prefixes, and which are refused."""

from collections.abc import Collection

from zarrv3.errors import InvalidKeyError

_NUL = "\0"
_JOINT = f"/{_NUL}/"


def check_keys(keys: Collection[str]) -> None:
    """Raise `InvalidKeyError` unless every text is a key.

    The usual case costs a few scans of one joined text, whatever the number of keys; only when something is wrong are
    the keys looked at one by one to name the culprit.
    """
    try:
        joined = f"/{_JOINT.join(keys)}/"
        sound = (
            "//" not in joined
            and "/./" not in joined
            and "/../" not in joined
            and joined.count(_NUL) == len(keys) - 1
            and (joined.isascii() or encodable(joined))
        )
    except TypeError:
        sound = False
    if not sound and keys:
        for key in keys:
            check_key(key)


def check_key(key: object) -> str:
    """Return the key, or raise `InvalidKeyError` that says what is wrong with it."""
    if not isinstance(key, str):
        raise InvalidKeyError(f"a key is text, not {type(key).__name__}: {key!r}")
    if not key:
        raise InvalidKeyError("a key must not be empty")
    for part in key.split("/"):
        if part in {"", ".", ".."}:
            what = "an empty part (a doubled, leading or trailing '/')" if not part else f"the part {part!r}"
            raise InvalidKeyError(f"key {key!r} has {what}; no store holds such keys")
    if _NUL in key:
        raise InvalidKeyError(f"key {key!r} contains a NUL character")
    if not encodable(key):
        raise InvalidKeyError(f"key {key!r} cannot be encoded as UTF-8 (it has an unpaired surrogate)")
    return key


def encodable(text: str) -> bool:
    """Whether the text has a UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_folder(folder: object) -> str:
    """Return a folder (`""` or a key followed by `/`; the `"/"` of zarr-python 2 means `""`), or raise `InvalidKeyError`."""
    if not isinstance(folder, str):
        raise InvalidKeyError(f"a folder is text, not {type(folder).__name__}: {folder!r}")
    if folder in {"", "/"}:
        return ""
    if not folder.endswith("/"):
        raise InvalidKeyError(f"a folder is '' or ends in '/', not {folder!r}")
    check_key(folder[:-1])
    return folder


def split_prefix(prefix: object) -> tuple[str, str]:
    """The folder a prefix lies in and the prefix itself: list the folder, keep what starts with the prefix."""
    if not isinstance(prefix, str):
        raise InvalidKeyError(f"a prefix is text, not {type(prefix).__name__}: {prefix!r}")
    if prefix.startswith("/"):
        raise InvalidKeyError(f"prefix {prefix!r} starts with '/'; keys do not")
    folder = check_folder(prefix[: prefix.rfind("/") + 1])
    return folder, prefix


def parent(key: str) -> str:
    """The folder a key or folder lies in (`""` at the top)."""
    return key[: key.rfind("/", 0, len(key) - 1) + 1]


def longest(keys: Collection[str]) -> int:
    """The UTF-8 length in bytes of the longest key."""
    return max(map(len, keys if all(map(str.isascii, keys)) else map(str.encode, keys)), default=0)


def summary(keys: Collection[str]) -> str:
    """How an error names a batch: the first key, and how many more there were."""
    first = next(iter(keys), None)
    if first is None:
        return "nothing"
    return f"{first!r}" if len(keys) == 1 else f"{first!r} (or one of {len(keys) - 1} more keys)"
