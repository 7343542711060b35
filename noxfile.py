"""The project's commands: `nox -l` lists them, `nox -s tests` runs one."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nox
from nox.virtualenv import HAS_UV, UV

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PACKAGES = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [version for version in nox.project.python_versions(PROJECT) if version != CURRENT]


def group(*names: str) -> list[str]:
    """The requirements of some dependency groups."""
    return list(nox.project.dependency_groups(PROJECT, *names))


def install(session: nox.Session, *groups: str) -> None:
    """Install every package of the repository, editable, and what some dependency groups ask for.

    Nothing is done where the environment has that from an earlier run; delete `.nox` to begin again.
    """
    done, wanted = Path(session.virtualenv.location, "installed"), fingerprint(*groups)
    if done.exists() and done.read_text() == wanted:
        return
    session.install("hatchling", "editables", "numpy>=2.1", "setuptools>=77", *group(*groups))
    editable = [argument for path in PACKAGES for argument in ("-e", str(path))]
    session.install("--no-build-isolation", *editable, env=compiler(session))
    note = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    session.run_install(
        "python", "-c", note, str(done), wanted, silent=True
    )  # not by `nox -R`, which installs nothing


def fingerprint(*groups: str) -> str:
    """What stands for an environment: some dependency groups, and all that an installation reads."""
    files = [path / "pyproject.toml" for path in [ROOT, *PACKAGES]]
    files += [
        path
        for path in sorted(ROOT.glob("plugins/native/**/*"))
        if path.suffix in {".c", ".h"} or path.name == "setup.py"
    ]
    return hashlib.sha256(repr((groups, [path.read_bytes() for path in files])).encode()).hexdigest()


def compiler(session: nox.Session) -> dict[str, str]:
    """What setuptools has to be told to compile: nothing where there is a C compiler, else one from PyPI is taken."""
    if shutil.which("cc") or shutil.which("gcc"):
        return {}
    session.install("ziglang")
    return {"CC": f"{session.bin}/python -m ziglang cc"}


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests on this interpreter, then on the other supported ones that are found.

    With files or folders behind `--`, run the tests there, on this interpreter only.
    """
    chosen = any(Path(argument.partition("::")[0]).exists() for argument in session.posargs)
    for version in [] if chosen else found(session):
        session.notify(f"others-{version}", session.posargs)
    test(session, "default")


@nox.session(python=OTHERS)
def others(session: nox.Session) -> None:
    """Run the tests, with fewer random examples, on the supported interpreters that are not the one running.

    Left out is what makes environments of its own, reads documents or kills processes by the dozen, and packages whose
    tests are slow and whose code asks the interpreter for nothing special. Interpreters that are not the newest run the
    core's tests and those that cross packages, the conformance kit over every backend among them.
    """
    paths = [] if newest(session) else ["core/tests", "tests"]
    test(session, "quick", *[f"--ignore={path}" for path in ONCE], *paths)


ONCE = [
    "tests/test_demo.py",
    "tests/test_docs.py",
    "tests/test_killed.py",
    "tests/test_many_writers.py",
    "tests/test_packages.py",
    "tests/test_readme.py",
    "tests/test_real_version_2.py",
    "tests/test_site.py",
    "tests/test_template.py",
    "plugins/bridge-dask",
    "plugins/bridge-xarray/tests/test_xarray_own_tests.py",
    "plugins/cli",
    "plugins/store-mongodb",
    "plugins/store-fsspec",
    "plugins/store-obstore",
    "plugins/serve/tests/test_serve_s3_clients.py",
    "plugins/serve/tests/test_serve_s3_kit.py",
]
"""What is tested on one interpreter only, to keep the whole run short."""


def test(session: nox.Session, profile: str, *arguments: str) -> None:
    """Install everything and run the tests that are not marked slow."""
    install(session, "tests")
    environment = {"HYPOTHESIS_PROFILE": profile}
    if session.python is not None and not newest(session):
        environment["ZARRV3_KERNELS"] = "none"  # one of the interpreters goes without what is compiled
    session.run("pytest", "-n", "2", "-m", "not slow", *arguments, *session.posargs, env=environment)


def found(session: nox.Session) -> list[str]:
    """The supported interpreters that are found besides the one running, oldest first."""
    versions = [version for version in OTHERS if find_interpreter(version)]
    for version in sorted({*OTHERS} - {*versions}):
        session.warn(f"Python {version} is not found here; nothing is run on it")
    return versions


def newest(session: nox.Session) -> bool:
    """Whether a session runs on the newest interpreter that is found."""
    return session.python == next(filter(find_interpreter, reversed(OTHERS)), None)


def find_interpreter(version: str) -> bool:
    """Put an interpreter on the PATH, from beside the one running (as pyenv and uv install them) or where it is already."""
    name = f"python{version}"
    beside = sorted(Path(sys.base_prefix).parent.glob(f"*{version}.*/bin/{name}"))
    for path in [*beside, *filter(None, [shutil.which(name)])]:
        works = subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True, check=False)
        if works.returncode == 0:  # pyenv has commands for versions that are switched off
            os.environ["PATH"] = f"{Path(path).parent}{os.pathsep}{os.environ['PATH']}"
            return True
    return False


@nox.session
def stress(session: nox.Session) -> None:
    """Run every test at full length, the slow ones too; then those of what is in C with sanitizers, where there is gcc."""
    install(session, "tests")
    environment = {"HYPOTHESIS_PROFILE": "stress", "ZARRV3_STRESS": "1"}
    session.run("pytest", "-n", "2", "-o", "timeout=3600", *session.posargs, env=environment)
    if shutil.which("gcc") and not session.posargs:
        session.notify("sanitize")


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the tests of what is in C, at full length, with a build that ends at wrong accesses and undefined behaviour; needs gcc."""
    install(session, "tests")
    copy = Path(session.create_tmp(), "native")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(
        ROOT / "plugins/native", copy, ignore=shutil.ignore_patterns("build", "*.so", "*.egg-info")
    )
    flags = "-g -fsanitize=address,undefined -fno-sanitize-recover=undefined"
    with session.chdir(copy):
        session.run("python", "setup.py", "-q", "build_ext", "--inplace", env={"CC": "gcc", "CFLAGS": flags})
    if not [*copy.glob("src/*/*.so")]:
        session.error("nothing was compiled")
    library = session.run("gcc", "-print-file-name=libasan.so", external=True, silent=True)
    environment = {
        "PYTHONPATH": str(copy / "src"),  # before what is installed
        "LD_PRELOAD": str(library).strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own, at its end
        "HYPOTHESIS_PROFILE": "stress",
        "ZARRV3_STRESS": "1",
    }
    arguments = ["-p", "no:xdist", "-o", "timeout=3600", "plugins/native/tests", *session.posargs]
    session.run("pytest", *arguments, env=environment)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run all tests with coverage of lines and branches, and print what is not covered."""
    install(session, "tests")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-m", "not slow", *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    schemas = {"workflows": "workflows/*.yml", "issue-forms": "ISSUE_TEMPLATE/[!c]*.yml"}
    schemas |= {"issue-config": "ISSUE_TEMPLATE/config.yml"}
    for schema, pattern in schemas.items():
        forms = sorted(map(str, (ROOT / ".github").glob(pattern)))
        session.run("check-jsonschema", "-q", "--builtin-schema", f"vendor.github-{schema}", *forms)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "tests", "types")
    for path in PACKAGES:
        for package in sorted((path / "src").iterdir()):
            if (package / "__init__.py").exists():
                session.run("mypy", "-p", package.name)
    session.run(
        "mypy",
        "examples",
        "docs/generate.py",
        "docs/check_site.py",
        "docs/hooks.py",
        "release.py",
        "tests/typing",
    )
    for template in (ROOT / "template", *sorted((ROOT / "template" / "kinds").iterdir())):
        parts = [str(template / part) for part in ("src", "tests")]
        session.run("mypy", *parts, env={"MYPYPATH": parts[0]})


@nox.session
def demo(session: nox.Session) -> None:
    """Write real images into every installed backend, read them back in another process, and draw them.

    With `-- --servers`, also into those that need a server: it is started for the demo.
    """
    install(session, "demo", *(["servers"] if "--servers" in session.posargs else []))
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Make the measurements of `benchmarks`, or the one that is named behind `--`, on the newest interpreter that is found."""
    version = next(filter(find_interpreter, reversed(OTHERS)), CURRENT)
    session.notify(f"measure-{version}", session.posargs)


@nox.session(python=[CURRENT, *OTHERS])
def measure(session: nox.Session) -> None:
    """What `bench` does, on one interpreter."""
    install(session, "bench")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Write what is generated in the documents; with `-- --check`, fail where it is not current."""
    install(session, "tests")
    session.run("python", "release.py", "common", *(["--check"] if "--check" in session.posargs else []))
    session.run("python", "docs/generate.py", *session.posargs)
    if "--check" not in session.posargs:  # otherwise a test does that
        session.run("python", "tests/interop/interop_matrix.py")


@nox.session
def site(session: nox.Session) -> None:
    """Build the documentation site into `build/site`, and check that no link in it is broken and no page asks another host."""
    install(session, "site")
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})
    session.run("python", "docs/check_site.py", "build/site")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build all packages, install them without the checkout, and run the demo and the conformance checks there.

    With a folder behind `--`, what was built is put there when all of that has worked.
    """
    with tempfile.TemporaryDirectory(prefix="zarrv3-wheels-") as folder:
        built = build(session, Path(folder).resolve(), [CURRENT])
        try_out(session, built, CURRENT)
        for target in session.posargs:
            shutil.copytree(built, ROOT / target, dirs_exist_ok=True)


@nox.session
def release(session: nox.Session) -> None:
    """Make a release: `-- VERSION` sets versions and dates, builds, tries on every interpreter found, commits and tags.

    What was built is in `dist/VERSION`. Nothing leaves this machine: pushing and uploading are for you.
    """
    if len(session.posargs) != 1:
        session.error("say which version: nox -s release -- VERSION")
    (version,) = session.posargs
    versions = [CURRENT, *found(session)]
    session.run("python", "release.py", "prepare", version)
    try:
        with tempfile.TemporaryDirectory(prefix="zarrv3-release-") as folder:
            built = build(session, Path(folder).resolve(), versions)
            for each in versions:
                try_out(session, built, each)
            shutil.rmtree(ROOT / "dist" / version, ignore_errors=True)  # of a rehearsal
            shutil.copytree(built, ROOT / "dist" / version)
        session.run(
            "git", "commit", "-q", "-m", f"Version {version}", external=True
        )  # what `prepare` has staged
    except BaseException:
        session.warn(
            "nothing was committed; `git reset --hard` takes back what was changed since the last commit"
        )
        raise
    session.run("git", "tag", "-a", f"v{version}", "-m", f"zarrv3 {version}", external=True)
    session.log(
        f"dist/{version} is what was built, v{version} the tag; CONTRIBUTING.md says how they are published"
    )


def build(session: nox.Session, away: Path, versions: list[str]) -> Path:
    """Build the source distribution of every package and, from that, its wheels; return the folder, inspected.

    What is compiled is built for some versions of Python, and once more without the compiled part, for all others.
    """
    session.install(*group("wheels"))
    source, built, native = away / "source", away / "dist", away / "source" / "plugins" / "native"
    session.run("python", "release.py", "copy", str(source))
    make = ["-m", "build", "--no-isolation", "--outdir", str(built)]
    for path in [*PACKAGES, ROOT]:
        there = source / path.relative_to(ROOT)
        environment = {"ZARRV3_NATIVE": "pure"} if there == native else {}
        session.run("python", *make, str(there), silent=True, env=environment)
    for version in versions if os.name == "posix" else []:
        raw, python = away / version, environment_of(away / f"build-{version}", version, session)
        into(session, python, "build", "numpy>=2.1", "setuptools>=77")
        wheel = [*make[:-1], str(raw), "--wheel", str(native)]
        session.run(
            python, *wheel, silent=True, external=True, env={**compiler(session), "ZARRV3_NATIVE": "compiled"}
        )
        (compiled,) = raw.glob("*.whl")
        if sys.platform == "linux":
            session.run("auditwheel", "repair", "-w", str(built), str(compiled), silent=True)
        else:
            shutil.copy(compiled, built)
    session.run("python", "release.py", "inspect", str(built))
    session.run("twine", "check", "--strict", *sorted(map(str, built.iterdir())))
    return built


def environment_of(folder: Path, version: str, session: nox.Session) -> str:
    """Make an environment with a version of Python; return its interpreter."""
    if version != CURRENT and not find_interpreter(version):
        session.error(f"Python {version} is not found")
    python = "python" if version == CURRENT else f"python{version}"
    session.run(python, "-m", "venv", str(folder), external=True)
    return str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")


def into(session: nox.Session, python: str, *arguments: str) -> None:
    """Install into the environment of an interpreter, by uv where nox uses it too."""
    tool = [UV, "pip", "install", "--python", python] if HAS_UV else [python, "-m", "pip", "install"]
    session.run(*tool, "-q", *arguments, external=True, env={"PYTHONPATH": None})


def try_out(session: nox.Session, built: Path, version: str) -> None:
    """Install the wheels into a clean environment, and run the demo and the conformance checks there.

    Then the pure wheel takes the place of the compiled one: the demo runs with that too.
    """
    away = built.parent / f"try-{version}"
    away.mkdir()
    for name in ("demo.py", "conformance.py"):
        shutil.copy(ROOT / "examples" / name, away)
    python = environment_of(away / "venv", version, session)
    pure = sorted(map(str, built.glob("*-none-any.whl")))
    (native,) = [path for path in pure if "zarrv3_native" in path]
    compiled = sorted(map(str, built.glob(f"zarrv3_native-*-cp{version.replace('.', '')}-*.whl")))
    wheels_ = [path for path in pure if path != native or not compiled] + compiled

    def run(*arguments: str) -> None:
        session.run(python, *arguments, external=True, env={"PYTHONPATH": None, "PYTHONSAFEPATH": "1"})

    with session.chdir(away):
        into(session, python, *wheels_, *group("demo", "conformance"))
        run("-m", "pip", "check")
        run("demo.py", "--output", str(ROOT / "demo-output" / "wheels"))
        run("-m", "pytest", "-q", "-p", "no:cacheprovider", "conformance.py")
        if compiled:
            into(session, python, "--force-reinstall", "--no-deps", native)
            run("demo.py", "--output", str(ROOT / "demo-output" / "wheels"))
