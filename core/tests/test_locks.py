"""Locks: who waits for whom, and what a forked child holds."""

import threading
import weakref

import pytest

from zarrv3.forks import Lock, _renew
from zarrv3.store.locks import NamedLocks, ReadWriteLock


def test_other_names_do_not_wait() -> None:
    """A name that is not held is taken at once, also while others are held, by the same thread too."""
    locks = NamedLocks()
    with locks.held(["a", "b"]), locks.held(["c"]), locks.held([]):
        pass
    with locks.held(["a", "b", "c"]):
        pass


def test_same_names_wait() -> None:
    """Of threads that share a name one is inside at a time, whatever other names they take and in whatever order."""
    locks = NamedLocks()
    inside: list[int] = []
    wrong: list[list[int]] = []

    def work(number: int) -> None:
        for turn in range(50):
            names = ["shared", number, turn % 3]
            with locks.held(names if turn % 2 else names[::-1]):
                inside.append(number)
                if len(inside) != 1:
                    wrong.append([*inside])
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_who_waits_for_many_is_not_overtaken() -> None:
    """Of eight threads that take single names without a pause each comes in once more at most before one that wants all."""
    locks = NamedLocks()
    names = range(8)
    entered: list[int] = []
    stop = threading.Event()

    def take_often(name: int) -> None:
        while not stop.is_set():
            with locks.held([name]):
                entered.append(name)

    def take_all() -> None:
        with locks.held(names):
            entered.append(-1)

    threads = [threading.Thread(target=take_often, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            long = threading.Thread(target=take_all)
            with locks.held(names):
                long.start()
                while not any(
                    len(waiting._names) == 8 for waiting in filter(None, [r() for r in locks._waiting])
                ):
                    stop.wait(0.001)
                position = len(entered)
            long.join(60)
            assert not long.is_alive()
            assert entered.index(-1, position) - position <= len(names)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def test_in_the_order_of_asking() -> None:
    """Who wants a name that an earlier one waits for waits too, although it is free; who wants another does not."""
    locks, order = NamedLocks(), list[str]()

    def take(who: str, names: str) -> threading.Thread:
        def run() -> None:
            with locks.held(names):
                order.append(who)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with locks.held("x"):
        first = take("first", "xy")
        while len(locks._waiting) < 1:
            first.join(0.001)
        second = take("second", "y")
        while len(locks._waiting) < 2:
            second.join(0.001)
        take("other", "z").join(60)
        assert order == ["other"]
    for thread in (first, second):
        thread.join(60)
    assert order == ["other", "first", "second"]


def test_an_interrupted_wait_holds_nobody_up() -> None:
    """Who was interrupted while it waited, and left its place in the queue, holds up nobody for long."""
    locks = NamedLocks()
    interrupted = locks.held("xy")  # still there, as in a traceback
    locks._waiting.append(weakref.ref(interrupted))
    with locks.held("y"):
        pass
    with locks.held("x"):
        assert interrupted._names == {"x", "y"}


def test_an_error_gives_back() -> None:
    """Names are free again after a block that raises."""
    locks = NamedLocks()
    with pytest.raises(KeyError), locks.held(["a"]):
        raise KeyError
    with locks.held(["a"]):
        pass


def test_in_a_child_nothing_is_held() -> None:
    """After a fork the names that threads of the parent held are free; what was held before is given back in peace."""
    locks = NamedLocks()
    with locks.held(["a"]):
        _renew()
        with locks.held(["a"]):
            pass


def test_a_lock_is_free_in_a_child() -> None:
    """What a thread of the parent held is free after a fork; who forked within its own block leaves it in peace."""
    lock = Lock()
    with lock.taken:
        _renew()
        other = threading.Thread(target=lambda: lock.taken.acquire(timeout=10) and lock.taken.release())
        with lock.taken:
            pass
        other.start()
        other.join(10)
        assert not other.is_alive()


def test_readers_and_writers() -> None:
    """A writer waits for readers, or gives up, and keeps later readers out; then they come in."""
    lock, order = ReadWriteLock(), []

    def read() -> None:
        with lock.reading():
            order.append("reader")

    with lock.reading(), lock.reading():
        assert not lock.acquire(0.01)
    with lock.writing():
        assert not lock.acquire(0.01)
        late = threading.Thread(daemon=True, target=read)
        late.start()
        late.join(0.1)
        order.append("writer")
    late.join(10)
    assert order == ["writer", "reader"]
    assert lock.acquire(0.01)
    lock.release()
    with lock.writing():
        pass


@pytest.mark.parametrize("kind", ["reading", "writing"])
def test_an_interrupted_visit_is_over(kind: str) -> None:
    """A thread interrupted before its block began, or in the middle of leaving, blocks no other."""
    lock = ReadWriteLock()
    getattr(lock, kind)().__enter__()  # and nobody has it any more
    with lock.writing():
        pass
    with lock.reading():
        pass
