"""Where answers come from: whatever `--history` and `METERTAP_HISTORY` name."""

from __future__ import annotations

from pathlib import Path

from metertap.history.answers import Answers
from metertap.history.file_answers import FileAnswers


def open_answers(text: str) -> Answers:
    """Open the history that `text` names: a file. Raises HistoryError."""
    return FileAnswers(Path(text).expanduser())
