"""A module of a program with caches of its own."""

from __future__ import annotations

SHOP = """
import asyncio

class Full(ValueError):
    pass

class Cache:
    limit = 3

    def __init__(self):
        self.items = {}

    def get(self, key, default=None):
        return self.items.get(key, default)

    def fetch(self, key):
        return self.items[key]

    async def aget(self, key, default=None):
        await asyncio.sleep(0)
        return self.get(key, default)

    async def afetch(self, key):
        await asyncio.sleep(0)
        return self.items[key]

    def relayed(self, key):
        return self.aget(key)

    def find(self, *keys):
        return [self.items[key] for key in keys if key in self.items]

    def every(self):
        yield from self.items

    def put(self, key, value):
        if isinstance(value, str) and len(value) > 3:
            return False
        self.items[key] = value
        while len(self.items) > self.limit:
            self._evict()
        return True

    def strict(self, key, value):
        if not self.put(key, value):
            raise Full(key)

    def _evict(self):
        del self.items[next(iter(self.items))]

    def shrink(self, size):
        gone = list(self.items)[size:]
        for key in gone:
            del self.items[key]
        return gone

    @classmethod
    def of_all(cls, key):
        return None

    @staticmethod
    def of_none(key):
        return None

    @property
    def size(self):
        return len(self.items)

class Derived(Cache):
    pass

class Slotted:
    __slots__ = ()

    def get(self, key):
        return None

def lookup(key):
    return None if key == "absent" else key

def chained(cache, key):
    return cache.get(key)

LIMIT = 5
sessions = Cache()
"""
