"""What several tests of the core share."""

from collections.abc import Iterator

import pytest

from zarrv3 import registry


@pytest.fixture
def without_sharding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry as it is where the package of shards is not installed."""
    there = [point for point in registry._installed() if point.name != "sharding_indexed"]
    monkeypatch.setattr(registry, "_installed", lambda: iter(there))
    registry.reset()
    yield
    monkeypatch.undo()
    registry.reset()
