"""What all tests of the repository share: how long hypothesis searches, and the sums of the conformance kit.

How long is chosen by `HYPOTHESIS_PROFILE`.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

from zarrv3.testing import StoreConformance
from zarrv3.testing.checks.crowds import KILLS

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

settings.register_profile("default", max_examples=50, stateful_step_count=25, **_COMMON)
settings.register_profile("quick", max_examples=15, stateful_step_count=15, **_COMMON)
settings.register_profile("stress", max_examples=1000, stateful_step_count=50, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_sums: Counter[str] = Counter()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note at a test of the kit what it stands for; the note travels with the report, also between processes."""
    cls = getattr(item, "cls", None)
    if cls is None or not issubclass(cls, StoreConformance):
        return
    name = getattr(item, "originalname", item.name)
    long = {"test_writers_killed_often": cls.kills}
    kills = long.get(name, KILLS if name in {"test_killed_writers", "test_killed_transactions"} else 0)
    calls = {"test_like_a_dict": cls.examples * cls.steps, "test_like_a_dict_for_long": 500 * cls.examples}
    note = {"tests": 1, "random calls at most": calls.get(name, 0), "kills survived": kills}
    item.user_properties.append(("kit", (f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}", note)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what passed."""
    if report.when == "call" and report.passed:
        for name, (stack, note) in (found for found in report.user_properties if found[0] == "kit"):
            _sums.update(note)
            _sums[f"{name}:{stack}"] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the sums."""
    stacks = sum(1 for name in _sums if name.startswith("kit:"))
    if stacks:
        numbers = ", ".join(f"{count} {name}" for name, count in _sums.items() if not name.startswith("kit:"))
        terminalreporter.section("conformance kit")
        terminalreporter.line(f"{stacks} stores and layers: {numbers}")
