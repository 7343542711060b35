"""What can be shown here of other systems: stores work without what Windows lacks. That it works there is not shown by this."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zarrv3.store import files

WITHOUT = """
import asyncio, concurrent.futures, multiprocessing, os, random, shutil, signal, socket, subprocess, sys, tempfile, threading
import numpy, numcodecs, pluggy
for module in {modules}:
    sys.modules[module] = None
for name in {names}:
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "setitimer", "SIGALRM"):
    delattr(signal, name)
os.supports_dir_fd = os.supports_fd = os.supports_follow_symlinks = set()

import numpy as np
import zarrv3

def use(url):
    data = np.arange(12_000, dtype="i4").reshape(60, 200)
    with zarrv3.open_store(url) as store:
        array = zarrv3.create_array(store, name="a", data=data, chunks=(16, 64))
        array[5:30] = 7
        array.append(data[:9])
        array.attrs["unit"] = "m"
        zarrv3.create_array(store, name="b", data=data, chunks=(20, 50), shards=(40, 100))
    expected = np.concatenate([data, data[:9]])
    expected[5:30] = 7
    with zarrv3.open_store(url) as store:
        group = zarrv3.open(store, mode="a")
        assert (group["a"][:] == expected).all()
        assert group["a"].attrs["unit"] == "m"
        del group["a"]
        assert [*group.array_keys()] == ["b"]
        assert (group["b"][3:50, ::3] == data[3:50, ::3]).all()
    return url

assert [*map(use, sys.argv[1:])] == sys.argv[1:]
"""
MODULES = ["fcntl", "grp", "pwd", "resource", "termios"]
NAMES = [
    "O_CLOEXEC",
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "chown",
    "copy_file_range",
    "fchdir",
    "fchmod",
    "fchown",
    "fdatasync",
    "fork",
    "forkpty",
    "fstatvfs",
    "geteuid",
    "getuid",
    "getxattr",
    "killpg",
    "listxattr",
    "mkfifo",
    "posix_fadvise",
    "posix_fallocate",
    "pread",
    "preadv",
    "pwrite",
    "pwritev",
    "register_at_fork",
    "sched_getaffinity",
    "sendfile",
    "setuid",
    "splice",
    "statvfs",
    "sync",
    "uname",
]


URLS = ["file:///{}/a", "zip:///{}/a.zip", "dbm:///{}/a.dbm", "sqlite:////{}/a.db", "lmdb:///{}/a.lmdb"]


def test_stores_work_without_what_windows_lacks(tmp_path: Path) -> None:
    """Arrays are written, appended to, read and erased where modules and functions of POSIX are missing."""
    program = WITHOUT.format(modules=MODULES, names=NAMES)
    urls = [url.format(tmp_path.as_posix().lstrip("/")) for url in URLS]
    command = [sys.executable, "-W", "error", "-c", program, *urls]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr


def test_positions_are_kept_apart_where_a_file_has_one(tmp_path: Path) -> None:
    """What stands in for `os.pread` and `os.pwrite` reads and writes at a position while other threads do so elsewhere."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    barrier = threading.Barrier(4)

    def work(number: int) -> bool:
        barrier.wait(60)
        value, start = bytes([number]) * 100, 100 * number
        for _ in range(200):
            assert files._write_at(fd, memoryview(value), start) == 100
            if files._read_at(fd, 100, start) != value:
                return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))
    assert [os.pread(fd, 1, 100 * number) for number in range(4)] == [b"\0", b"\1", b"\2", b"\3"]
    os.close(fd)
