"""`LogLayer`: which calls are logged, what the line says and how important it is."""

import logging
import math
from functools import cached_property
from itertools import islice
from typing import Annotated, Any

from zarrv3.errors import StoreAccessError, StoreError
from zarrv3.options.declared import Option
from zarrv3_layer_log.observing import Call, Observing

SHOWN = 3
"""How many keys a line names."""

_logger = logging.getLogger("zarrv3.log")


class LogLayer(Observing):
    """Logs calls of the store below, one line per call; adapter `|log:`.

    Calls that failed are logged as WARNING, or ERROR if the backend itself failed and calling again will not help. Others are
    logged as INFO or, with `slow`, as WARNING if they took so long, and not at all otherwise. Thread-safe.
    """

    kind = "log"

    def __init__(
        self,
        store: object,
        slow: Annotated[
            float | None,
            Option(
                "log calls that take so many seconds or more, and those that fail; `None`: every call",
                check=lambda seconds: seconds is None or 0 <= seconds < math.inf,
                takes="a number of seconds from 0 on, or `None`",
            ),
        ] = None,
    ) -> None:
        super().__init__(store, slow=slow)

    @cached_property
    def _slow(self) -> float | None:
        slow: float | None = self.option("slow")
        return slow

    @cached_property
    def _store(self) -> str:
        return self.inner.describe()

    def ended(self, began: Any, call: Call) -> None:  # noqa: ARG002 - nothing has to be remembered
        """See `Observing`."""
        level = self._level(call)
        if level is not None and _logger.isEnabledFor(level):
            _logger.log(
                level, "%s", _line(call, self._store, None if call.error is None else self.told(call.error))
            )

    def _level(self, call: Call) -> int | None:
        if call.error is not None:
            ours = isinstance(call.error, StoreError) and (
                call.error.retryable or not isinstance(call.error, StoreAccessError)
            )
            return logging.WARNING if ours or not isinstance(call.error, Exception) else logging.ERROR
        if self._slow is None:
            return logging.INFO
        return logging.WARNING if call.seconds >= self._slow else None


def _line(call: Call, store: str, failure: str | None) -> str:
    keys = ", ".join(map(repr, islice(call.keys, SHOWN)))
    more = len(call.asked) - SHOWN
    subject = f" {keys}" + (f" and {more} more" if more > 0 else "")
    took = f"{call.seconds * 1000:.1f} ms"
    counts = [
        f"{number} {what}"
        for number, what in (
            (call.read, "bytes read"),
            (call.written, "bytes written"),
            (call.listed, "listed"),
        )
        if number is not None and (number or what == "listed")
    ]
    if failure is None:
        return f"{call.method}{subject} in {store}: {', '.join([*counts, took])}"
    place = "" if store in failure else f" in {store}"  # a driver may raise one of its own
    return f"{call.method}{subject}{place} failed after {', '.join([took, *counts])}: {failure}"
