"""Write what is generated in these pages: `python docs/generate.py`, or with `--check` only say whether it is current.

With names of pages (`cli.md`, `ARCHITECTURE.md`, and `README.md` for the options in those of the plugins), only those.

The table of capabilities has one rule for all backends: what a live store says. It is opened at the class's `example_url`,
or on the server that its `example_server` starts. A class that has neither is not in the table.
"""

import ast
import difflib
import re
import runpy
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import zarrv3
from zarrv3 import registry
from zarrv3.options.declared import markdown

FOLDER = Path(__file__).parent
OPTIONS = re.compile(r"(<!-- options of (\w+) -->\n).*?(<!-- end of options -->)", re.DOTALL)
READMES = sorted(
    path for path in FOLDER.parent.glob("plugins/*/README.md") if OPTIONS.search(path.read_text("utf-8"))
)
START, END = "<!-- generated -->\n", "<!-- end of generated -->"
FLAGS = [field.name for field in fields(zarrv3.Capabilities) if field.name != "limits"]
LIMITS = [field.name for field in fields(zarrv3.Limits)]


def backends() -> dict[type[zarrv3.BaseStore], list[str]]:
    """The classes of installed stores, each with its schemes."""
    found: dict[type[zarrv3.BaseStore], list[str]] = {}
    for plugin in registry.plugins("stores"):
        found.setdefault(registry.load_plugin(plugin), []).append(plugin.name)
    return dict(sorted(found.items(), key=lambda item: item[0].__name__))


@contextmanager
def example(cls: type[zarrv3.BaseStore]) -> Iterator[str | None]:
    """A URL for new data of a class, for as long as the block lasts; `None` where there is none."""
    server = cls.example_server()
    if server is not None:
        with server as url:
            yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        yield cls.example_url(folder)


def capabilities() -> dict[type[zarrv3.BaseStore], zarrv3.Capabilities]:
    """What a live store of each class says."""
    found = {}
    for cls in backends():
        with example(cls) as url:
            if url is not None:
                with zarrv3.open_store(url) as store:
                    found[cls] = store.capabilities
    return found


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---" for _ in heads], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(number: int | None) -> str:
    """A limit as people read it: exact while it is small."""
    if number is None:
        return ""
    if number < 1 << 20:
        return f"{number:,}"
    exponent, unit = (30, "Gi") if number >= 1 << 30 else (20, "Mi")
    return f"{number / (1 << exponent):.4g} {unit}"


def generated() -> str:
    """The generated part of the page."""
    schemes, can = backends(), capabilities()
    flags = [[name, *("yes" if getattr(can[cls], name) else "" for cls in can)] for name in FLAGS]
    limits = [[name, *(shown(getattr(can[cls].limits, name)) for cls in can)] for name in LIMITS]
    origins = [
        [
            f"`{cls.__name__}`",
            ", ".join(f"`{name}`" for name in schemes[cls]),
            ", ".join(f"{name} {version}" for name, version in cls.tested_against.items()),
        ]
        for cls in can
    ]
    names = [f"`{cls.__name__}`" for cls in can]
    return (
        table(["capability", *names], flags)
        + "\n"
        + table(["limit", *names], limits)
        + "\n"
        + table(["class", "schemes", "tested against"], origins)
    )


def several_writers() -> str:
    """What a live store of each class says about several writers."""
    found = {}
    for cls in backends():
        with example(cls) as url:
            if url is not None:
                with zarrv3.open_store(url) as store:
                    shared = "yes" if store.capabilities.shared else "one at a time"
                    found[cls] = [shared, store.several_writers]
    rows = [[f"`{cls.__name__}`", *said] for cls, said in found.items()]
    return table(["class", "several processes", "safe with several writers"], rows)


def command_line() -> str:
    """The help of all commands, but for those of other plugins."""
    import typer

    from zarrv3_cli.application import application

    group = typer.main.get_command(application(plugins=False))
    commands: dict[str, Any] = {"": group, **group.commands}  # type: ignore[attr-defined]
    return "\n".join(command_help(name, command) for name, command in commands.items())


def command_help(name: str, command: Any) -> str:
    """A command's heading, its text, and a table of what it takes."""
    usage = [parameter.metavar for parameter in command.params if parameter.param_type_name == "argument"]
    called = " ".join(filter(None, ["zarrv3", name, *usage]))
    rows = [[f"`{spelling(parameter)}`", parameter.help or ""] for parameter in command.params]
    text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    return f"### {called}\n\n{text}\n\n{table(['argument', 'meaning'], rows)}"


def spelling(parameter: Any) -> str:
    """How an argument or option is written on the line."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.metavar}"


def option_tables(text: str) -> str:
    """A page with its tables of options, each between `<!-- options of CLASS -->` and `<!-- end of options -->`."""

    def made(match: re.Match[str]) -> str:
        return f"{match[1]}{markdown(registry.find_class(match[2]))}{match[3]}"

    return OPTIONS.sub(made, text)


def floor_plan() -> str:
    """Which room of the core imports from which, and the modules of each room, those below first."""
    tests = runpy.run_path(str(FOLDER.parent / "core" / "tests" / "test_imports.py"))
    rooms: list[str] = tests["ROOMS"]
    edges: dict[str, set[str]] = tests["graph"](tests["ROOT"])
    inside = {room: [name for name in edges if name.split(".")[1:2] == [room]] for room in rooms}
    lines = [f"{'':15}{''.join(f'{number:3}' for number in range(1, len(rooms) + 1))}"]
    for number, room in enumerate(rooms, 1):
        below = {other.split(".")[1] for name in inside[room] for other in edges[name] if "." in other} - {
            room
        }
        lines.append(f"{number:2} {room:12}{''.join('  x' if other in below else '  .' for other in rooms)}")
    plan = "".join(f"{line.rstrip(' .')}\n" for line in lines)
    return f"```\n{plan}```\n\n```\n{''.join(module_map(room, inside[room], edges) for room in rooms)}```\n"


def module_map(room: str, modules: list[str], edges: dict[str, set[str]]) -> str:
    """A room with the first sentence of its docstring, and its modules folder by folder."""
    source = Path(zarrv3.__file__).parent / room
    source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    folders: dict[str, list[str]] = {}
    for name in ordered(modules, edges):
        if name.count(".") > 1 and not is_package(name):
            folder, _, own = name.partition(f"zarrv3.{room}.")[2].rpartition(".")
            folders.setdefault(folder, []).append(own)
    sentence = re.sub(r"^(The )?\w+: ", "", docstring.splitlines()[0].split(". ")[0].rstrip("."))
    text = f"{room:12} {sentence}\n"
    for folder, names in sorted(folders.items()):
        label = f"{folder}/ " if folder else ""
        text += "".join(
            f"{line}\n"
            for line in textwrap.wrap(
                label + " ".join(names), 108, initial_indent=" " * 15, subsequent_indent=" " * 17
            )
        )
    return text


def is_package(name: str) -> bool:
    """Whether a module is a folder's `__init__`."""
    return Path(zarrv3.__file__).parent.joinpath(*name.split(".")[1:]).is_dir()


def ordered(modules: list[str], edges: dict[str, set[str]]) -> list[str]:
    """Modules in an order in which each imports only from those before it."""
    left, order = {*modules}, list[str]()
    while left:
        ready = sorted(name for name in left if not edges[name] & left)
        order += ready
        left.difference_update(ready)
    return order


BRINGS = {
    "stores": "",
    "fallbacks.stores": "where no other package serves them: ",
    "layers": "",
    "storage_transformers": "",
    "codecs": "codecs ",
    "data_types": "data types ",
    "chunk_grids": "",
    "kernels": "the kernels ",
}
"""The groups of entry points that a user meets, in words."""


KINDS = {
    "store-*": "Stores",
    "layer-*": "Layers",
    "transformer-*": "Storage transformers",
    "codecs-*": "Codecs",
    "types-*": "Data types",
    "grid-*": "Chunk grids",
    "bridge-*": "Bridges to other libraries",
    "*": "Tools",
}
"""How the folders of packages are called, and under which heading they stand; of several that fit, the first."""


def directory() -> str:
    """Every package of the project under the heading of its kind: what it is, and the names that it brings."""
    root = FOLDER.parent
    left = [path.parent for path in sorted(root.glob("plugins/*/pyproject.toml"))]
    text = ""
    for pattern, heading in KINDS.items():
        rows = [package_row(path) for path in left if path.match(pattern)]
        left = [path for path in left if not path.match(pattern)]
        text += f"\n### {heading}\n\n" + table(["package", "what it is", "names"], rows)
    return text.lstrip()


def package_row(path: Path) -> list[str]:
    """A package, what it is, and what it is called in URLs and documents."""
    project = tomllib.loads((path / "pyproject.toml").read_text("utf-8"))["project"]
    groups = project.get("entry-points", {})
    found = [
        words + some([f"\\|{name}:" if group == "layers" else name for name in groups[f"zarrv3.{group}"]])
        for group, words in BRINGS.items()
        if f"zarrv3.{group}" in groups
    ]
    link = f"[`{project['name']}`](../plugins/{path.name}/README.md)"
    return [link, project["description"], "; ".join(found)]


def some(names: list[str]) -> str:
    """Names as code, of many only the first."""
    shown = names if len(names) < 12 else names[:8]
    left = len(names) - len(shown)
    return ", ".join(f"`{name}`" for name in shown) + (f" and {left} more" if left else "")


PAGES: dict[str, Callable[[], str]] = {
    "ARCHITECTURE.md": floor_plan,
    "capabilities.md": generated,
    "cli.md": command_line,
    "concurrency.md": several_writers,
    "plugins.md": directory,
}


def page_of(name: str) -> Path:
    """A page in this folder, or beside it."""
    return FOLDER / name if (FOLDER / name).exists() else FOLDER.parent / name


def current(page: Path, make: Callable[[], str], *, check: bool) -> bool:
    """Write a page's generated part, or with `check` compare it and show what differs; whether it was as it should be."""
    old = page.read_text(encoding="utf-8")
    before, rest = old.split(START)
    return written(page, old, before + START + make() + END + rest.split(END)[1], check=check)


def written(page: Path, old: str, new: str, *, check: bool) -> bool:
    """Write a page, or with `check` show what differs; whether it was as it should be."""
    if not check:
        page.write_text(new, encoding="utf-8")
    elif old != new:
        sys.stdout.writelines(
            difflib.unified_diff(old.splitlines(True), new.splitlines(True), "is", "should be")
        )
    return old == new


def main() -> int:
    """Write the pages, or with `--check` compare; the exit code is 1 when one is not current."""
    check = "--check" in sys.argv[1:]
    names = [name for name in sys.argv[1:] if name != "--check"] or [*PAGES, "README.md"]
    found = [current(page_of(name), make, check=check) for name, make in PAGES.items() if name in names]
    if "README.md" in names:
        pages = [(page, page.read_text(encoding="utf-8")) for page in READMES]
        found += [written(page, text, option_tables(text), check=check) for page, text in pages]
    return int(check and not all(found))


if __name__ == "__main__":
    sys.exit(main())
