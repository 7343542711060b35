"""The project's commands: `nox -l` lists them, `nox -s tests` runs one."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

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
    session.install("hatchling", "editables", "setuptools>=77", *group(*groups))
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
    for version in [] if chosen else OTHERS:
        if find_interpreter(version):
            session.notify(f"others-{version}", session.posargs)
        else:
            session.warn(f"Python {version} is not found here; the tests are not run on it")
    test(session, "default")


@nox.session(python=OTHERS)
def others(session: nox.Session) -> None:
    """Run the tests, with fewer random examples, on the supported interpreters that are not the one running.

    Left out is what makes environments of its own, reads documents or kills processes by the dozen, and packages whose
    tests are slow and whose code asks the interpreter for nothing special. Interpreters that are not the newest run the
    core's tests and those that cross packages, the conformance kit over every backend among them.
    """
    paths = [] if session.python == OTHERS[-1] else ["core/tests", "tests"]
    test(session, "quick", *[f"--ignore={path}" for path in ONCE], *paths)


ONCE = [
    "tests/test_demo.py",
    "tests/test_docs.py",
    "tests/test_killed.py",
    "tests/test_many_writers.py",
    "tests/test_packages.py",
    "tests/test_readme.py",
    "tests/test_real_version_2.py",
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
    if session.python not in {None, OTHERS[-1]}:
        environment["ZARRV3_KERNELS"] = "none"  # one of the interpreters goes without what is compiled
    session.run("pytest", "-n", "2", "-m", "not slow", *arguments, *session.posargs, env=environment)


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


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "tests", "types")
    for path in PACKAGES:
        for package in sorted((path / "src").iterdir()):
            if (package / "__init__.py").exists():
                session.run("mypy", "-p", package.name)
    session.run("mypy", "examples", "docs/generate.py", "tests/typing")
    session.run("mypy", "template", env={"MYPYPATH": str(ROOT / "template" / "src")})


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
    newest = next((version for version in reversed(OTHERS) if find_interpreter(version)), CURRENT)
    session.notify(f"measure-{newest}", session.posargs)


@nox.session(python=[CURRENT, *OTHERS])
def measure(session: nox.Session) -> None:
    """What `bench` does, on one interpreter."""
    install(session, "bench")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Write what is generated in the documents; with `-- --check`, fail where it is not current."""
    install(session, "tests")
    session.run("python", "docs/generate.py", *session.posargs)
    if "--check" not in session.posargs:  # otherwise a test does that
        session.run("python", "tests/interop/interop_matrix.py")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build all wheels, install them without the checkout, and run the demo and the conformance checks there.

    With a folder behind `--`, the wheels are put there when all of that has worked.
    """
    session.install("build", "hatchling", "setuptools>=77")
    environment = compiler(session)
    with tempfile.TemporaryDirectory(prefix="zarrv3-wheels-") as folder:
        away = Path(folder).resolve()
        for path in [*PACKAGES, ROOT]:
            wheel = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(away / "wheels"), str(path)]
            session.run("python", *wheel, silent=True, env=environment)
        built = sorted(map(str, (away / "wheels").glob("*.whl")))
        if len(built) != len(PACKAGES) + 1:
            session.error(f"{len(PACKAGES) + 1} wheels were to be built, not {len(built)}")
        for name in ("demo.py", "conformance.py"):
            shutil.copy(ROOT / "examples" / name, away)
        session.run("python", "-m", "venv", str(away / "venv"))
        python = str(away / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")

        def run(*arguments: str) -> None:
            session.run(python, *arguments, external=True, env={"PYTHONPATH": None, "PYTHONSAFEPATH": "1"})

        with session.chdir(away):
            run("-m", "pip", "install", "-q", *built, *group("demo", "conformance"))
            run("-m", "pip", "check")
            run("demo.py", "--output", str(ROOT / "demo-output" / "wheels"))
            run("-m", "pytest", "-q", "-p", "no:cacheprovider", "conformance.py")
        for target in session.posargs:
            shutil.copytree(away / "wheels", ROOT / target, dirs_exist_ok=True)
