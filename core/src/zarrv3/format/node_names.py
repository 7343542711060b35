"""Names of groups and arrays, and paths made of them (core specification, "Node names")."""

import re

from zarrv3.errors import NodeNameError

_SURROGATE = "[\ud800-\udfff]"


def check_name(name: str) -> str:
    r"""The name itself; `NodeNameError` if the specification forbids it.

    Forbidden are the empty name, names of nothing but periods, the prefix `__`, `zarr.json`, and the characters `/` and
    NUL. Everything else is allowed: spaces, any script, `\` too, which is an ordinary character.
    """
    if not isinstance(name, str):
        raise NodeNameError(f"a node name is text, not {type(name).__name__}")
    if not name:
        reason = "it is empty"
    elif not name.strip("."):
        reason = "it consists of periods"
    elif name.startswith("__"):
        reason = "the prefix __ is reserved"
    elif name == "zarr.json":
        reason = "it is the key of metadata documents"
    elif "/" in name or "\0" in name:
        reason = "it contains / or NUL"
    elif not name.isascii() and re.search(_SURROGATE, name):
        reason = "it contains half a surrogate pair"
    else:
        return name
    raise NodeNameError(f"{name!r} cannot be the name of a node: {reason}")


def normalize_path(path: str | None) -> str:
    """The path of a node: names joined by `/`; the root is `""`.

    Slashes at either end do not matter. Raises `NodeNameError` for anything else that is not a path of allowed names.
    """
    if path is None:
        return ""
    if not isinstance(path, str):
        raise NodeNameError(f"a path is text, not {type(path).__name__}")
    stripped = path.strip("/")
    if stripped:
        for name in stripped.split("/"):
            check_name(name)
    return stripped
