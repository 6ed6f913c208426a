"""The signs that a terminal has: others in the place of those that it has not."""

from __future__ import annotations

from rich.text import Text

_PLAIN = str.maketrans(
    {"–": "-", "≈": "~", "…": "~", "✕": "x", "▲": "^", "▼": "v", "·": "-", "µ": "u"}
    | {"←": "<", "→": ">", "↑": "^", "↓": "v", "“": '"', "”": '"', "│": "|", "’": "'"}
    | dict(zip("▁▂▃▄▅▆▇█", "_.,-~=+#", strict=True))
)


class Signs:
    """What can be written in one encoding."""

    def __init__(self, encoding: str) -> None:
        try:
            "–≈…✕▲▼·µ←↑“│▁█".encode(encoding)
            self.has_all = True
        except (UnicodeError, LookupError):
            self.has_all = False

    def plain(self, text: str) -> str:
        """`text` in signs that there are."""
        return text if self.has_all else text.translate(_PLAIN)

    def text(self, text: str, style: str = "") -> Text:
        """One line of it."""
        return Text(self.plain(text), style=style, no_wrap=True, end="\n")

    def of(self, line: Text) -> Text:
        """A line in signs that there are, styled as it was: each is as wide as its stand-in."""
        if not self.has_all:
            line.plain = self.plain(line.plain)
        return line

    def cut(self, line: Text, width: int) -> Text:
        """A line that is no longer than `width`."""
        line.truncate(width, overflow="ellipsis" if self.has_all else "crop")
        return line
