"""The command line as a whole: commands that do not exist."""

from __future__ import annotations

import pytest

from metertap.cli import main


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("snapsho", "snapsho is no command; did you mean snapshot?"),
        ("serve\x1b", "is no command: it is one of run, snapshot, costs, doctor, open, mcp, "),
    ],
)
def test_a_command_that_does_not_exist_is_told_with_a_suggestion(
    word: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 2
    (stdout, stderr) = capsys.readouterr()
    assert (stdout, told in stderr, "\x1b" in stderr) == ("", True, False)
