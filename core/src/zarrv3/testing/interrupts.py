"""Interrupts (Ctrl-C) at every point of a call at which Python can let one in."""

from __future__ import annotations

import gc
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import FrameType
from typing import Any


def interruptions(call: Callable[[], Any], step: int = 1) -> Iterator[KeyboardInterrupt]:
    """Do a call again and again, each time interrupted `step` points later, until it is through: what it raised each time.

    A signal is let in where a function of Python begins, and where one of C has just done its work: with that done, and the
    result lost. What the call does may depend on what was left by the last one.
    """
    for point in count(1, step):
        error = interrupted(call, point)
        if error is None:
            return
        yield error


def points(call: Callable[[], Any]) -> int:
    """Do a call; at how many points it could have been interrupted."""
    nowhere = _Interrupter(0)
    _profiled(call, nowhere)
    return -nowhere.left


def interrupted(call: Callable[[], Any], point: int) -> KeyboardInterrupt | None:
    """Do a call and interrupt it at a point, counted from 1; what it raised, `None` if it was through before."""
    try:
        _profiled(call, _Interrupter(point))
    except KeyboardInterrupt as error:
        return error
    return None


@contextmanager
def unheard() -> Iterator[None]:
    """What was just being made when an interrupt came may complain and be logged when it goes, which it does before this ends.

    As a decorator, it lets all that a function has made go.
    """
    usual, sys.unraisablehook = sys.unraisablehook, lambda _: None
    level = logging.root.manager.disable
    logging.disable()  # a record may keep everything that an exception came through
    try:
        yield
        gc.collect()
    finally:
        logging.disable(level)
        sys.unraisablehook = usual


def _profiled(call: Callable[[], Any], interrupter: _Interrupter) -> None:
    usual, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # an interrupt that comes into what a collection calls is lost
    sys.setprofile(interrupter.look)
    try:
        call()
    finally:
        sys.setprofile(usual)
        if collects:
            gc.enable()


class _Interrupter:
    def __init__(self, point: int) -> None:
        self.left = point

    def look(self, frame: FrameType, event: str, what: Any) -> None:
        if event == "c_return" or (event == "call" and not frame.f_code.co_flags & _RESUMES):
            self.left -= 1
            if self.left == 0 and what is not sys.setprofile:
                sys.setprofile(None)
                raise KeyboardInterrupt


_RESUMES = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""What goes on where it was is not interrupted there: a profiler cannot raise within its `try`, as a signal can."""
