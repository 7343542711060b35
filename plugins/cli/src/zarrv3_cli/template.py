"""The template of a plugin, and projects made from it."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from zarrv3.errors import ConfigurationError
from zarrv3.registry import BUILT_IN, OFFERED, plugins

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def source() -> Path:
    """The template's folder: in the installed package, or in the checkout of an editable installation."""
    here = Path(__file__).resolve().parent
    for folder in (here / "template", here.parents[3] / "template"):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise ConfigurationError("the template of plugins is missing from this installation of zarrv3-cli")


def checked(name: str) -> str:
    """The plugin's name without what its distribution's name has before it.

    Raises `ConfigurationError` for a name that makes no package, and for one that a store or layer has already.
    """
    short = name.removeprefix("zarrv3-").removeprefix("store-")
    if not NAME.fullmatch(short):
        raise ConfigurationError(
            f"{name!r} cannot be a plugin's name: use small letters, digits and single hyphens, as in 'my-store'"
        )
    taken = {plugin.name for plugin in plugins() if plugin.kind in {"stores", "layers"}}
    for kind in ("stores", "layers"):
        taken |= {*BUILT_IN[kind], *OFFERED[kind]}
    if short in taken or short == "store":
        raise ConfigurationError(f"the name {short!r} is taken; zarrv3 stores lists the names there are")
    return short


def write(name: str, target: Path) -> list[str]:
    """Make a project from the template in a new folder, which appears with all its files or not at all.

    Returns the files. Raises `FileExistsError` when something is there.
    """
    if target.exists():
        raise FileExistsError(f"there is something at {target} already; name another folder with --into")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        written = []
        for path, inside in _files():
            file = made / renamed(inside.as_posix(), name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(renamed(path.read_text(encoding="utf-8"), name), encoding="utf-8")
            written.append(renamed(inside.as_posix(), name))
        made.chmod(0o755)
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return written


def renamed(text: str, name: str) -> str:
    """A text of the template with the plugin's name for `example`: with hyphens, as an identifier, or as a class."""
    identifier = name.replace("-", "_")
    cls = "".join(part.capitalize() for part in name.split("-"))
    text = re.sub(r"(?<=_)example|example(?=_)", identifier, text)
    return text.replace("example", name).replace("Example", cls)


def _files() -> Iterator[tuple[Path, PurePosixPath]]:
    folder = source()
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        hidden = any(
            part == "__pycache__" or part.startswith(".") or part.endswith(".egg-info")
            for part in inside.parts
        )
        if path.is_file() and not hidden:
            yield path, inside
