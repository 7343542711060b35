"""Write `docs/interop.md`: what each library reads of ours and writes for us, from the tables that the tests prove.

`python tests/interop/interop_matrix.py` writes the page; a test says when it is not current.
"""

import re
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from interop_cases import KEYS, every_case
from interop_gaps import UNSUPPORTED, Gap, gaps
from interop_peers import Case, named
from interop_zarrita import HERE, node_version

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
START, END = "<!-- generated -->\n", "<!-- end of generated -->\n"
LIBRARIES = ("zarrv3", "zarr-python", "tensorstore", "zarrs", "zarrita")


def versions() -> str:
    """The peers that are here, as the page names them."""
    pinned = re.search(r'"zarrita": "([\d.]+)"', (HERE / "package.json").read_text())
    assert pinned is not None
    found = [f"{name} {version(package)}" for name, package in
             (("zarr-python", "zarr"), ("TensorStore", "tensorstore"), ("zarrs", "zarrs"))]  # fmt: skip
    return ", ".join([*found, f"zarrita.js {pinned[1]} on Node {node_version()}"])


def rows() -> dict[str, dict[str, list[Case]]]:
    """The cases by the section of the page and the feature they show."""
    found: dict[str, dict[str, list[Case]]] = {}

    def add(section: str, feature: str, case: Case) -> None:
        found.setdefault(section, {}).setdefault(feature, []).append(case)

    for case in every_case():
        if "sharding_indexed" in case.features:
            add("Sharding", case.name, case)
            continue
        if case.name.startswith("keys-"):
            add("Chunk keys", next(key for key in KEYS if case.name.startswith(f"keys-{key}-")), case)
        elif case.name.startswith("shape"):
            add("Shapes", "zero-length" if "zero-length" in case.tags else "others", case)
        elif case.name.startswith("fill-"):
            hexadecimal = "fill-hex" in case.tags
            add("Fill values", f"{named(case.data_type)}{', hexadecimal' * hexadecimal}", case)
        elif len(case.codecs) == 1 and named(case.codecs[0]) in {"bytes", "vlen-utf8", "vlen-bytes"}:
            add("Data types", named(case.data_type), case)
        else:
            for one in {named(one) for one in case.codecs} - {"bytes"}:
                label = f"blosc, {case.name.split('-')[1]}" if case.name.startswith("blosc-") else one
                add("Codecs", label, case)
    return {section: dict(sorted(features.items())) for section, features in found.items()}


def fails(library: str, when: str, case: Case, feature: str, section: str) -> bool:
    """Whether a library fails for what a row is about, not for something else in the case."""
    others = {named(one) for one in case.codecs} - {feature}
    if section not in {"Data types", "Fill values"}:
        others.add(named(case.data_type))
    others.discard("blosc")
    blamed = {gap for other in others for gap in UNSUPPORTED.get((library, other), ())}
    return any(gap not in blamed for gap in gaps(library, when, case))


def cell(library: str, section: str, feature: str, cases: list[Case]) -> str:
    """What a library cannot do with cases of one feature."""
    parts = []
    for when, verb in (("reads", "read"), ("writes", "written")):
        failing = sum(fails(library, when, case, feature, section) for case in cases)
        if failing:
            parts.append(f"not {verb}" if failing == len(cases) else f"not all {verb}")
    return "no" if parts == ["not read", "not written"] else ", ".join(parts)


def quoted(gap: Gap, feature: str) -> str:
    """A library's own words."""
    text = re.sub(r"\\|\(|\)\?|\?|\.\*", "", gap.text).replace(feature, "…")
    words = "gives other values" if gap.error == "AssertionError" else f"{gap.error}: {text}".rstrip(": ")
    return words if gap.when == ("reads", "writes") else f"{words} ({' and '.join(gap.when)})"


def in_their_own_words() -> list[str]:
    """The failures of each library, alike ones together."""
    found: dict[tuple[str, str], list[str]] = {}
    for (library, feature), there in UNSUPPORTED.items():
        for words in sorted({quoted(gap, feature) for gap in there}):
            found.setdefault((library, words), []).append(feature)
    return [
        f"| {library} | {words} | {', '.join(features)} |" for (library, words), features in found.items()
    ]


def generated() -> str:
    """The generated part of the page."""
    lines = [f"With {versions()}.", ""]
    for section, features in rows().items():
        lines += [f"## {section}", "", f"| | {' | '.join(LIBRARIES)} |", f"|{'---|' * (len(LIBRARIES) + 1)}"]
        lines += [
            f"| {feature} | {' | '.join(cell(library, section, feature, cases) for library in LIBRARIES)} |"
            for feature, cases in features.items()
        ]
        lines.append("")
    lines += ["## In their own words", "", "| library | what it says | of |", "|---|---|---|"]
    return "\n".join([*lines, *in_their_own_words()]) + "\n"


def page() -> str:
    """The page with its generated part replaced."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    return before + START + generated() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
