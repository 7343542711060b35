# ruff: noqa: INP001 - what hatchling runs is not a package
"""Takes the repository's folder `template` into the wheel and the source distribution, where no second copy is kept."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TemplateHook(BuildHookInterface[Any]):
    """Adds the template's files; an editable installation finds them in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to what is built, from beside this file (in a source distribution) or from the repository."""
        if version == "editable":
            return
        own = Path(self.root)
        template = own / "template" if (own / "template").is_dir() else own.parents[1] / "template"
        target = "template" if self.target_name == "sdist" else "zarrv3_cli/template"
        files = [path for path in sorted(template.rglob("*")) if path.is_file()]
        for path in files:
            inside = path.relative_to(template)
            hidden = {part for part in inside.parts if part.startswith(".")} - {".github"}
            if not hidden and "__pycache__" not in inside.parts:
                build_data["force_include"][str(path)] = f"{target}/{inside.as_posix()}"
        if not files:
            raise FileNotFoundError(f"the template of plugins is not at {template}")
