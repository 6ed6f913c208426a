"""The tools: quick ones, slow ones, and some that fail now and then."""

import asyncio
import itertools
from typing import Any

from file_cache import FileCache

DOCUMENTS = {"prices": bytes(500), "terms": bytes(300), "map": bytes(400), "manual": bytes(5000)}
RATES = {"EUR": 1.0, "NOK": 11.6}


class Tools:
    def __init__(self, files: FileCache, answers: Any = None) -> None:
        """Make the tools; `answers` is a `SemanticCache`, without which there is no tool `ask`."""
        self._files = files
        self._answers = answers
        self._one_question_at_a_time = asyncio.Lock()
        self._forecasts = itertools.count(1)
        self._readers: list[asyncio.Future[str]] = []
        self.by_name = {
            tool.__name__: tool
            for tool in (
                self.add,
                self.exchange,
                self.forecast,
                self.news,
                self.publish,
                self.read,
                self.search_archive,
                self.tools,
            )
        }
        if answers is not None:
            self.by_name["ask"] = self.ask

    async def tools(self) -> list[str]:
        return sorted(self.by_name)

    async def add(self, a: float, b: float) -> float:
        return a + b

    async def read(self, document: str) -> dict[str, Any]:
        content = self._files.get(document)
        cached = content is not None
        if content is None:
            content = DOCUMENTS[document]
            self._files.put(document, content)
        return {"bytes": len(content), "cached": cached}

    async def ask(self, question: str) -> dict[str, Any]:
        async with self._one_question_at_a_time:
            found = await asyncio.to_thread(self._answers.get, question)
            if found is not None:
                return {"answer": found.answer, "cached": True}
            answer = f"the answer to: {question}"
            await asyncio.to_thread(self._answers.put, question, answer)
            return {"answer": answer, "cached": False}

    async def exchange(self, amount: float, currency: str) -> dict[str, Any]:
        """Convert an amount of euros; a failure is reported as an `error` in the result."""
        if currency not in RATES:
            return {"error": f"there is no rate for {currency}"}
        return {"amount": amount * RATES[currency]}

    async def forecast(self) -> str:
        """Forecast the weather; every third call fails."""
        if next(self._forecasts) % 3 == 0:
            raise ConnectionError("the station does not answer")
        return "rain"

    async def search_archive(self, words: str) -> str:
        """Search for an hour, which is longer than the server's time limit."""
        await asyncio.sleep(3600)
        return words

    async def news(self) -> str:
        """Wait until something is published, and return it."""
        reader = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        return await reader

    async def publish(self, text: str) -> int:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.set_result(text)
        return len(readers)
