"""What all packages have in common, and what a release does to the files: `nox -s docs`, `wheels` and `release` run it.

The table `project` of the root's `pyproject.toml` is the declaration: version, licence, authors, Python versions, addresses, and
the classifiers and keywords that every package has. `common` writes them to the other packages, which keep their own name,
description, dependencies, and further classifiers and keywords.
"""

import argparse
import datetime as dt
import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent

Table = dict[str, Any]


def packages(root: Path = ROOT) -> list[Path]:
    """The folders of the packages but for the root: the core, then the plugins."""
    return [root / "core", *sorted(path.parent for path in root.glob("plugins/*/pyproject.toml"))]


def project(folder: Path) -> Table:
    """The table `project` of a `pyproject.toml`."""
    table: Table = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def files(root: Path = ROOT) -> Iterator[Path]:
    """The files of the repository: those that git knows or would take, or without git all but what tools have made."""
    if (root / ".git").exists():
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout
        yield from (root / name for name in sorted(names.split("\0")) if name and (root / name).is_file())
        return
    made = {"__pycache__", ".git", ".venv", ".nox", "build", "dist", "demo-output"}
    for folder, folders, found in os.walk(root):
        folders[:] = [
            name for name in folders if name not in made and not name.endswith(("_cache", ".egg-info"))
        ]
        yield from (Path(folder, name) for name in found if not name.startswith(".coverage"))


# ---------------------------------------------------------------- what all have in common

HEAD = re.compile(r"^\[project\]\n.*?^(?=dependencies = )", re.DOTALL | re.MULTILINE)
OF_ALL = (
    "Development Status",
    "Intended Audience",
    "Operating System",
    "Programming Language :: Python",
    "Typing",
)
"""Beginnings of the classifiers that only the root decides on."""


def head(root: Table, own: Table) -> str:
    """The beginning of a package's table `project`, up to its dependencies."""
    further = [line for line in own.get("classifiers", []) if not line.startswith(OF_ALL)]
    keywords = [word for word in own.get("keywords", []) if word not in root["keywords"]]
    authors = ["{ name = " + json.dumps(author["name"]) + " }" for author in root["authors"]]
    lines = [
        "[project]",
        f'name = "{own["name"]}"',
        f'version = "{root["version"]}"',
        f"description = {json.dumps(own['description'], ensure_ascii=False)}",
        'readme = "README.md"',
        f'license = "{root["license"]}"',
        f"license-files = {json.dumps(root['license-files'])}",
        f"authors = [{', '.join(authors)}]",
        f'requires-python = "{root["requires-python"]}"',
        f"keywords = {json.dumps([*root['keywords'], *keywords])}",
        "classifiers = [",
        *(f'  "{line}",' for line in sorted({*root["classifiers"], *further})),
        "]",
        *(f'urls.{name} = "{address}"' for name, address in root["urls"].items()),
    ]
    return "\n".join(lines) + "\n"


def common(root: Path, *, check: bool = False) -> list[Path]:
    """Write what all packages have in common, or with `check` nothing; return the files that are not as they should be."""
    declared = project(root)
    licence = (root / "LICENSE").read_text("utf-8")
    wanted = {folder / "LICENSE": licence for folder in packages(root)}
    for folder in packages(root):
        text = (folder / "pyproject.toml").read_text("utf-8")
        begin, end = replaceable(HEAD, text)
        wanted[folder / "pyproject.toml"] = text[:begin] + head(declared, project(folder)) + text[end:]
    changed = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in [] if check else changed:
        path.write_text(wanted[path], "utf-8")
    return changed


# ---------------------------------------------------------------- a version

PIN = re.compile(r"(?P<need>\bzarrv3-[a-z0-9-]+(?:\[[a-z0-9,-]+\])?)>=\d+\.\d+,<\d+\.\d+")
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def pin(version: str) -> str:
    """The range that a package of a version needs others of ours in: this minor version, whose contract it knows."""
    major, minor, _ = map(int, version.split("."))
    return f">={major}.{minor},<{major}.{minor + 1}"


def refusal(root: Path, version: str) -> str | None:
    """Why a version cannot be released now; None where it can."""
    if not VERSION.fullmatch(version):
        return f"{version!r} is not a version such as 0.2.0"
    if changes := git(root, "status", "--porcelain"):
        return f"commit these changes first, or put them away with `git stash -u`:\n{changes}"
    tags = [tag.removeprefix("v") for tag in git(root, "tag", "--list", "v*").split()]
    numbers = [tuple(map(int, tag.split("."))) for tag in tags if VERSION.fullmatch(tag)]
    if numbers and tuple(map(int, version.split("."))) <= max(numbers):
        return f"{version} is not later than {'.'.join(map(str, max(numbers)))}, which is tagged"
    _, found, after = (root / "CHANGELOG.md").read_text("utf-8").partition(f"\n## {version} (unreleased)\n")
    if not found or not after.partition("\n## ")[0].strip():
        return f"CHANGELOG.md has no section `## {version} (unreleased)` that says what has changed"
    return None


def prepare(root: Path, version: str) -> None:
    """Set a version everywhere, and today's date in the changelog; what that changes is staged, to be committed."""
    texts = {path: path.read_text("utf-8") for path in files(root) if path.suffix in {".md", ".toml"}}
    new = {path: PIN.sub(rf"\g<need>{pin(version)}", text) for path, text in texts.items()}
    changelog, table = root / "CHANGELOG.md", root / "pyproject.toml"
    today = dt.datetime.now(dt.UTC).date()
    new[changelog] = texts[changelog].replace(f"## {version} (unreleased)", f"## {version} ({today})", 1)
    new[table] = replaced(r'^version = ".*"$', f'version = "{version}"', new[table])
    module = root / "core" / "src" / "zarrv3" / "__init__.py"
    new[module] = replaced(r'^__version__ = ".*"$', f'__version__ = "{version}"', module.read_text("utf-8"))
    for path, text in new.items():
        if text != texts.get(path):
            path.write_text(text, "utf-8")
    common(root)
    git(root, "add", "--update")


def replaceable(pattern: re.Pattern[str], text: str) -> tuple[int, int]:
    """Where a pattern fits in a text, which it has to."""
    found = pattern.search(text)
    if found is None:
        raise LookupError(pattern.pattern)
    return found.span()


def replaced(pattern: str, line: str, text: str) -> str:
    """A text with the first line that a pattern fits replaced."""
    begin, end = replaceable(re.compile(pattern, re.MULTILINE), text)
    return text[:begin] + line + text[end:]


def git(root: Path, *arguments: str) -> str:
    """What git answers."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


# ---------------------------------------------------------------- what is built

LINK = re.compile(r"\]\((?!\w+:|#)(?P<target>[^)\s]+)\)")


def copy(root: Path, target: Path) -> None:
    """Copy what belongs to the repository, with READMEs whose links lead to the forge: an index shows them without the rest."""
    for path in files(root):
        if path.name == ".gitignore":  # hatchling would put it into every source distribution
            continue
        there = target / path.relative_to(root)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    declared = project(root)
    for folder in [root, *packages(root)]:
        readme = folder.relative_to(root) / "README.md"
        text = (root / readme).read_text("utf-8")
        (target / readme).write_text(absolute(text, root / readme, root, declared), "utf-8")


def absolute(text: str, file: Path, root: Path, declared: Table) -> str:
    """A text whose relative links lead to the forge, to this version."""

    def there(link: re.Match[str]) -> str:
        path, _, heading = link["target"].partition("#")
        found = (file.parent / path).resolve()
        kind = "tree" if found.is_dir() else "blob"
        inside = found.relative_to(root.resolve()).as_posix()
        address = f"{declared['urls']['Source']}/{kind}/v{declared['version']}/{inside}"
        return f"]({address}#{heading})" if heading else f"]({address})"

    return LINK.sub(there, text)


def faults(folder: Path, root: Path = ROOT) -> list[str]:
    """What is wrong with the wheels and source distributions in a folder; each package has to have both, and a pure wheel."""
    found: list[str] = []
    tables = {project(path)["name"]: path for path in [root, *packages(root)]}
    for name, path in tables.items():
        stem = f"{name.replace('-', '_')}-{project(root)['version']}"
        sdist, pure = folder / f"{stem}.tar.gz", folder / f"{stem}-py3-none-any.whl"
        missing = [file.name for file in (sdist, pure) if not file.exists()]
        found += [f"{file} is missing" for file in missing]
        for file in sorted(folder.glob(f"{stem}-*.whl")):
            found += [f"{file.name}: {fault}" for fault in wheel_faults(file, path)]
        if sdist.exists():
            found += [f"{sdist.name}: {fault}" for fault in sdist_faults(sdist, path)]
    known = {name.replace("-", "_") for name in tables}
    found += [f"{file.name} is not ours" for file in folder.iterdir() if file.name.split("-")[0] not in known]
    return found


def wheel_faults(file: Path, folder: Path) -> Iterator[str]:
    """What is wrong with a wheel."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        (path,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        yield from metadata_faults(email.message_from_bytes(archive.read(path)), folder)
        information = path.partition("/")[0]
        licence = f"{information}/licenses/LICENSE"
        if licence not in names or archive.read(licence) != (folder / "LICENSE").read_bytes():
            yield "the licence is missing"
    own = {source.name for source in folder.glob("src/*") if (source / "__init__.py").exists()}
    libraries = f"{file.name.split('-')[0]}.libs"  # where auditwheel puts what it copies
    others = {name.partition("/")[0] for name in names} - own - {information, libraries}
    if others:
        yield f"holds {sorted(others)}"
    compiled = [name for name in names if name.endswith((".so", ".pyd"))]
    if bool(compiled) == file.name.endswith("-any.whl"):
        yield "its tag says that it is compiled, or pure, and it is not"
    if "-linux_" in file.name:
        yield "works on this Linux only: auditwheel has not repaired it"


def metadata_faults(metadata: Message, folder: Path) -> Iterator[str]:
    """What is wrong with what an index shows of a package."""
    own = project(folder)
    expected = {
        "Version": [own["version"]],
        "License-Expression": [own["license"]],
        "License-File": own["license-files"],
        "Project-URL": [f"{name}, {address}" for name, address in own["urls"].items()],
        "Requires-Python": [own["requires-python"]],
        "Classifier": own["classifiers"],
    }
    for name, values in expected.items():
        if sorted(metadata.get_all(name, [])) != sorted(values):
            yield f"{name} is {metadata.get_all(name)}, not {values}"
    if sorted(",".join(metadata.get_all("Keywords", [])).split(",")) != sorted(own["keywords"]):
        yield f"Keywords are {metadata.get_all('Keywords')}"
    text = metadata.get_payload()
    for link in LINK.finditer(str(text)):
        yield f"the link {link['target']} leads nowhere on an index"


SOURCES = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", "src", "tests"}
BESIDE = {"cli": {"hatch_build.py", "template"}, "native": {"MANIFEST.in", "setup.py", "setup.cfg"}}


def sdist_faults(file: Path, folder: Path) -> Iterator[str]:
    """What is wrong with a source distribution."""
    with tarfile.open(file) as archive:
        names = [name.partition("/")[2] for name in archive.getnames() if "/" in name]
    allowed = SOURCES | BESIDE.get(folder.name, set())
    others = {name.partition("/")[0] for name in names} - allowed
    made = [name for name in names if re.search(r"__pycache__|\.(so|pyd|pyc|o)$", name)]
    if others or made:
        yield f"holds {sorted(others) + made}"
    if "LICENSE" not in names:
        yield "the licence is missing"


def order(root: Path = ROOT) -> list[str]:
    """The packages, each after those that it needs: so they are uploaded, that each can be installed at once."""
    tables = {table["name"]: table for table in map(project, [root, *packages(root)])}
    needs = {
        name: {re.split(r"[^\w-]", need)[0] for need in table["dependencies"]}
        for name, table in tables.items()
    }
    return [name for name in TopologicalSorter(needs).static_order() if name in tables]


# ---------------------------------------------------------------- commands


def main() -> str | None:
    """Do what is said on the command line; return what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    common_ = commands.add_parser("common", help="write to every package what all have in common")
    common_.add_argument(
        "--check", action="store_true", help="fail where it is not current, and write nothing"
    )
    commands.add_parser("prepare", help="set a version and the date of its changes").add_argument("version")
    commands.add_parser("copy", help="copy what packages are built from").add_argument("folder", type=Path)
    commands.add_parser("inspect", help="look into what was built").add_argument("folder", type=Path)
    commands.add_parser("order", help="say in which order packages are uploaded")
    arguments = parser.parse_args()
    if arguments.command == "common":
        changed = [str(path.relative_to(ROOT)) for path in common(ROOT, check=arguments.check)]
        return (
            f"not current, `nox -s docs` writes: {', '.join(changed)}"
            if arguments.check and changed
            else None
        )
    if arguments.command == "prepare":
        why = refusal(ROOT, arguments.version)
        if why is None:
            prepare(ROOT, arguments.version)
        return why
    if arguments.command == "copy":
        copy(ROOT, arguments.folder)
        return None
    if arguments.command == "order":
        sys.stdout.write("".join(f"{name}\n" for name in order()))
        return None
    return "\n".join(faults(arguments.folder)) or None


if __name__ == "__main__":
    sys.exit(main())
