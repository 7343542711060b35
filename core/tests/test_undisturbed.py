"""Calls that no interrupt comes into."""

import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial

import pytest

from zarrv3.store.undisturbed import Worker, methods_undisturbed, undisturbed
from zarrv3.testing.interrupts import interruptions, unheard
from zarrv3.testing.processes import CONTEXT, together

variable = ContextVar("variable", default="")


def thread() -> int:
    """The thread that calls this."""
    return threading.get_ident()


def test_another_thread_does_it_for_the_main_one() -> None:
    """A call of the main thread runs elsewhere, always in the same thread; that of another thread runs in its own."""
    assert thread() == threading.main_thread().ident
    assert {undisturbed(thread) for _ in range(3)} != {thread()}
    assert len({undisturbed(thread) for _ in range(3)}) == 1
    assert undisturbed(lambda: undisturbed(thread)) == undisturbed(thread)
    found: list[bool] = []
    other = threading.Thread(target=lambda: found.append(undisturbed(thread) == thread()))
    other.start()
    other.join()
    assert found == [True]


def test_what_comes_back() -> None:
    """Results and errors are the call's own, and it sees the caller's context variables."""
    variable.set("ours")
    assert undisturbed(variable.get) == "ours"
    with pytest.raises(KeyError, match="mine"):
        undisturbed(lambda: {}["mine"])


@unheard()
def test_interrupts_at_every_point() -> None:
    """Wherever an interrupt comes, the call has ended when it is raised, and nothing of `threading` stays locked."""
    future: Future[int] = Future()
    begun, ended = [], []

    def call() -> None:
        begun.append(1)
        event = threading.Event()
        threading.Thread(target=event.set).start()
        event.wait()
        ended.append(future.done())

    many = 0
    for _ in interruptions(lambda: undisturbed(call)):
        many += 1
        assert len(begun) == len(ended)
    assert many > 5
    undisturbed(partial(future.set_result, 1))
    assert future.result() == 1


def test_a_second_interrupt_does_not_wait() -> None:
    """Whoever interrupts again while a call is waited for gets the thread back; what comes next waits for the call."""
    worker, may_end, done = Worker(), threading.Event(), []

    def call() -> None:
        may_end.wait(60)
        done.append("first")

    class Twice:
        """A queue of answers whose `get` is interrupted each time."""

        def __init__(self) -> None:
            self.put = done.append

        def get(self) -> None:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrv3.store.undisturbed.SimpleQueue", Twice)
        with pytest.raises(KeyboardInterrupt):
            worker.run(call)
    assert not done
    may_end.set()
    worker.run(lambda: done.append("second"))
    assert [item for item in done if isinstance(item, str)] == ["first", "second"]
    worker.stop()


@methods_undisturbed
class Driver:
    """Says which thread it runs in."""

    def where(self) -> int:
        """The thread."""
        return self._where()

    def many(self, count: int) -> Iterator[tuple[int, int]]:
        """The thread, many times."""
        return ((number, thread()) for number in range(count))

    async def later(self) -> int:
        """The thread of an event loop."""
        return thread()

    def _where(self) -> int:
        return thread()


def test_methods_of_a_class() -> None:
    """The public methods of a class run elsewhere, and so does what makes the items of an iterator, which stay in order."""
    driver = Driver()
    assert driver.where() == undisturbed(thread) != driver._where()
    assert [*driver.many(3000)] == [(number, undisturbed(thread)) for number in range(3000)]
    with pytest.raises(StopIteration):
        driver.later().send(None)


def _in_child(_: object, number: int) -> int:
    return undisturbed(lambda: number)


@pytest.mark.skipif(CONTEXT.get_start_method() != "fork", reason="this system does not fork")
def test_in_forked_children() -> None:
    """A forked child has a thread of its own for it."""
    undisturbed(thread)
    assert together(_in_child, None, 2) == [0, 1]


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_nothing_is_held_on_to() -> None:
    """When an answer is there, the other thread holds neither what was called nor its result: a dropped store is gone."""

    class Thing:
        def itself(self) -> "Thing":
            return self

    for _ in range(2000):
        thing = Thing()
        seen = weakref.ref(thing)
        assert undisturbed(thing.itself) is thing
        del thing
        assert seen() is None
