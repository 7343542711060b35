"""The pytest classes of the kit: derive, give one fixture, and every check is a test of yours.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def opener(self, tmp_path):
            return functools.partial(MyStore, tmp_path / "data")

The tests are made from `checks.CHECKS`, so that a command line can run the same ones. A test is skipped, with the
reason, if the store does not claim the capability that it needs. When the store fails the basics (`test_basics`), one
test says so in one line and the others are not run. Override a test that your store cannot pass with
`@pytest.mark.xfail(reason=…)` and `self.run_check(name, opener)`; any other override is found and fails.
"""

import os
import pickle
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from functools import partial
from typing import Any, ClassVar

import pytest

from zarrv3.errors import StoreClosedError
from zarrv3.layers.counting import Counting
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Capabilities, Limits, whole
from zarrv3.store.memory import MemoryDriver, MemoryStore
from zarrv3.store.wrapping import DriverStore, wrap
from zarrv3.testing.checks import CHECKS, batches, claims, crowds, interrupts, keys, values
from zarrv3.testing.checks.basics import basic_problem
from zarrv3.testing.checks.table import Check, Opener, capabilities_of, opened
from zarrv3.testing.faults import Faults
from zarrv3.testing.rules import (
    CLOSED,
    EQUALITY,
    LAYERS,
    OVERRIDES,
    PICKLE,
    SIZES,
    STATS,
    NotApplicableError,
    refuses,
    require,
    same,
)

LayerMaker = Callable[[BaseStore], BaseStore]
"""Puts a layer around a store."""

STRESS = "ZARRV3_STRESS"
"""An environment variable: when it is set, the long runs are not skipped."""

ALL = replace(
    MemoryDriver.capabilities, native_ranges=True, shared=True, persistent=True, durable=True, local=True
)
"""What a driver in memory can be told to claim."""

FLAGS = [field.name for field in fields(Capabilities) if field.name != "limits"]


def _slow(function: Callable[..., None]) -> Callable[..., None]:
    """Mark a long run, also in projects that do not know the marker `slow`."""
    with warnings.catch_warnings(), suppress(pytest.fail.Exception):
        warnings.simplefilter("ignore")
        marked: Callable[..., None] = pytest.mark.slow(function)
        return marked
    return function


class StoreConformance:
    """Everything a store has to do; the subclass gives the fixture `opener`."""

    kills: ClassVar[int] = 150
    """How often a writer is killed in the long run."""
    examples: ClassVar[int] = 30
    """How many sequences of calls the state machine tries."""
    steps: ClassVar[int] = 30
    """How many calls a sequence has at most."""
    broken: ClassVar[dict[str, str]] = {}
    """What is basically wrong with the store, by the parameters of its fixtures."""
    variant = ""
    """The parameters of this test's fixtures."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Return what opens the same empty location with every call, as a new store object: override this."""
        pytest.fail(
            f"{type(self).__name__} has to define the fixture `opener`; see zarrv3.testing.conformance"
        )

    def run_check(self, name: str, opener: Opener) -> None:
        """Run one check by its name; skip where it is about a capability that is not claimed."""
        __tracebackhide__ = True
        found = next(check for check in CHECKS if check.name == name)
        self.run_entry(found, opener)

    def run_entry(self, check: Check, opener: Opener) -> None:
        """Run one check of the table."""
        __tracebackhide__ = True
        with self.basics_first(opener):
            missing = check.missing(capabilities_of(opener))
            if missing:
                pytest.skip(f"not claimed: {', '.join(missing)}")
            try:
                check.run(opener)
            except NotApplicableError as reason:
                pytest.skip(str(reason))

    @pytest.fixture(autouse=True)
    def not_without_basics(self, request: pytest.FixtureRequest) -> None:
        """Do not run the rest for a store that fails the basics."""
        call = getattr(request.node, "callspec", None)
        self.variant = "" if call is None else call.id
        broken = type(self).broken.get(self.variant)
        if broken:
            pytest.skip(f"not run, since the basics fail: {broken}")

    @contextmanager
    def basics_first(self, opener: Opener) -> Iterator[None]:
        """A block whose failure is reported as what is basically wrong with the store, if anything is."""
        __tracebackhide__ = True
        try:
            yield
        except Exception:
            problem = basic_problem(opener)
            if problem is None:
                raise
            type(self).broken[self.variant] = problem
        else:
            return
        pytest.fail(f"{type(self).__name__}: {problem}", pytrace=False)

    def test_no_silent_overrides(self) -> None:
        """Tests of the kit that the subclass redefines carry `@pytest.mark.xfail(reason=…)`."""
        silent = silent_overrides(type(self))
        require(not silent, OVERRIDES, f"{type(self).__name__} overrides {', '.join(silent)} silently")

    def test_like_a_dict(self, opener: Opener) -> None:
        """Whatever is asked in whatever order, the store answers like a dict (hypothesis, repeatable)."""
        self._run_machine(opener, self.examples, self.steps)

    @_slow
    def test_like_a_dict_for_long(self, opener: Opener, request: pytest.FixtureRequest) -> None:
        """The state machine with many random sequences of calls."""
        _only_when_asked(request)
        self._run_machine(opener, 10 * self.examples, 50, repeatable=False)

    @_slow
    def test_writers_killed_often(self, opener: Opener, request: pytest.FixtureRequest) -> None:
        """A writer is killed many times; every key is whole each time and nothing acknowledged is lost."""
        _only_when_asked(request)
        self.run_entry(
            Check(
                name="writers_killed_often",
                summary="",
                run=partial(crowds.kill_writers, kills=self.kills, seed=None),
                needs=("write", "persistent"),
            ),
            opener,
        )

    def _run_machine(self, opener: Opener, examples: int, steps: int, *, repeatable: bool = True) -> None:
        from zarrv3.testing.machine import check_like_a_dict

        if not capabilities_of(opener).write:
            pytest.skip("not claimed: write")
        with self.basics_first(opener):
            check_like_a_dict(opener, examples, steps, repeatable=repeatable)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class that overrides the test that finds overrides."""
        super().__init_subclass__(**kwargs)
        cls.broken = {}
        if "test_no_silent_overrides" in vars(cls):
            raise TypeError(f"{cls.__name__} must not override test_no_silent_overrides")


class InterruptConformance:
    """What a store does when it is interrupted (Ctrl-C) or forked at work: a base class beside `StoreConformance`.

    class TestMyStore(InterruptConformance, StoreConformance): …
    """


def _test_of(check: Check) -> Callable[[StoreConformance, Opener], None]:
    def test(self: StoreConformance, opener: Opener) -> None:
        __tracebackhide__ = True
        self.run_entry(check, opener)

    test.__name__ = f"test_{check.name}"
    test.__qualname__ = f"{StoreConformance.__name__}.{test.__name__}"
    test.__doc__ = check.summary
    return test


for _class, _checks in ((StoreConformance, CHECKS), (InterruptConformance, interrupts.CHECKS)):
    for _check in _checks:
        setattr(_class, f"test_{_check.name}", _test_of(_check))


class LayerConformance(StoreConformance):
    """Everything a store has to do, through a layer over a `MemoryStore`; the subclass gives the fixture `layer`."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """Return what puts the layer around a store: override this."""
        pytest.fail(
            f"{type(self).__name__} has to define the fixture `layer`; see zarrv3.testing.conformance"
        )

    @pytest.fixture
    def inner(self) -> Iterator[Opener]:
        """What opens the store below: memory, empty; override it when the layer needs something there."""
        name = f"conformance-{uuid.uuid4()}"
        yield partial(MemoryStore, name=name)
        MemoryStore(name=name).clear()

    @pytest.fixture
    def opener(self, layer: LayerMaker, inner: Opener) -> Opener:
        """The layer over the store below."""
        return _Over(layer, inner)

    def test_capabilities_never_grow(self, layer: LayerMaker, inner: Opener) -> None:
        """Whatever the inner store lacks, the layer lacks too, and refuses."""
        for lost in ([], *([flag] for flag in FLAGS), FLAGS):
            driver = _reduced(ALL.without(*lost), inner)
            top = layer(DriverStore(driver))
            claimed, below = top.capabilities, driver.capabilities
            grown = [flag for flag in FLAGS if getattr(claimed, flag) and not getattr(below, flag)]
            require(not grown, LAYERS, f"the layer claims {', '.join(grown)} over a store that does not")
            over = _Over(layer, partial(DriverStore, driver))
            claims.check_unclaimed_writing_is_refused(over)
            claims.check_unclaimed_listing_is_refused(over)

    def test_limits_below_hold(self, layer: LayerMaker, inner: Opener) -> None:
        """Limits of the inner store are kept, or told, by the layer."""
        limits = Limits(key_bytes=90, value_bytes=1000, batch_keys=3, batch_bytes=1500)
        reduced = _reduced(replace(MemoryDriver.capabilities, limits=limits), inner)
        over = _Over(layer, partial(DriverStore, reduced))
        can = capabilities_of(over)
        for name in ("key_bytes", "value_bytes"):
            found, below = getattr(can.limits, name), getattr(limits, name)
            require(
                found is None or found <= below,
                LAYERS,
                f"the layer claims {name}={found} over a store with {below}",
            )
        if can.write and can.limits == limits:
            for check in (
                keys.check_long_keys,
                values.check_value_limit,
                batches.check_batches_beyond_the_limit,
            ):
                check(over)

    def test_one_batch_in_at_most_one_out(self, layer: LayerMaker, inner: Opener) -> None:
        """A batch of reads, writes or erasures becomes at most one batch below."""
        counting = Counting(inner())
        with layer(counting) as top:
            can = top.capabilities
            many = [f"f/{i}" for i in range(20)]
            top.get_many(whole(["f/warm/up"]))
            steps: list[tuple[str, Callable[[], object]]] = [
                ("get_many", lambda: top.get_many(whole(many))),
                ("stat_many", lambda: top.stat_many(many)),
            ]
            if can.write:
                steps += [
                    ("write_many", lambda: top.write_many(dict.fromkeys(many, b"v"))),
                    ("get_many", lambda: top.get_many(whole(many * 2))),
                ]
            if can.swap:
                versions = [version for _, version in top.get_versioned(many)]
                swaps = {key: (version, b"w") for key, version in zip(many, versions, strict=True)}
                steps += [
                    ("get_versioned", lambda: top.get_versioned(many)),
                    ("swap_many", lambda: top.swap_many(swaps)),
                ]
            if can.erase:
                steps.append(("erasing by write_many", lambda: top.delitems(many)))
            for name, step in steps:
                counting.reset()
                step()
                calls = dict(counting.calls)
                if name == "swap_many":
                    calls.pop("get_versioned", None)  # of values that hold several keys
                require(sum(calls.values()) <= 1, LAYERS, f"one {name} of {len(many)} keys became {calls}")

    def test_sizes_without_reading_below(self, layer: LayerMaker, inner: Opener) -> None:
        """Asking for sizes, and whether a key exists, reads no chunk below."""
        counting = Counting(inner())
        if not layer(counting).capabilities.write:
            pytest.skip("not claimed: write")
        items = {f"f/c/{i}": bytes(1000 * i) for i in range(5)}
        layer(counting).write_many(items)
        with layer(counting) as top:  # which remembers nothing
            top.stat_many(["f/zarr.json"])
            counting.reset()
            found = [*top.stat_many([*items, "f/c/none"])]
            same(found, [*map(len, items.values()), None], SIZES, "stat_many")
            require("f/c/3" in top, SIZES, "a key is not `in` the layer")
            if top.capabilities.list:
                same(dict(top.list_sizes("f/")), {k: len(v) for k, v in items.items()}, SIZES, "list_sizes")
            require(
                not counting.bytes_read, STATS, f"{counting.bytes_read} bytes were read below to tell sizes"
            )

    def test_failures_below(self, layer: LayerMaker, inner: Opener) -> None:
        """When calls below fail half-way, the layer neither loses nor invents a value."""
        with opened(inner) as store:
            faults = Faults(store, rate=0.25, seed=11)
            with opened(partial(layer, faults)) as top:
                if not top.capabilities.write:
                    pytest.skip("not claimed: write")
                crowds.survives_faults(lambda: layer(store), faults, top)

    def test_pickles_with_its_store(self, layer: LayerMaker, inner: Opener) -> None:
        """A pickled layer comes back around an equal inner store."""
        with layer(inner()) as top:
            if top.capabilities.write:
                top.write_many({"f/k": b"value"})
            copy = pickle.loads(pickle.dumps(top))  # noqa: S301 - our own
            same(type(copy), type(top), PICKLE, "the class of the copy")
            same(copy.get("f/k"), top.get("f/k"), PICKLE, "the copy's value")
            require(copy == top, PICKLE, "the copy is not equal to the original")

    def test_equal_on_equal_stores_only(self, layer: LayerMaker, inner: Opener) -> None:
        """A layer around different data is a different store."""
        require(layer(inner()) == layer(inner()), EQUALITY, "two layers around equal stores are not equal")
        one, other = MemoryStore({"zarr.json": b"{}"}), MemoryStore({"other/zarr.json": b"{}"})
        require(layer(one) != layer(other), EQUALITY, "two layers around different stores are equal")

    def test_closes_its_store(self, layer: LayerMaker, inner: Opener) -> None:
        """Closing a layer closes the store below."""
        below = wrap(inner())
        layer(below).close()
        with refuses(CLOSED, "reading the inner store after its layer was closed", StoreClosedError):
            below.get_many(whole(["k"]))


class _Over:
    """An opener of a layer over what another opener opens."""

    def __init__(self, layer: LayerMaker, inner: Opener) -> None:
        self.layer = layer
        self.inner = inner

    def __call__(self) -> BaseStore:
        return self.layer(wrap(self.inner()))


def _reduced(capabilities: Capabilities, inner: Opener) -> MemoryDriver:
    """A store in memory that holds what the layer needs and can only some things."""
    with inner() as store:
        driver = MemoryDriver(dict(store.items()))
    driver.capabilities = capabilities
    return driver


def silent_overrides(cls: type[StoreConformance]) -> list[str]:
    """The kit's tests that a class or its bases redefine without a reason."""
    bases = cls.__mro__
    kit = {
        name
        for base in bases
        if base.__module__ == __name__
        for name in vars(base)
        if name.startswith("test_")
    }
    own = [base for base in bases if base.__module__ != __name__ and base is not object]
    return sorted({name for base in own for name in kit & {*vars(base)} if not _has_reason(vars(base)[name])})


def _has_reason(function: Any) -> bool:
    marks = getattr(function, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


def _only_when_asked(request: pytest.FixtureRequest) -> None:
    asked = request.config.getoption("-m") or ""
    if not os.environ.get(STRESS) and ("slow" not in asked or "not slow" in asked):
        pytest.skip(f"a long run: select it with -m slow, or set {STRESS}=1")


__all__ = ["InterruptConformance", "LayerConformance", "LayerMaker", "StoreConformance", "silent_overrides"]
