"""What reads and writes many files at once, where kernels are installed that can: see `zarrv3.options.kernels`.

A kernel does the usual cases and leaves the rest to the driver: missing folders, odd names, failures.
"""

from __future__ import annotations

from typing import Any, Protocol

from zarrv3.options.kernels import kernels
from zarrv3.store.contract import Buffer, Request, Version


class FileKernel(Protocol):
    """Methods that kernels may have besides those for chunks; all are thread-safe.

    With `letters`, a name with letters leads to the file of exactly this name; without, such names are left undone.
    """

    def get_files(
        self,
        root: str,
        requests: list[Request],
        reserved: str,
        flags: int,
        *,
        letters: bool,
        versions: bool,
    ) -> tuple[list[Any], list[int]]:
        """The requested bytes of regular files below a folder, and the numbers of those left undone.

        Args:
            root: the path of the folder; links in it are followed.
            requests: paths below it and ranges.
            reserved: paths with a part that begins so are left undone.
            flags: what they are opened with; with `O_NOFOLLOW` no part of a path may be a symbolic link.
            letters: see above.
            versions: give pairs of bytes and version; a file whose time is of a whole microsecond is left undone.
        """

    def replace_files(
        self,
        folder: int,
        names: list[str],
        values: list[Buffer | None],
        prefix: str,
        flags: int,
        *,
        letters: bool,
        versions: list[Version | None] | None = None,
    ) -> tuple[list[int], list[int]]:
        """Replace files in an open folder through temporary ones; the numbers of those left undone, and of those refused.

        Args:
            folder: a descriptor; with `versions`, nobody else writes in it.
            names: of the files.
            values: as many; files to be erased (`None`) are left undone.
            prefix: what the name of a temporary file begins with; the last 200 characters of the file's follow.
            flags: what temporary files are created with.
            letters: see above.
            versions: what the files have to have, as `get_files` gives them, `None` where no file may be; others are refused.
        """


def file_kernel() -> FileKernel | None:
    """The kernels in use, if they can handle files."""
    kernel: FileKernel | None = kernels()
    return kernel if hasattr(kernel, "get_files") else None
