"""XML, out and in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeAlias
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from zarrv3_serve.s3.errors import S3Error

Tree: TypeAlias = "str | int | bool | Mapping[str, Tree | None] | Iterable[Tree]"
"""The content of an element: text, or elements by name; a list is one element each; what is `None` is left out."""

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

_SPECIAL = re.compile(r"[&<>\"\x00-\x1f\x7f\ufffe\uffff]")


def document(name: str, content: Tree, *, namespace: bool = True) -> bytes:
    """A document whose root has a name and a content."""
    start = f'{name} xmlns="{NAMESPACE}"' if namespace else name
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{start}>{_inner(content)}</{name}>'
    return text.encode()


def _inner(content: Tree) -> str:
    if isinstance(content, bool):
        return str(content).lower()
    if isinstance(content, str | int):
        return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", str(content))
    assert isinstance(content, Mapping)
    return "".join(map(_element, content, content.values()))


def _element(name: str, content: Tree | None) -> str:
    if content is None:
        return ""
    if isinstance(content, str | int | Mapping):
        return f"<{name}>{_inner(content)}</{name}>"
    return "".join(_element(name, each) for each in content)


def parsed(body: bytes, root: str) -> Element:
    """The root of a document that a client sent, without namespaces. A DTD is refused, and with it all that is not plain XML."""
    builder = TreeBuilder()
    parser = ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = lambda name, _: builder.start(name.rpartition(":")[2], {})
    parser.EndElementHandler = lambda name: builder.end(name.rpartition(":")[2])
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(body, True)
    except (ExpatError, ValueError, LookupError) as error:  # the last: an unknown encoding
        raise S3Error("MalformedXML", "the body is not XML") from error
    tree = builder.close()
    if tree.tag != root:
        raise S3Error("MalformedXML", f"the body is a {tree.tag!r}, not a {root!r}")
    return tree


def _refuse(*_: object) -> NoReturn:
    raise S3Error("MalformedXML", "the body has a document type, which this server does not read")
