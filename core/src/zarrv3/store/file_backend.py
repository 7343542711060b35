"""Backends that keep their data in a file or folder of this machine."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from zarrv3.options.urls import Url, local_path
from zarrv3.store.backend import Backend


class FileBackend(Backend):
    """The base class of stores whose first option is a path; `<kind>:///absolute/path` opens them.

    `~` is expanded at once, so that the store stays the same when the home folder changes; a relative path is taken from
    the folder that is current when the store is first used.

    Args:
        path: of the file or folder; it need not exist yet.
        options: the subclass's other options, as for `Backend`.
    """

    example_name: ClassVar[str] = "data"
    """What the file or folder of the example is called."""

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        text = os.fspath(path)
        # PTH111: stays what it is, a template or plain text
        super().__init__(path=type(text)(os.path.expanduser(text)), **options)  # noqa: PTH111

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The path of `<kind>:///absolute/path`."""
        return {"path": local_path(url)}

    @classmethod
    def example_url(cls, folder: str) -> str:
        """A new store in the folder."""
        from pathlib import Path

        return Path(folder, cls.example_name).absolute().as_uri().replace("file:", f"{cls.kind}:", 1)

    @property
    def path(self) -> str:
        """The absolute path of the file or folder."""
        path: str = self.option("path")
        return os.path.abspath(path)  # noqa: PTH100 - the user's spelling, links kept

    def _identity(self) -> Any:
        return {**self._changed_options(), "path": self.path}
