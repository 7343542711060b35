"""Threads and processes that work together, a writer that is killed, and values that prove themselves whole.

Child processes are forked where the system can, so that openers may be closures; elsewhere they are spawned and the
opener has to be picklable.
"""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from zarrv3.testing.rules import ConformanceError, NotApplicableError

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which a child process is considered to hang."""

SWITCHING = 2e-5
"""Seconds after which the interpreter changes between threads that race; usually it is 5e-3."""

CONTEXT: Any = multiprocessing.get_context(
    "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
)

CHILD_RULE = "a child process can use the store as its parent does"


# ---------------------------------------------------------------- values that prove themselves whole

LENGTHS = (40, 700, 9_000, 120_000)


def stamped(key: str, generation: int, most: int | None = None) -> bytes:
    """The one value that a key has in a generation: its length and every byte follow from both."""
    head = b"%010d|%08x|" % (generation, zlib.crc32(key.encode()))
    length = LENGTHS[(generation * 7 + zlib.crc32(key.encode())) % len(LENGTHS)]
    length = max(len(head), min(length, most or length))
    return (head * (length // len(head) + 1))[:length]


def generation_of(key: str, value: bytes, most: int | None = None) -> int | None:
    """The generation of a whole value; `None` when it is a mixture, a part, or another key's."""
    digits = value[:10]
    if len(digits) < 10 or not digits.isdigit():
        return None
    generation = int(digits)
    return generation if value == stamped(key, generation, most) else None


# ---------------------------------------------------------------- together


def threads_together(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The results of calls that start at the same moment, each in a thread of its own; raises what one raised.

    The interpreter changes between the threads far more often than it usually does, so that races are lost.
    """
    barrier = threading.Barrier(len(calls))
    usual = sys.getswitchinterval()

    def run(call: Callable[[], T]) -> T:
        barrier.wait(PATIENCE)
        return call()

    sys.setswitchinterval(SWITCHING)
    try:
        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(run, calls))
    finally:
        sys.setswitchinterval(usual)


def together(function: Callable[..., Any], subject: Any, count: int, *arguments: Any) -> list[Any]:
    """The results of `function(subject, number, *arguments)` from child processes that start at the same moment."""
    barrier = CONTEXT.Barrier(count)
    children = [Child(_at_once, barrier, function, subject, number, *arguments) for number in range(count)]
    try:
        return [child.result() for child in children]
    finally:
        for child in children:
            child.kill()


def dies(function: Callable[..., Any], *arguments: Any, rule: str) -> None:
    """Run a function in a child process that then kills itself: nothing is closed or cleaned up."""
    needs_kill()
    child = Child(_then_die, function, *arguments)
    try:
        outcome = child.outcome()
        if outcome is not None:
            raise ConformanceError(rule, f"before it was to be killed, a child process failed:\n{outcome[1]}")
    finally:
        child.kill()


def needs_kill() -> None:
    """Raise `NotApplicableError` where processes cannot be killed as the checks need it."""
    if not hasattr(signal, "SIGKILL"):
        raise NotApplicableError("this system has no SIGKILL")


class Child:
    """A child process that runs one function and sends back what it returns or raises."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.pipe: Connection
        self.pipe, theirs = CONTEXT.Pipe(duplex=False)
        self.process: BaseProcess = CONTEXT.Process(
            target=_main, args=(theirs, function, arguments), daemon=True
        )
        with (
            warnings.catch_warnings()
        ):  # Python 3.12 warns of forking when there are threads: ours have ended
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()

    def outcome(self) -> tuple[bool, Any] | None:
        """Whether it succeeded, and the result or the traceback's text; `None` when it was killed first."""
        if not wait([self.pipe], PATIENCE + 5):
            raise ConformanceError(CHILD_RULE, f"a child process has not ended after {PATIENCE:.0f} s")
        try:
            found: tuple[bool, Any] = self.pipe.recv()
        except EOFError:
            return None
        return found

    def result(self) -> Any:
        """What the function returned."""
        outcome = self.outcome()
        if outcome is None:
            self.process.join(PATIENCE)
            raise ConformanceError(CHILD_RULE, f"a child process died with exit code {self.process.exitcode}")
        well, value = outcome
        if not well:
            raise ConformanceError(CHILD_RULE, f"a child process failed:\n{value}")
        self.process.join(PATIENCE)
        return value

    def kill(self) -> None:
        """End it if it lives, and release everything."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join(PATIENCE)
        self.process.close()
        self.pipe.close()


def _main(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(PATIENCE, file=sys.__stderr__)  # where it hangs
    try:
        outcome = (True, function(*arguments))
    except BaseException:  # noqa: BLE001 - whatever it was, the parent is told
        outcome = (False, traceback.format_exc())
    pipe.send(outcome)


def _at_once(barrier: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    barrier.wait(PATIENCE)
    return function(*arguments)


def _then_die(function: Callable[..., Any], *arguments: Any) -> None:
    function(*arguments)
    os.kill(
        os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM)
    )  # Windows ends a process at once by either


# ---------------------------------------------------------------- a writer that is killed


class Writer:
    """A child process that does operation after operation and tells the number of each one that has returned.

    Args:
        operate: `operate(subject, n)` does the operation of number `n`.
        prepare: makes the subject in the child: an opener.
        first: the number of the first operation.
    """

    def __init__(self, operate: Callable[[Any, int], None], prepare: Callable[[], Any], first: int) -> None:
        self.done = first - 1
        self.acknowledged, theirs = CONTEXT.Pipe(duplex=False)
        self.child = Child(_write_on, theirs, operate, prepare, first)
        theirs.close()

    def wait_for_first(self) -> None:
        """Return when one operation was acknowledged; raises when the writer failed."""
        ready = wait([self.acknowledged, self.child.pipe], PATIENCE)
        if self.acknowledged not in ready:
            self.child.result()
            raise ConformanceError(CHILD_RULE, "a writer ended by itself")
        self._read()

    def kill(self) -> int:
        """Kill it at once; returns the number of the last operation that it has acknowledged."""
        if self.child.pipe.poll():
            self.child.result()
        self.child.process.kill()
        while self._read():
            pass
        self.acknowledged.close()
        self.child.kill()
        return self.done

    def _read(self) -> bool:
        try:
            self.done = int.from_bytes(self.acknowledged.recv_bytes())
        except (EOFError, OSError):
            return False
        return True


def _write_on(
    pipe: Connection, operate: Callable[[Any, int], None], prepare: Callable[[], Any], first: int
) -> None:
    subject = prepare()
    number = first
    while True:
        operate(subject, number)
        pipe.send_bytes(number.to_bytes(8))
        number += 1


def open_files(folder: str | os.PathLike[str]) -> list[str]:
    """The paths below a folder that this process has open, where `/proc` tells (Linux); elsewhere none.

    Descriptors are not counted, since other threads of the process open and close theirs.
    """
    paths = []
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # closed meanwhile
            paths.append(str(link.readlink()))
    root = str(Path(folder).resolve())
    return sorted(path for path in paths if path.startswith(root))
