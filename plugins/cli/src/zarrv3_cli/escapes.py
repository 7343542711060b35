"""Texts that cannot move a terminal's cursor, whoever wrote them."""


def escaped(text: str, keep: str = "") -> str:
    """A text with every character that is not printable written as Python writes it, but for those to `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else repr(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    """A text on one line, its white space single."""
    return escaped(" ".join(text.split()))
