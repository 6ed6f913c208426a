"""The source of answers: the file or the engine that `--history` or `METERTAP_HISTORY` names."""

from __future__ import annotations

from pathlib import Path

from metertap.history.answers import Answers
from metertap.history.file_answers import FileAnswers


def open_answers(text: str) -> Answers:
    """Open the history that `text` names: a file. Raises HistoryError."""
    return FileAnswers(Path(text).expanduser())
