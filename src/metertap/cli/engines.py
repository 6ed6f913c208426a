"""Open the history that a command line names: a file, or the address of an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote, urlsplit, urlunsplit

from metertap.cli.client import NONE, Unreachable, get
from metertap.cli.credentials import Credentials
from metertap.history.answers import Answers, HistoryError
from metertap.history.engine import EngineAnswers
from metertap.history.file_answers import FileAnswers
from metertap.settings import secret
from metertap.settings.config_file import expanded
from metertap.text import without_secrets


def open_history(text: str, given: Credentials = NONE) -> Answers:
    """Open a file, or an engine that speaks PromQL. Raises HistoryError.

    The engine gets the token in the address (`http://:TOKEN@host`), or the user's name and password
    (`http://NAME:PASSWORD@host`). Otherwise it gets only the token of a file that an option named,
    which may be the password of a user in the address (`http://NAME@host`).
    """
    if not text.startswith(("http://", "https://")):
        return FileAnswers(expanded(text))
    try:
        parts = urlsplit(text)
        user, _, place = parts.netloc.rpartition("@")
        name, token = map(unquote, user.partition(":")[::2])
        shown = replace(given, user=name, token=secret.parse(token) if token else given.token)
    except ValueError as error:
        raise HistoryError(f"the address of the engine cannot be used: {error}") from None
    address = urlunsplit((parts.scheme, place, "", "", ""))
    return EngineAnswers(_asking(address, parts.path.rstrip("/"), shown))


def _asking(address: str, folder: str, shown: Credentials) -> Callable[[str], bytes]:
    def ask(path: str) -> bytes:
        try:
            return get(address, folder + path, shown)
        except Unreachable as error:
            # The query is left out of the message: it is longer than a line.
            raise HistoryError(f"{without_secrets(address + folder)}: {error.reason}") from None

    return ask
