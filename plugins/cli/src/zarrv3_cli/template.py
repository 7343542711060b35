"""The templates of plugins, and projects made from them."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from zarrv3.errors import ConfigurationError
from zarrv3.registry import BUILT_IN, OFFERED, Kind, plugins

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

KINDS: dict[str, tuple[Kind, ...]] = {
    "store": ("stores", "layers"),
    "layer": ("stores", "layers"),
    "codec": ("codecs",),
    "transformer": ("storage_transformers",),
}
"""The kinds of plugins that there is a template of, each with the kinds in which its name must be new."""

SHARED = ("LICENSE", ".github/workflows/tests.yml")
"""The files of the template of a store that are in every project."""


class Author(NamedTuple):
    """What a project says about who makes it."""

    name: str
    url: str
    """Where the project will be."""


def source() -> Path:
    """The template's folder: in the installed package, or in the checkout of an editable installation."""
    here = Path(__file__).resolve().parent
    for folder in (here / "template", here.parents[3] / "template"):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise ConfigurationError("the template of plugins is missing from this installation of zarrv3-cli")


def checked(name: str, kind: str = "store") -> str:
    """The plugin's name without what its distribution's name has before it.

    Raises `ConfigurationError` for a name that makes no package, and for one that is taken.
    """
    short = name.removeprefix("zarrv3-").removeprefix(f"{kind}-")
    if not NAME.fullmatch(short):
        raise ConfigurationError(
            f"{name!r} cannot be a plugin's name: use small letters, digits and single hyphens, as in 'my-{kind}'"
        )
    taken = {plugin.name for plugin in plugins() if plugin.kind in KINDS[kind]}
    for one in KINDS[kind]:
        taken |= {*BUILT_IN[one], *OFFERED[one]}
    if short in taken or short == kind:
        raise ConfigurationError(
            f"the name {short!r} is taken; zarrv3 stores --kind all lists the names there are"
        )
    return short


def author(distribution: str, name: str | None = None, url: str | None = None) -> Author:
    """Who makes a project, and where it will be, as far as git knows."""
    known = name or _git("user.name") or "Your Name"
    account = _git("github.user") or re.sub(r"[^a-z0-9]+", "-", known.lower()).strip("-") or "your-name"
    return Author(known, (url or f"https://github.com/{account}/{distribution}").rstrip("/"))


def _git(setting: str) -> str:
    """A setting of git; nothing where there is none, or no git."""
    program = shutil.which("git")
    if program is None:
        return ""
    asked = subprocess.run(  # noqa: S603 - git, asked for a setting
        [program, "config", setting], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def write(name: str, target: Path, by: Author, kind: str = "store") -> list[str]:
    """Make a project from a template in a new folder, which appears with all its files or not at all.

    Returns the files. Raises `FileExistsError` when something is there.
    """
    if target.exists():
        raise FileExistsError(f"there is something at {target} already; name another folder with --into")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        written = []
        for path, inside in files(kind):
            file = made / renamed(inside.as_posix(), name)
            file.parent.mkdir(parents=True, exist_ok=True)
            text = renamed(path.read_text(encoding="utf-8"), name)
            file.write_text(_signed(text, file.name, f"zarrv3-{kind}-{name}", by), encoding="utf-8")
            written.append(renamed(inside.as_posix(), name))
        made.chmod(0o755)
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return written


def _signed(text: str, file: str, distribution: str, by: Author) -> str:
    """A file with its author's name, the year and the project's URL."""
    name = by.name.replace("\\", "\\\\").replace('"', '\\"') if file.endswith(".toml") else by.name
    text = text.replace("(c) 2026", f"(c) {time.localtime().tm_year}").replace("Your Name", name)
    return text.replace(f"https://github.com/your-name/{distribution}", by.url)


def renamed(text: str, name: str) -> str:
    """A text of the template with the plugin's name for `example`: with hyphens, as an identifier, or as a class."""
    identifier = name.replace("-", "_")
    cls = "".join(part.capitalize() for part in name.split("-"))
    text = re.sub(r"(?<=_)example|example(?=_)", identifier, text)
    return text.replace("example", name).replace("Example", cls)


def files(kind: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """The files of the template of a kind, each with where it goes."""
    top = source()
    folder = top if kind == "store" else top / "kinds" / kind
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        if path.is_file() and inside.parts[0] != "kinds" and not any(map(_is_made, inside.parts)):
            yield path, inside
    if kind != "store":
        yield from ((top / name, PurePosixPath(name)) for name in SHARED)


def _is_made(part: str) -> bool:
    """Whether a part of a path is what tools leave behind."""
    hidden = part.startswith(".") and part != ".github"
    return part == "__pycache__" or hidden or part.endswith(".egg-info")
