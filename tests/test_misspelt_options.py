"""A misspelt option is answered with the right one, briefly, whatever the scheme or layer."""

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.errors import ConfigurationError

SCHEMES = sorted({plugin.name for plugin in registry.plugins("stores")})
OTHERS = {
    "http": "further options belong to the address",
    "https": "further options belong to the address",
    "fsspec": "stands before another URL",
    "hf": "needs a package that the tests do not install",
    "icechunk": "stands before another URL",
    "kv": "an example: its only option is a secret",
    "obstore": "stands before another URL",
    "sql": "stands before another URL",
}
"""Schemes that are not asked, and why."""


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if "*" not in name and name not in OTHERS])
def test_schemes(scheme: str) -> None:
    """Every scheme names the option that was meant, also where it has dozens, or several packages serve it."""
    start = ":///" if zarrv3.registry.load("stores", scheme).example_url("x") else "://host/"
    with pytest.raises(ConfigurationError, match=r"did you mean 'dimension_separator'") as caught:
        zarrv3.open_store(f"{scheme}{start}x?dimension_seperator=/")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("scheme", ["s3", "lmdb", "redis", "mongodb", "postgresql", "mysql", "sftp"])
def test_schemes_with_many_options(scheme: str) -> None:
    """Where no option looks like what was written, some are named and the rest are counted."""
    start = ":///" if scheme == "lmdb" else "://host/"
    with pytest.raises(ConfigurationError, match=r"no (URL )?option 'qqq'; its .*, and \d+ others") as caught:
        zarrv3.open_store(f"{scheme}{start}x?qqq=1")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("plugin", [*registry.plugins("layers")], ids=lambda plugin: plugin.name)
def test_layers(plugin: registry.Plugin) -> None:
    """Every layer names the option that was meant, or the few that it has."""
    for name in registry.load("layers", plugin.name).declared().in_urls:
        if name == "archive":  # of zip: what it lies on
            continue
        with pytest.raises(ConfigurationError, match=f"did you mean '{name}'"):
            zarrv3.open_store(f"memory:|{plugin.name}:?{name}z=1")
    with pytest.raises(
        ConfigurationError, match=f"'{plugin.name}' has no URL option 'qqq'; its URL options are: "
    ):
        zarrv3.open_store(f"memory:|{plugin.name}:?qqq=1")
