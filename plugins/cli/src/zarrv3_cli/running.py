"""From a command line to an exit code."""

import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import takewhile
from typing import Any

import zarrv3
from zarrv3.errors import ZarrError
from zarrv3.options.redaction import redact, secrets_of
from zarrv3_cli.output import one_line

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 (failed, or something is wrong), 2 (usage), 130 (Ctrl-C).

    An error is one line on stderr, `zarrv3: …`, without secrets; with `--debug` the traceback comes before it.
    """
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    debug, given = _debug(given)
    secrets = _secrets(given)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with _warnings_in_one_line(secrets):
        try:
            code = _run(given)
            sys.stdout.flush()
        except BrokenPipeError:  # a reader that has seen enough
            _let_go_of_stdout()
            return 1
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the last resort of a program
            return _report(error, secrets, debug=debug)
    return code


def _run(arguments: list[str]) -> int:
    if "--version" in takewhile(lambda text: text.startswith("-"), arguments):
        sys.stdout.write(f"zarrv3 {zarrv3.__version__}\n")
        return 0
    if os.environ.get("_ZARRV3_COMPLETE") == "complete_bash":
        return _complete_for_bash()
    return _call(arguments)


def _complete_for_bash() -> int:
    """Complete, with the words as they were typed, and leave out of what is offered what bash has already."""
    from zarrv3_cli.completing import rejoined

    words, had = rejoined(os.environ)
    os.environ.update(words)
    with redirect_stdout(io.StringIO()) as offered:
        code = _call([])
    sys.stdout.writelines(f"{text.removeprefix(had)}\n" for text in offered.getvalue().splitlines())
    return code


def _call(arguments: list[str]) -> int:
    """Run the application."""
    from typer import Abort
    from typer.main import get_command

    from zarrv3_cli.application import application

    try:
        result = get_command(application()).main(arguments, prog_name="zarrv3", standalone_mode=False)
    except SystemExit as ended:  # completion scripts, and a broken pipe
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Abort:
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether `--debug` is given, anywhere before `--`, and the rest."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [text for text in arguments[:end] if text != "--debug"]
    return len(options) < end, options + arguments[end:]


def _secrets(arguments: list[str]) -> list[str]:
    """What must not be shown: passwords in URLs, and of options however they are joined (`-o=password=…`)."""
    found = secrets_of({"arguments": arguments})
    for text in arguments:
        head, *rest = text.split("=")
        for number, name in enumerate([head, *rest[:-1]]):
            found += secrets_of({name: "=".join(rest[number:])})
    return found


def _report(error: Exception, secrets: list[str], *, debug: bool) -> int:
    import traceback

    if debug:
        sys.stderr.write(redact("".join(traceback.format_exception(error)), secrets))
    text, code = _message(error)
    sys.stderr.write(f"zarrv3: {one_line(redact(text, secrets))}\n")
    return code


def _message(error: Exception) -> tuple[str, int]:
    """What is said of an error, and the exit code."""
    code = int(getattr(error, "exit_code", 1))
    if hasattr(error, "format_message"):  # an error of usage
        context: Any = getattr(error, "ctx", None)
        hint = f"; see {context.command_path} --help" if context is not None else ""
        return f"{error.format_message().rstrip('.')}{hint}", code
    if isinstance(error, ZarrError | OSError):
        return _in_options(". ".join([str(error).rstrip("."), *getattr(error, "__notes__", ())])), code
    return f"{type(error).__name__}: {error}; --debug shows where", code


_OPTIONS = {
    "pass overwrite=True": "give --overwrite",
    "overwrite=True": "--overwrite",
    "the same call with resume=True": "the same command with --resume",
    "resume=True": "--resume",
    "on_error='report'": "--keep-going",
    "repair=True": "?repair=true in its URL",
    " or mode='w' for that path": "",
    ", or pass auto=True": "",
    ", or with auto=True": "",
}
"""What errors call arguments of functions, and what stands for them on a command line."""


def _in_options(text: str) -> str:
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    return text


@contextmanager
def _warnings_in_one_line(secrets: list[str]) -> Iterator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"zarrv3: warning: {one_line(redact(str(message), secrets))}\n")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _let_go_of_stdout() -> None:
    """Make the interpreter's own flush at the end go nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
