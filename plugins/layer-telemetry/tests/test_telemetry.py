"""Spans and metrics of calls, and how the layer comes around every store."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import zarrv3
from zarrv3.errors import StoreUnavailableError
from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import InterruptConformance, LayerConformance
from zarrv3_layer_telemetry import TelemetryLayer, layer
from zarrv3_layer_telemetry.hooks import Instrumentor

Taken = Callable[[], list[ReadableSpan]]


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    """The SDK's metrics in memory, and its spans (see `spans`), in place of the process's."""
    reader, exporter, provider = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = layer.instruments(provider, MeterProvider([reader]))
    monkeypatch.setattr(layer, "_instruments", lambda: made)
    reader.exporter = exporter  # type: ignore[attr-defined]  # both come from here
    return reader


@pytest.fixture
def spans(reader: InMemoryMetricReader) -> Taken:
    """What has ended since the last time."""

    def taken() -> list[ReadableSpan]:
        exporter: InMemorySpanExporter = reader.exporter  # type: ignore[attr-defined]
        found = [*exporter.get_finished_spans()]
        exporter.clear()
        return found

    return taken


def points(reader: InMemoryMetricReader, name: str, **attributes: Any) -> list[Any]:
    """The points of a metric with some attributes among theirs."""
    data: Any = reader.get_metrics_data()
    found = [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]
    wanted = {"error.type": None} | {key.replace("__", "."): value for key, value in attributes.items()}
    return [
        point
        for point in found
        if all(dict(point.attributes).get(key) == value for key, value in wanted.items())
    ]


class Broken(Layer):
    """A store that fails, and says what the current span is."""

    kind = "broken-telemetry"
    current: Any = None

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """Fail."""
        Broken.current = trace.get_current_span()
        raise StoreUnavailableError("cannot look: redis://user:hunter2@host refused")


class TestConformance(InterruptConformance, LayerConformance):
    """Everything a store has to do, through the layer, where no SDK is set up."""

    examples = 5

    @pytest.fixture
    def layer(self) -> Callable[[BaseStore], BaseStore]:
        """The layer."""
        return TelemetryLayer


def test_a_span_for_each_call(spans: Taken) -> None:
    """A call has a span of kind CLIENT with the conventions' names, its keys and bytes; nothing of a value is in it."""
    store = TelemetryLayer(MemoryStore(name="spans"))
    store.update({"a": b"the-content", "b": b"12"})
    (span,) = spans()
    assert (span.name, span.kind, span.status.status_code) == (
        "write_many",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert dict(span.attributes or {}) == {
        "db.system.name": "memory",
        "db.operation.name": "write_many",
        "db.operation.batch.size": 2,
        "zarrv3.store": "MemoryStore('spans')",
        "zarrv3.key": "a",
        "zarrv3.bytes.written": 13,
    }
    store.get("a")
    store.get_versioned(["b"])
    (get, versioned) = [dict(span.attributes or {}) for span in spans()]
    assert (get["zarrv3.bytes.read"], versioned["zarrv3.bytes.read"]) == (11, 2)
    assert "db.operation.batch.size" not in get
    store.rename_prefix("x/", "y/")
    store.flush()
    assert [span.name for span in spans()] == ["rename_prefix", "flush"]


def test_failures_and_what_happens_meanwhile(spans: Taken, reader: InMemoryMetricReader) -> None:
    """A failed call has the class of its error and its text without secrets; during it the span is the current one."""
    store = TelemetryLayer(Broken(MemoryStore()))
    with pytest.raises(StoreUnavailableError):
        store.stat_many(["k"])
    (span,) = spans()
    assert Broken.current.get_span_context().span_id == span.context.span_id
    assert not trace.get_current_span().is_recording()
    assert (span.attributes or {})["error.type"] == "StoreUnavailableError"
    assert span.status.status_code is StatusCode.ERROR
    assert "hunter2" not in (span.status.description or "")
    assert not span.events
    failed = points(reader, "db.client.operation.duration", error__type="StoreUnavailableError")
    assert [point.count for point in failed] == [1]


def test_listings(spans: Taken) -> None:
    """A listing's span lasts until it ends or is given up, is never the current one, and has the number of items."""
    store = TelemetryLayer(MemoryStore({str(i): b"" for i in range(5)}))
    listing = store.list_prefix("")
    next(listing)
    assert not trace.get_current_span().is_recording()
    assert spans() == []
    assert len([*listing]) == 4
    (span,) = spans()
    assert (span.attributes or {})["zarrv3.listed"] == 5
    given_up = store.list_dir("")
    next(given_up)
    del given_up
    assert [(span.attributes or {})["zarrv3.listed"] for span in spans()] == [1]


def test_metrics(reader: InMemoryMetricReader) -> None:
    """Durations are a histogram in seconds with the conventions' bounds, bytes a counter for each direction."""
    store = TelemetryLayer(MemoryStore())
    store.update({"a": b"12345"})
    store.get("a")
    (point,) = points(
        reader, "db.client.operation.duration", db__operation__name="write_many", db__system__name="memory"
    )
    assert point.explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert 0 < point.sum < 60 * point.count
    (written,) = points(
        reader, "zarrv3.client.io", zarrv3__io__direction="write", db__operation__name="write_many"
    )
    assert written.value == 5
    assert points(reader, "zarrv3.client.io", zarrv3__io__direction="read", db__operation__name="get_many")


# ---------------------------------------------------------------- every store


def test_every_store_where_it_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment variable or the instrumentor every store that is opened has the layer, once; else none has."""
    opened = partial(zarrv3.open_store, "memory://every|counting:")
    assert not isinstance(opened(), TelemetryLayer)
    for value, is_on in (("1", True), ("true", True), ("0", False), ("", False)):
        monkeypatch.setenv("ZARRV3_TELEMETRY", value)
        assert isinstance(opened(), TelemetryLayer) == is_on
    Instrumentor().instrument(skip_dep_check=True)
    try:
        store = opened()
        assert isinstance(store, TelemetryLayer)
        assert [type(one).__name__ for one in zarrv3.open_store(store.spec()).stack()] == [
            "TelemetryLayer",
            "Counting",
            "MemoryStore",
        ]
        assert zarrv3.open_store(store) == store
    finally:
        Instrumentor().uninstrument()
    assert not isinstance(opened(), TelemetryLayer)


def run(code: str, *command: str, **variables: str) -> str:
    """What a program prints, in a process of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "ZARRV3_TEL"))
    }
    ended = subprocess.run(
        [*(command or (sys.executable,)), "-c", code],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return ended.stdout


def test_switched_off_it_imports_nothing() -> None:
    """Installed and not switched on, opening a store does not import OpenTelemetry."""
    code = "import sys, zarrv3; s = zarrv3.open_store('memory:'); s['k'] = b''; print('opentelemetry' in sys.modules, type(s).__name__)"
    assert run(code).split() == ["False", "MemoryStore"]
    assert run(code, ZARRV3_TELEMETRY="yes").split() == ["True", "TelemetryLayer"]


def test_opentelemetry_instrument_finds_it() -> None:
    """Under the command `opentelemetry-instrument` every store has the layer, without a change of the program."""
    code = "import zarrv3; s = zarrv3.open_store('memory:'); s['k'] = b'v'; print(type(s).__name__)"
    command = os.path.join(os.path.dirname(sys.executable), "opentelemetry-instrument")  # noqa: PTH118, PTH120
    found = run(
        code,
        command,
        sys.executable,
        OTEL_TRACES_EXPORTER="console",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    assert "TelemetryLayer" in found
    assert '"name": "write_many"' in found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_children_and_pickles(spans: Taken) -> None:
    """A child goes on reporting and a copy by pickle reports too."""
    import pickle

    store = TelemetryLayer(MemoryStore(name="telemetry-pickle"))
    pickle.loads(pickle.dumps(store))["k"] = b"v"
    assert [span.name for span in spans()] == ["write_many"]
    child = os.fork()
    if child == 0:
        store["k"] = b"w"
        os._exit(0 if len(spans()) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
