"""Check a built site: `python docs/check_site.py FOLDER`.

Every link within the site has to lead to a page, and to an anchor of it where it names one; and nothing that a browser loads by
itself may come from another host.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LOADED = {"audio", "embed", "iframe", "img", "link", "object", "script", "source", "video"}
"""Elements whose addresses a browser asks for by itself."""


class Page(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {""}
        self.links = list[str]()
        self.loaded = re.findall(r"url\(([^)#]+)\)", text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down what an element is called, leads to and loads."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        found = [given[name] for name in ("href", "src", "data") if name in given]
        self.links += found
        if tag in LOADED and given.get("rel") not in {"canonical", "next", "prev"}:
            self.loaded += found


def problems(folder: Path) -> list[str]:
    """What is wrong with a site."""
    folder = folder.resolve()
    pages = {path: Page(path.read_text("utf-8")) for path in folder.rglob("*.html")}
    found = [] if pages else [f"{folder} has no pages"]
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        found += [f"{name} loads {address}" for address in page.loaded if is_elsewhere(address)]
        found += [
            f"{name}: {link} leads nowhere"
            for link in page.links
            if not is_elsewhere(link) and not urlsplit(link).scheme and not leads(link, path, folder, pages)
        ]
    for sheet in folder.rglob("*.css"):
        named = re.findall(r"url\(['\"]?([^)'\"]+)|@import ['\"]([^'\"]+)", sheet.read_text("utf-8"))
        found += [
            f"{sheet.name} loads {first or second}"
            for first, second in named
            if is_elsewhere(first or second)
        ]
    return sorted(set(found))


def is_elsewhere(address: str) -> bool:
    """Whether an address is on another host."""
    return bool(urlsplit(address.strip("'\" ")).netloc)


def leads(link: str, path: Path, folder: Path, pages: dict[Path, Page]) -> bool:
    """Whether a link of a page leads somewhere."""
    address, anchor = map(unquote, urldefrag(link))
    address = address.partition("?")[0]
    there = (path.parent / address).resolve() if address else path
    if address.startswith("/"):  # on the host, where the site may lie in a folder
        there = folder / address.lstrip("/")
        there = there if there.exists() else folder / address.lstrip("/").partition("/")[2]
    if there.is_dir():
        there /= "index.html"
    return there.is_file() and (there not in pages or anchor in pages[there].anchors)


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]))
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    sys.exit(bool(wrong))
