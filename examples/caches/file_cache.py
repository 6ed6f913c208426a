"""A cache of files, which refuses those that are too large and evicts the least recently used."""

from collections import OrderedDict
from hashlib import sha256
from pathlib import Path


class FileCache:
    def __init__(self, directory: Path, *, max_bytes: int, max_file_bytes: int) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.max_file_bytes = max_file_bytes
        self.sizes: OrderedDict[str, int] = OrderedDict()  # the least recently used comes first

    def get(self, key: str) -> bytes | None:
        if key not in self.sizes:
            return None
        self.sizes.move_to_end(key)
        return self._path(key).read_bytes()

    def put(self, key: str, content: bytes) -> bool:
        """Keep `content` under `key`; return False if it is too large."""
        if len(content) > self.max_file_bytes:
            return False
        self._path(key).write_bytes(content)
        self.sizes[key] = len(content)
        self.sizes.move_to_end(key)
        while sum(self.sizes.values()) > self.max_bytes:
            self._evict()
        return True

    def _evict(self) -> None:
        key, _ = self.sizes.popitem(last=False)
        self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.directory / sha256(key.encode()).hexdigest()
