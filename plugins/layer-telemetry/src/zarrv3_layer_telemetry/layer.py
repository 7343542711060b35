"""`TelemetryLayer`: what is reported of a call, in the words of OpenTelemetry's conventions for database clients."""

from collections.abc import Callable, Collection
from contextvars import copy_context
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any, NamedTuple, TypeVar

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from zarrv3_layer_log.observing import Call, Observing

T = TypeVar("T")

BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
"""The bounds that the conventions have for durations, in seconds."""


class Instruments(NamedTuple):
    """What spans and metrics are made with."""

    tracer: Tracer
    duration: Histogram
    moved: Counter


def instruments(
    spans: trace.TracerProvider | None = None, numbers: metrics.MeterProvider | None = None
) -> Instruments:
    """What calls are reported with: by default to the process's SDK. Where none is set up, or not yet, that does nothing."""
    own = version("zarrv3-layer-telemetry")
    meter = metrics.get_meter("zarrv3", own, numbers)
    return Instruments(
        trace.get_tracer("zarrv3", own, spans),
        meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of calls of a store.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        ),
        meter.create_counter(
            "zarrv3.client.io", unit="By", description="Bytes of values read from and written to a store."
        ),
    )


_instruments = cache(instruments)


class TelemetryLayer(Observing):
    """Makes a span of each call of the store below and measures it; adapter `|telemetry:`. Thread-safe.

    What is called meanwhile, such as a client that reports by itself, is shown below the span; of a listing, which others may
    continue, the span is never the current one.
    """

    kind = "telemetry"

    def __init__(self, store: object) -> None:
        super().__init__(store)

    @cached_property
    def _system(self) -> str:
        return self.inner.ground()[0].kind

    @cached_property
    def _store(self) -> str:
        return self.inner.describe()

    def began(self, method: str, asked: Collection[Any], *, is_listing: bool = False) -> Span:  # noqa: ARG002
        """See `Observing`."""
        span = _instruments().tracer.start_span(method, kind=SpanKind.CLIENT)
        if span.is_recording():
            span.set_attributes(
                {
                    "db.system.name": self._system,
                    "db.operation.name": method,
                    "zarrv3.store": self._store,
                    **(
                        {"db.operation.batch.size": len(asked)}
                        if len(asked) > 1 and method != "rename_prefix"
                        else {}
                    ),
                }
            )
            first = next(Call(method, asked, 0).keys, None)
            if first is not None:
                span.set_attribute("zarrv3.key", first)
        return span

    def run(self, began: Span, call: Callable[..., T], *arguments: Any) -> T:
        """See `Observing`; the span is the current one in a context of its own, which an interrupt cannot leave behind."""
        return copy_context().run(_within, began, call, arguments)

    def ended(self, began: Span, call: Call) -> None:
        """See `Observing`."""
        attributes = {"db.system.name": self._system, "db.operation.name": call.method}
        tools, span = _instruments(), began
        for size, direction in ((call.read, "read"), (call.written, "write")):
            if size:
                tools.moved.add(size, {**attributes, "zarrv3.io.direction": direction})
        if call.error is not None:
            attributes["error.type"] = type(call.error).__qualname__
        tools.duration.record(call.seconds, attributes)
        if span.is_recording():
            told = {
                "zarrv3.bytes.read": call.read,
                "zarrv3.bytes.written": call.written,
                "zarrv3.listed": call.listed,
            }
            span.set_attributes({name: number for name, number in told.items() if number})
            if call.error is not None:
                span.set_attribute("error.type", attributes["error.type"])
                span.set_status(StatusCode.ERROR, self.told(call.error))
        span.end()


def _within(span: Span, call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    context.attach(trace.set_span_in_context(span))
    return call(*arguments)
