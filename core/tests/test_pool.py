"""The shared threads."""

import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest

from zarrv3 import config
from zarrv3.chunks import pool


def test_every_task_is_done_once() -> None:
    """With any number of workers every task is done exactly once."""
    for workers in (1, 2, 8):
        done: list[int] = []
        with config.set(threads=8):
            pool.run(done.append, range(100), 100, workers)
        assert sorted(done) == list(range(100))


def test_as_many_threads_as_allowed() -> None:
    """Up to `workers` tasks run at once, in threads of the pool and in the caller."""
    meeting = threading.Barrier(3, timeout=20)
    names: set[str] = set()

    def task(_: int) -> None:
        meeting.wait()
        names.add(threading.current_thread().name)

    with config.set(threads=3):
        pool.run(task, range(3), 3, 3)
    assert len(names) == 3
    assert sum(name.startswith("zarrv3") for name in names) == 2
    assert threading.current_thread().name in names


def test_one_worker_is_the_caller() -> None:
    """For one worker, one task, or within a task, everything happens in the calling thread."""
    seen: set[str] = set()

    def note(_: int) -> None:
        seen.add(threading.current_thread().name)

    pool.run(note, range(5), 5, 1)
    pool.run(note, range(1), 1, 8)
    assert seen == {threading.current_thread().name}

    inner: dict[str, set[str]] = {}

    def nested(number: int) -> None:
        mine = inner.setdefault(threading.current_thread().name, set())
        pool.run(lambda _: mine.add(threading.current_thread().name), range(5), 5, 8)

    with config.set(threads=2):
        pool.run(nested, range(4), 4, 2)
    assert all(names == {outer} for outer, names in inner.items())


def test_busy_callers_stay_alone() -> None:
    """While other threads' calls keep as many threads busy as there may be, a call is done by its own; afterwards by several."""
    inside, leave = threading.Semaphore(0), threading.Event()

    def busy(_: int) -> None:
        inside.release()
        leave.wait(20)

    def seen() -> set[int]:
        """The threads that do four tasks, which wait for each other as far as they can."""
        found: set[int] = set()
        met = threading.Event()

        def task(_: int) -> None:
            found.add(threading.get_ident())
            if len(found) > 1:
                met.set()
            met.wait(20 if expected > 1 else 0)

        pool.run(task, range(4), 4, 2)
        return found

    with config.set(threads=2):
        caller = threading.Thread(target=pool.run, args=(busy, range(1), 1, 2))
        caller.start()
        inside.acquire(timeout=20)
        expected = 1
        assert seen() == {threading.get_ident()}
        leave.set()
        caller.join()
        expected = 2
        assert len(seen()) == 2


def test_the_first_error_is_raised_when_all_have_ended() -> None:
    """An error reaches the caller after every task under way has ended."""
    running = threading.Semaphore(0)
    ended = []

    def task(number: int) -> None:
        if number == 0:
            running.acquire(timeout=20)
            raise LookupError("zero")
        running.release()
        ended.append(number)

    with config.set(threads=2), pytest.raises(LookupError, match="zero"):
        pool.run(task, range(2), 2, 2)
    assert ended == [1]
    pool.run(ended.append, [5], 1, 1)


INTERRUPTED = """
import os, signal, sys, threading, time
from zarrv3 import config
from zarrv3.chunks import pool

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the parent process ignores it
main, begun, ended = threading.get_ident(), threading.Event(), []

def task(number):
    if threading.get_ident() == main:
        begun.set()
    else:
        begun.wait(float(sys.argv[1]))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        ended.append(number)

try:
    with config.set(threads=2):
        pool.run(task, iter(int, 1), 1000, 2)
except KeyboardInterrupt:
    print(len(ended))
"""


@pytest.mark.parametrize(("patience", "expected"), [("60", ["1"]), ("0", ["0", "1"])])
def test_an_interrupt_is_raised_when_all_have_ended(patience: str, expected: list[str]) -> None:
    """Ctrl-C is raised after every task under way has ended; while threads are being started, the process still ends."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, patience], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() in expected
    assert ended.stderr == ""


def test_errors_let_go_of_what_was_read() -> None:
    """When the error that a thread has raised is gone, nothing keeps what its frames held."""

    class Held:
        """What a task works on."""

    kept: list[weakref.ref[Held]] = []

    def task(_: int) -> None:
        held = Held()
        kept.append(weakref.ref(held))
        barrier.wait(20)
        raise ValueError(type(held))

    barrier = threading.Barrier(2)
    gc.disable()
    try:
        with config.set(threads=2), pytest.raises(ValueError, match="Held"):
            pool.run(task, range(2), 2, 2)
        assert len(kept) == 2
        assert [one() for one in kept] == [None, None]
    finally:
        gc.enable()


def test_the_number_of_threads_is_the_setting() -> None:
    """The setting counts, else the processors of this process."""
    with config.set(threads=5):
        assert pool.threads() == 5
    if hasattr(os, "sched_getaffinity"):
        assert pool.threads() == len(os.sched_getaffinity(0))


def test_changing_the_setting_while_others_work() -> None:
    """Threads that change the number of threads never make another's work fail."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(50):
                done: list[int] = []
                with config.set(threads=number):
                    pool.run(done.append, range(10), 10, number)
                assert sorted(done) == list(range(10))
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    config.reset()
    assert not failures


def test_work_after_the_end_of_the_main_thread() -> None:
    """While the interpreter shuts down and starts no threads any more, the work is still done."""
    program = (
        "import atexit, threading\n"
        "from zarrv3 import config\n"
        "from zarrv3.chunks import pool\n"
        "config.set(threads=4)\n"
        "def last():\n"
        "    done = []\n"
        "    pool.run(done.append, range(9), 9, 4)\n"
        "    print(sorted(done))\n"
        "atexit.register(last)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout.strip() == str(list(range(9))), done.stderr
