"""Which kernels are in use: the plugin of the group `zarrv3.kernels` that the setting `kernels` names."""

from typing import Any

from zarrv3.errors import RegistryError
from zarrv3.options.settings import SETTINGS, config
from zarrv3.registry import installed, load

_made: dict[type[Any], Any] = {}
_last: tuple[object, Any] | None = None


def kernels() -> Any:
    """The kernels in use, `None` without any.

    The environment and the configuration file are looked at once, settings made in code always. Raises `RegistryError`
    if the setting names kernels that are not installed or cannot be loaded; the default ones are then done without.
    """
    global _last  # noqa: PLW0603 - asked for with every batch
    stamp = config.stamp
    if _last is None or _last[0] is not stamp:
        _last = stamp, _wanted()
    return _last[1]


def _wanted() -> Any:
    name: str = config.get("kernels")
    is_default = name == SETTINGS["kernels"].default
    if name == "none" or (is_default and not installed("kernels", name)):
        return None
    try:
        cls = load("kernels", name)
    except RegistryError:
        if is_default:  # installed where there was no compiler
            return None
        raise
    if cls not in _made:
        _made[cls] = cls()
    return _made[cls]
