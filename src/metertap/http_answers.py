"""Answers over HTTP of whoever listens at an address, who is not trusted to come to an end."""

from __future__ import annotations

import http.client
from typing import Any

_MOST_STATUSES = 10
"""The most status lines of an answer: `100 Continue` may come before the final one."""


class Answer(http.client.HTTPResponse):
    """An answer with a limited number of status lines.

    The base class would read as many `100 Continue` as are sent, which may take a whole processor.
    """

    _statuses = 0

    def _read_status(self) -> Any:
        self._statuses += 1
        if self._statuses > _MOST_STATUSES:
            raise http.client.HTTPException("an answer that never comes")
        inherited: Any = super()
        return inherited._read_status()
