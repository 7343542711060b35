"""`${NAME}` in URLs and configurations, taken from the environment at the last moment.

So secrets stay out of specs, pickles and logs.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from zarrv3.errors import ConfigurationError

_VARIABLE = r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)\}"


class Template(str):
    """A text of a URL or configuration that has `${NAME}` in it; `$${NAME}` stands for itself."""

    __slots__ = ()


def as_templates(value: Any) -> Any:
    """A configuration value with every text that mentions a variable marked as a template."""
    return _each(value, lambda text: Template(text) if "${" in text and re.search(_VARIABLE, text) else text)


def expand(value: Any) -> Any:
    """The value with the variables of its templates put in; raises `ConfigurationError` for one that is not set."""
    return _each(value, lambda text: _expanded(text) if isinstance(text, Template) else text)


def escape(value: Any) -> Any:
    """A plain value as it has to be written in a configuration to mean itself."""

    def written(text: str) -> str:
        return str(text) if isinstance(text, Template) else re.sub(_VARIABLE, lambda m: f"${m[0]}", text)

    return _each(value, written)


def values_of(value: Any) -> list[str]:
    """What the variables of a value stand for: never to be shown."""
    from urllib.parse import quote

    texts: list[str] = []
    _each(value, texts.append)
    templates = [text for text in texts if isinstance(text, Template)]
    names = [match[2] for text in templates for match in re.finditer(_VARIABLE, text) if not match[1]]
    plain = [os.environ[name] for name in names if os.environ.get(name)]
    return plain + [quote(text, safe="") for text in plain]


def _each(value: Any, change: Callable[[str], Any]) -> Any:
    """A value with all texts in it changed, at any depth."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict | Mapping):
        return {name: _each(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each(item, change) for item in value]
    return value


def _expanded(template: Template) -> str:
    """In a URL what is put in is percent-encoded."""

    def variable(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        value = os.environ.get(match[2])
        if value is None:
            raise ConfigurationError(
                f"the environment variable {match[2]} is not set, and the configuration takes a value from it"
            )
        if "://" not in template:
            return value
        from urllib.parse import quote

        return quote(value, safe="")

    return re.sub(_VARIABLE, variable, template)
