"""The conformance kit over every installed backend, found and not listed.

A store or adapter class that offers `example_url` takes part, and so does whatever a plugin's hook `zarrv3_conformance`
offers: functions that take a new folder and return an opener.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.opening import hooks
from zarrv3.testing import Opener, StoreConformance

Offer = Callable[[Path], Opener]


def offers() -> dict[str, Offer]:
    """The backends there are, by name."""
    found: dict[str, Offer] = {}
    for kind in ("stores", "layers"):
        for plugin in registry.plugins(kind):  # type: ignore[arg-type]
            cls = registry.load(kind, plugin.name)  # type: ignore[arg-type]
            if cls.example_url("/folder") is not None:
                found[cls.kind] = partial(_by_url, cls)
    for offered in hooks.call_each("zarrv3_conformance"):
        found |= offered
    return found


def _by_url(cls: Any, folder: Path) -> Opener:
    return partial(zarrv3.open_store, cls.example_url(str(folder)))


class TestEveryBackend(StoreConformance):
    """The kit over each of them, opened by URL."""

    examples = 5

    @pytest.fixture(params=[pytest.param(offer, id=name) for name, offer in sorted(offers().items())])
    def opener(self, request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
        """What opens a new store of the backend."""
        opener: Opener = request.param(tmp_path)
        return opener


def test_the_directory_store_is_among_them() -> None:
    """Discovery finds something: at least the store that every installation has."""
    assert "directory" in offers()
