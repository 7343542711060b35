"""What is basically wrong with an extension of the format: one test says it in a line, and the others are not run."""

from typing import Any, ClassVar

import pytest

from zarrv3.testing.rules import ConformanceError


class SmokeTested:
    """What the classes for extensions of the format have in common: `test_basics` fails alone, with one line."""

    fixture: ClassVar[str]
    """The fixture that gives the extension."""
    problems: ClassVar[dict[str, str | None]] = {}
    """What is basically wrong with the extension, by the parameters of the test; `None` if nothing is."""

    def try_out(self, extension: Any) -> None:
        """Use the extension once, in the simplest way; raises whatever is wrong."""
        raise NotImplementedError

    def basic_problem(self, extension: Any) -> str | None:
        """What is basically wrong with the extension, in one line; `None` if nothing is."""
        try:
            self.try_out(extension)
        except ConformanceError as error:
            return " ".join(error.violation.split())
        except Exception as error:  # noqa: BLE001 - whatever an extension raises is what is wrong with it
            return " ".join(f"{type(error).__name__}: {error}".split())
        return None

    def check_basics(self, extension: Any) -> None:
        """Fail with what is basically wrong, if anything is."""
        __tracebackhide__ = True
        problem = self.basic_problem(extension)
        if problem is not None:
            pytest.fail(f"{type(self).__name__}: {problem}", pytrace=False)

    @pytest.fixture(autouse=True)
    def not_without_basics(self, request: pytest.FixtureRequest) -> None:
        """Do not run the rest for an extension that fails the basics."""
        if self.fixture not in request.fixturenames or request.node.originalname == "test_basics":
            return
        call = getattr(request.node, "callspec", None)
        variant = "" if call is None else call.id
        problems = type(self).problems
        if variant not in problems:
            problems[variant] = self.basic_problem(request.getfixturevalue(self.fixture))
        if problems[variant] is not None:
            pytest.skip(f"not run, since test_basics fails: {problems[variant]}")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give each class problems of its own."""
        super().__init_subclass__(**kwargs)
        cls.problems = {}


__all__ = ["SmokeTested"]
