"""Which modules the tests run over, and a database of another library."""

import contextlib
import importlib
import importlib.util
import os
import sqlite3
import sys
import sysconfig
from collections.abc import Iterator, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zarrv3_store_dbm import DBMStore

FOLDERS = "ZARRV3_TEST_DBM_MODULES"
"""An environment variable: folders that have `_gdbm` or `_dbm` for this version of Python, besides the system's own."""


def _borrowed(name: str) -> None:
    """Take a module that this Python was built without from another build of the same version."""
    system = Path(sysconfig.get_path("stdlib")).name
    folders = [*os.environ.get(FOLDERS, "").split(os.pathsep), f"/usr/lib/{system}/lib-dynload"]
    for folder in filter(None, folders):
        file = Path(folder, name + sysconfig.get_config_var("EXT_SUFFIX"))
        spec = importlib.util.spec_from_file_location(name, file) if file.exists() else None
        if spec and spec.loader:
            module = importlib.util.module_from_spec(spec)
            with contextlib.suppress(ImportError):
                spec.loader.exec_module(module)
                sys.modules[name] = module
                return


def _modules() -> list[str]:
    found: list[str] = []
    for name, part in (("dumb", None), ("gnu", "_gdbm"), ("ndbm", "_dbm"), ("sqlite3", None)):
        with contextlib.suppress(ImportError):
            if part and importlib.util.find_spec(part) is None:
                _borrowed(part)
            importlib.import_module(f"dbm.{name}")
            found.append(name)
    return found


MODULES = _modules()


class Shelf(MutableMapping[bytes, bytes]):
    """Bytes by bytes in a table of SQLite, for the thread that made it: a library that is not Python's."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous = off")  # no test cuts the power
        self.connection.execute("CREATE TABLE IF NOT EXISTS shelf (k BLOB PRIMARY KEY, v BLOB)")

    def __getitem__(self, key: bytes) -> bytes:
        for (value,) in self.connection.execute("SELECT v FROM shelf WHERE k = ?", (key,)):
            return bytes(value)
        raise KeyError(key)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.connection.execute("REPLACE INTO shelf VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if not self.connection.execute("DELETE FROM shelf WHERE k = ?", (key,)).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[bytes]:
        return iter([key for (key,) in self.connection.execute("SELECT k FROM shelf")])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def shelf_open(path: str, flag: str = "r", mode: int = 0o666, *, ending: str = "") -> Shelf:
    """Open one as the dbm modules do."""
    if flag in {"r", "w"} and not Path(path + ending).exists():
        raise FileNotFoundError(path + ending)
    if flag == "n":
        Path(path + ending).unlink(missing_ok=True)
    return Shelf(path + ending)


VARIANTS: dict[str, dict[str, Any]] = {
    **{module: {"module": module} for module in MODULES},
    "shelf": {"open": shelf_open, "ending": ".shelf"},
}
"""How a database can be opened here: every module that there is, and a function."""


@pytest.fixture
def shelf() -> dict[str, Any]:
    """The options of a database that is not Python's."""
    return VARIANTS["shelf"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a variant over all of them, or over those that its class names."""
    if "variant" in metafunc.fixturenames:
        wanted = getattr(metafunc.cls, "variants", VARIANTS)
        metafunc.parametrize("variant", sorted({*wanted} & {*VARIANTS}), indirect=True)


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options for each way of opening a database."""
    return VARIANTS[request.param]


@pytest.fixture
def open_it(variant: dict[str, Any], tmp_path: Path) -> Any:
    """What opens the same database with every call, which does not exist at first."""
    return partial(DBMStore, tmp_path / "new" / "data", **variant)


@pytest.fixture
def available() -> list[str]:
    """The modules that there are."""
    return MODULES


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what the tests ran over."""
    terminalreporter.write_line(
        f"zarrv3-store-dbm: the modules here are {', '.join(MODULES)}; tested over them and an open function"
    )
