"""The conformance kit over every installed backend that needs no server: `pytest conformance.py`.

A backend is found because it is installed and gives an `example_url`, as in the demo. The author of a backend derives from
`StoreConformance` in the same way, with an opener of their own.
"""

from functools import partial
from pathlib import Path

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.testing import Opener, StoreConformance


def backends() -> list[type[zarrv3.BaseStore]]:
    """The classes of the installed backends that need no server, once each; a plugin that is broken raises."""
    kinds: tuple[registry.Kind, ...] = ("stores", "layers")
    found = {registry.load(kind, plugin.name): None for kind in kinds for plugin in registry.plugins(kind)}
    return [backend for backend in found if backend.example_url("/") is not None]


class TestInstalled(StoreConformance):
    """Whatever the store, it does what a store has to do."""

    @pytest.fixture(params=backends(), ids=lambda backend: backend.kind)
    def opener(self, request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
        """Opens the same new data with every call, by its URL."""
        return partial(zarrv3.open_store, request.param.example_url(str(tmp_path)))
