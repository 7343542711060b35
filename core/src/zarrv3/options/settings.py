"""Settings of the process and named stores: from code, the environment and one TOML file.

The file is the one `ZARRV3_CONFIG` names, else `zarrv3/config.toml` in the user's configuration folder:

    [settings]
    threads = 4

    [stores.scans]
    url = "redis://:${REDIS_PASSWORD}@db.example/0"

A setting is looked up in code (`config.set`), then in `ZARRV3_<SETTING>`, then in the file; a named store in
`ZARRV3_STORE_<NAME>`, then in the file.
"""

import functools
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

from zarrv3.errors import ConfigurationError
from zarrv3.forks import Lock
from zarrv3.options.urls import boolean


class Setting(NamedTuple):
    """What a setting may be and what it means."""

    convert: Callable[[str], Any]
    check: Callable[[Any], bool]
    default: Any
    meaning: str


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0


SETTINGS: Mapping[str, Setting] = {
    "threads": Setting(
        int,
        lambda value: value is None or _positive(value),
        None,
        "how many threads move chunks; by default one for each processor the process may use, three where the store is not local",
    ),
    "aio_threads": Setting(int, _positive, 16, "how many calls of `zarrv3.aio` run at once"),
    "kernels": Setting(
        str,
        lambda value: isinstance(value, str) and bool(value),
        "native",
        "the name of the plugin that moves chunks in batches, where it is installed; 'none' for none",
    ),
    "prefer": Setting(
        str,
        lambda value: value is None or isinstance(value, str),
        None,
        "names of stores, separated by commas, that are asked first where several packages serve a URL: 'fsspec'",
    ),
    "window": Setting(int, _positive, 64, "how many chunks are asked of a store at once"),
    "unpacked_bytes": Setting(
        int,
        _positive,
        2**30,
        "the most that a chunk of texts or byte strings may be decompressed to; nothing but its values tells how much that is",
    ),
    "write_empty_chunks": Setting(
        boolean,
        lambda value: type(value) is bool,
        False,
        "whether chunks that hold only the fill value are stored",
    ),
    "order": Setting(
        str,
        lambda value: value in ("C", "F"),
        "C",
        "in which order, 'C' or 'F', the elements of what is read lie in memory; what is stored stays the same",
    ),
}

ALIASES: Mapping[str, str] = {
    "array.order": "order",
    "array.write_empty_chunks": "write_empty_chunks",
    "async.concurrency": "window",
    "codec_pipeline.max_workers": "threads",
    "threading.max_workers": "threads",
}
"""What zarr-python 3 calls settings."""

FIXED: Mapping[str, Any] = {"array.read_missing_chunks": True, "default_zarr_format": 3}
"""Settings of zarr-python 3 that can be nothing else here."""

MEANINGLESS: Mapping[str, Any] = {
    "array.rectilinear_chunks": True,
    "array.sharding_coalesce_max_bytes": None,
    "array.sharding_coalesce_max_gap_bytes": None,
    "array.target_shard_size_bytes": None,
    "async.timeout": None,
    "codec_pipeline.batch_size": None,
    "codec_pipeline.path": None,
    "json_indent": 2,
}
"""Settings of zarr-python 3 that may be made and change nothing here, with what they are until then."""


class Config:
    """The settings of this process; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._set: dict[str, Any] = {}
        self._file: tuple[str, dict[str, Any]] | None = None

    def get(self, name: str, *default: Any) -> Any:
        """The value of a setting, also by the name that zarr-python 3 has for it.

        Args:
            name: the name.
            default: what an unknown name means; without it, that is a `ConfigurationError`.
        """
        in_code = self._set  # replaced, never changed
        name = ALIASES.get(name, name)
        if name in in_code:
            return in_code[name]
        if name not in SETTINGS:
            theirs = {**MEANINGLESS, **FIXED}
            if name in theirs or default:
                return theirs.get(name, *default)
        setting = _setting(name)
        text = os.environ.get(f"ZARRV3_{name.upper()}")
        if text:
            try:
                return _checked(name, setting.convert(text))
            except ValueError as error:
                raise ConfigurationError(f"ZARRV3_{name.upper()}={text!r}: {setting.meaning}") from error
        return _checked(name, self._table("settings").get(name, setting.default))

    @property
    def stamp(self) -> object:
        """Another object after every change in code."""
        return self._set

    def set(
        self, named: Mapping[str, Any] | None = None, /, **settings: Any
    ) -> AbstractContextManager[object]:
        """Change settings; used in a `with` statement, the old ones come back at its end.

        Args:
            named: settings by name, also those of zarr-python 3: `{"threading.max_workers": 4}`.
            settings: settings by name.

        Raises `ConfigurationError` for a name or value that makes no sense; nothing is changed then.
        """
        before = self._exchange(checked({**(named or {}), **settings}))
        at_end = ExitStack()
        at_end.callback(self._exchange, before)
        return at_end

    def _exchange(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Change settings without a check, `_ABSENT` takes one away; returns what they were."""
        with self._lock.taken:
            before = self._set
            self._set = {n: v for n, v in {**before, **settings}.items() if v is not _ABSENT}
        return {name: before.get(name, _ABSENT) for name in settings}

    def named_store(self, name: str) -> Any:
        """The URL or configuration of a named store; an unknown name is an error that lists the known ones."""
        variable = f"ZARRV3_STORE_{name.upper().replace('-', '_')}"
        if os.environ.get(variable):
            return os.environ[variable]
        stores = self._table("stores")
        if name not in stores:
            known = ", ".join(sorted(stores)) or "none"
            raise ConfigurationError(
                f"no store is named {name!r}; named in {config_file()}: {known}; {variable} would name one too"
            )
        return stores[name]

    def reset(self) -> None:
        """Forget what was set in code and read from the file."""
        self._set = {}
        self._file = None

    def pprint(self, **options: Any) -> None:
        """Print all settings as they are now; takes what `pprint.PrettyPrinter` takes."""
        import pprint

        pprint.PrettyPrinter(**options).pprint({name: self.get(name) for name in SETTINGS})

    def __repr__(self) -> str:
        """All settings as they are now."""
        return f"<zarrv3.config {', '.join(f'{name}={self.get(name)!r}' for name in SETTINGS)}>"

    def _table(self, name: str) -> Mapping[str, Any]:
        path = config_file()
        kept = self._file
        if kept is None or kept[0] != path:  # threads may read it at once
            kept = self._file = (path, _read(path))
        table: Mapping[str, Any] = kept[1].get(name, {})
        return table


_ABSENT = object()

config = Config()
"""The settings of this process."""


def config_file() -> str:
    """Where the configuration is looked for; as text, since it is asked for with every setting that is read."""
    return os.environ.get("ZARRV3_CONFIG") or _default_place(
        os.environ.get("XDG_CONFIG_HOME"), os.environ.get("HOME")
    )


@functools.lru_cache(maxsize=8)
def _default_place(folder: str | None, home: str | None) -> str:  # noqa: ARG001 - what `~` stands for depends on it
    folder = folder or os.path.expanduser("~/.config")  # noqa: PTH111 - no error without a home
    return os.path.join(folder, "zarrv3", "config.toml")  # noqa: PTH118


def _setting(name: str, prefix: str = "") -> Setting:
    if name not in SETTINGS:
        raise ConfigurationError(f"{prefix}no setting is called {name!r}; there are: {', '.join(SETTINGS)}")
    return SETTINGS[name]


def checked(named: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by our names, from those and from zarr-python's; raises `ConfigurationError` for what makes no sense."""
    wanted = {ALIASES.get(name, name): value for name, value in named.items()}
    for name, value in wanted.items():
        if name in FIXED and value != FIXED[name]:
            raise ConfigurationError(f"{name} is {FIXED[name]!r} here, and cannot be {value!r}")
        if name not in FIXED and name not in MEANINGLESS:
            _checked(name, value)
    return wanted


def _checked(name: str, value: Any) -> Any:
    setting = _setting(name)
    if not setting.check(value):
        raise ConfigurationError(f"setting {name}={value!r}: it says {setting.meaning}")
    return value


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            import tomllib

            content = tomllib.load(file)
    except FileNotFoundError:
        if os.environ.get("ZARRV3_CONFIG"):
            raise ConfigurationError(f"ZARRV3_CONFIG names {path}, which does not exist") from None
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} cannot be read as TOML: {error}") from error
    for name, table in content.items():
        if name not in {"settings", "stores"}:
            raise ConfigurationError(
                f"{path}: there is no table [{name}]; there are [settings] and [stores.NAME]"
            )
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path}: [{name}] must be a table")
    for name in content.get("settings", {}):
        _setting(name, f"{path}: ")
    return content
