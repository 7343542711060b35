"""Locks: who waits for whom, and what a forked child holds."""

import threading

import pytest

from zarrv3.forks import Lock, _renew
from zarrv3.store.locks import NamedLocks, ReadWriteLock, Turn, _going_on
from zarrv3.testing.interrupts import interruptions


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

    def take_all(turn: Turn) -> None:
        with turn:
            entered.append(-1)

    threads = [threading.Thread(target=take_often, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            turn = locks.held(names)
            long = threading.Thread(target=take_all, args=(turn,))
            with locks.held(names):
                long.start()
                while not turn._earlier:
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

    def take(who: str, names: str, *, waits: bool) -> threading.Thread:
        turn = locks.held(names)

        def run() -> None:
            with turn:
                order.append(who)

        thread = threading.Thread(target=run)
        thread.start()
        while waits and not turn._earlier:
            thread.join(0.001)
        return thread

    with locks.held("x"):
        first = take("first", "xy", waits=True)
        second = take("second", "y", waits=True)
        take("other", "z", waits=False).join(60)
        assert order == ["other"]
    for thread in (first, second):
        thread.join(60)
    assert order == ["other", "first", "second"]


def entered(block: Turn) -> None:
    """Go through a block."""
    with block:
        pass


@pytest.mark.parametrize("kind", ["held", "shared"])
def test_an_interrupt_leaves_nothing_taken(kind: str) -> None:
    """Wherever a block is interrupted on the way in or out, its names are free at once, while the interrupt is still remembered."""
    locks, errors = NamedLocks(), []
    for error in interruptions(lambda: entered(getattr(locks, kind)("xy"))):
        errors.append(error)
        assert not locks.mutex.locked()
        assert not _going_on(turn for turns in locks.last.values() for turn in turns)
    assert len(errors) > 5


def test_an_interrupted_wait_leaves_those_it_waited_for() -> None:
    """Who waits for one that was interrupted while waiting waits for those that it waited for, and for nobody else."""
    locks, order = NamedLocks(), list[str]()
    first = locks.held("x")
    first.__enter__()
    waiting = Turn(locks, "xy", end=0.0)  # gives up as an interrupted one does
    with pytest.raises(TimeoutError):
        waiting.__enter__()
    with locks.held("z"):
        pass

    def take() -> None:
        with locks.held("y"):
            order.append("second")

    second = threading.Thread(target=take)
    second.start()
    while locks.last["y"][0]._names != "y":
        second.join(0.001)
    order.append("first")
    first.__exit__(None, None, None)
    second.join(60)
    assert order == ["first", "second"]


def test_names_that_nobody_holds_are_forgotten() -> None:
    """However many names are held one after the other, few are remembered."""
    locks = NamedLocks()
    with locks.held(["kept"]):
        for number in range(3000):
            with locks.held([number]):
                pass
        assert len(locks.last) < 1000
        assert _going_on(locks.last["kept"])


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


def test_readers_wait_for_an_interrupted_writer_no_longer() -> None:
    """A writer that gives up waiting lets later readers in beside the earlier ones."""
    lock = ReadWriteLock()
    with lock.reading():
        assert not lock.acquire(0.0)
        other = threading.Thread(target=lambda: entered(lock.reading()), daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()
    with lock.writing():
        pass
