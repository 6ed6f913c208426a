"""Opens the history that a command line names: a file, or the address of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote, urlsplit, urlunsplit

from metertap.cli.client import NONE, Unreachable, get
from metertap.cli.credentials import Credentials
from metertap.history.answers import Answers, HistoryError
from metertap.history.backends import open_answers
from metertap.history.engine import EngineAnswers
from metertap.settings import secret


def open_history(text: str, given: Credentials = NONE) -> Answers:
    """Open a file, or an engine that speaks PromQL. Raises HistoryError.

    A password in the address is the token that is shown there; no other is, but that of a file
    that was named.
    """
    if not text.startswith(("http://", "https://")):
        return open_answers(text)
    try:
        parts = urlsplit(text)
        user, _, place = parts.netloc.rpartition("@")
        token = unquote(user.partition(":")[2])
        shown = replace(given, token=secret.parse(token)) if token else given
    except ValueError as error:
        raise HistoryError(f"the address of the engine cannot be used: {error}") from None
    address = urlunsplit((parts.scheme, place, "", "", ""))
    return EngineAnswers(_asking(address, parts.path.rstrip("/"), shown))


def _asking(address: str, folder: str, shown: Credentials) -> Callable[[str], bytes]:
    def ask(path: str) -> bytes:
        try:
            return get(address, folder + path, shown)
        except Unreachable as error:
            # Not the whole of it: the question is longer than a line.
            raise HistoryError(f"{address}{folder}: {error.reason}") from None

    return ask
