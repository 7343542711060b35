"""Which tests of the conformance kit are slow over a server."""

import pytest

_LONG = (
    "killed_writers",
    "processes_that_write_over",
    "processes_at_once",
    "counting_processes",
    "interrupted_calls",
    "many_keys",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if "TestObstore" in item.nodeid and item.name.removeprefix("test_") in _LONG:
            item.add_marker(pytest.mark.slow)
