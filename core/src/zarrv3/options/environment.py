"""`${NAME}` in URLs and configurations, taken from the environment at the last moment.

So secrets stay out of specs, pickles and logs.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from zarrv3.errors import ConfigurationError

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Template(str):
    """A text of a URL or configuration that has `${NAME}` in it; `$${NAME}` stands for itself."""

    __slots__ = ()

    @property
    def is_url(self) -> bool:
        """Whether values have to be percent-encoded when they are put in."""
        return "://" in self


def as_templates(value: Any) -> Any:
    """A configuration value with every text that mentions a variable marked as a template."""
    if isinstance(value, str):
        return Template(value) if _VARIABLE.search(value) else value
    if isinstance(value, Mapping):
        return {name: as_templates(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_templates(item) for item in value]
    return value


def expand(value: Any) -> Any:
    """The value with the variables of its templates put in; raises `ConfigurationError` for one that is not set."""
    if isinstance(value, Template):
        is_url = value.is_url
        return _VARIABLE.sub(lambda match: _variable(match, is_url=is_url), value)
    if isinstance(value, Mapping):
        return {name: expand(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [expand(item) for item in value]
    return value


def escape(value: Any) -> Any:
    """A plain value as it has to be written in a configuration to mean itself."""
    if isinstance(value, str) and not isinstance(value, Template):
        return _VARIABLE.sub(lambda match: f"${match[0]}", value)
    if isinstance(value, Mapping):
        return {name: escape(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [escape(item) for item in value]
    return str(value) if isinstance(value, Template) else value


def values_of(value: Any) -> list[str]:
    """What the variables of a value stand for: never to be shown."""
    if isinstance(value, Template):
        names = [match[2] for match in _VARIABLE.finditer(value) if not match[1]]
        plain = [os.environ[name] for name in names if os.environ.get(name)]
        from urllib.parse import quote

        return plain + [quote(text, safe="") for text in plain]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in values_of(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in values_of(item)]
    return []


def _variable(match: re.Match[str], *, is_url: bool) -> str:
    if match[1]:
        return match[0][1:]
    value = os.environ.get(match[2])
    if value is None:
        raise ConfigurationError(
            f"the environment variable {match[2]} is not set; the configuration asks for ${{{match[2]}}}"
        )
    if not is_url:
        return value
    from urllib.parse import quote

    return quote(value, safe="")
