"""Running checks against a live store."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from zarrv3.errors import ConfigurationError
from zarrv3.layers.prefix import Prefix
from zarrv3.store.wrapping import wrap
from zarrv3.testing.checks.table import TABLE, Check, Opener, opened
from zarrv3.testing.rules import NotApplicableError


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How a check ended."""

    check: Check
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""
    """Why it failed or was skipped."""
    seconds: float = 0.0


class Scratch:
    """An opener of one folder of what another opener opens."""

    def __init__(self, opener: Opener, folder: str) -> None:
        self.opener = opener
        self.folder = folder

    def __call__(self) -> Prefix:
        """Open it."""
        return Prefix(wrap(self.opener()), self.folder)


def run_checks(
    opener: Opener, scratch: str = "zarrv3-check", checks: Sequence[Check] | None = None
) -> Iterator[Result]:
    """Run checks against a store, each in a folder of its own below `scratch`, which is erased afterwards.

    Nothing outside `scratch` is touched. Results come as the checks end; errors of any kind are results. When the basics
    fail, the other checks are skipped.
    """
    with opened(opener) as store:
        capabilities = store.capabilities
        if (
            capabilities.write
            and capabilities.list
            and next(store.list_prefix(f"{scratch}/"), None) is not None
        ):
            raise ConfigurationError(
                f"{scratch!r} in {store.describe()} is not empty; name another scratch folder"
            )
    broken = ""
    for check in TABLE if checks is None else checks:
        missing = check.missing(capabilities)
        if missing:
            yield Result(check=check, outcome="skipped", reason=f"not claimed: {', '.join(missing)}")
            continue
        inside = Scratch(opener, f"{scratch}/{check.name}") if capabilities.write else opener
        if broken:
            yield Result(check=check, outcome="skipped", reason=f"not run, since the basics fail: {broken}")
            continue
        result = _run(check, inside)
        if result.outcome == "failed" and check.name == "basics":
            broken = result.reason.partition("\n")[0]
        yield result
        if capabilities.erase and capabilities.write:
            with opened(opener) as store:
                store.erase_prefix(f"{scratch}/")


def _run(check: Check, opener: Opener) -> Result:
    start = time.perf_counter()
    try:
        check.run(opener)
    except NotApplicableError as reason:
        return Result(check=check, outcome="skipped", reason=str(reason))
    except Exception as error:  # noqa: BLE001 - whatever a store does wrong is a result
        text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        return Result(check=check, outcome="failed", reason=text, seconds=time.perf_counter() - start)
    return Result(check=check, outcome="passed", seconds=time.perf_counter() - start)
