"""Clients that Stainless generates, which have the same structure: openai's and anthropic's.

Every call of the API passes `request` of the sync or the async base client once, however often it
is retried. It returns the parsed response, a stream of parsed events, or, if the program asks for
it, a raw response that is parsed later or never. Parsed raw responses pass `_parse`. Nothing is
read that the program does not read.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from metertap.costs.model_calls import ModelCall, Outer, begin
from metertap.measuring.frameworks import coroutine_method, plain_method
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import Target, comparable, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.models import layers, streams
from metertap_instrumentation.models.providers import provider_of

_RAW, _STREAM, _PARSED = "raw", "stream", "parsed"
_MOST_KINDS = 256


class Requests:
    """Counting of calls of `request(cast_to, options, …)` of a client of `package`."""

    def __init__(
        self,
        package: str,
        provider: str,
        operations: Mapping[str, str],
        see: streams.See,
        telling: streams.Telling,
    ) -> None:
        """Count requests to the paths of `operations`; `see` reads the usage of a parsed object.

        In a stream it reads items until it knows the model, then those with a field of `telling`.
        """
        self._package = package
        self._provider = provider
        self._operations = operations
        self._see = see
        self._telling = telling
        self._kinds: dict[type, str] = {}
        """The kind of a result by its type: asking a pydantic object takes microseconds."""
        self._raw: dict[int, tuple[ModelCall, Any]] = {}
        """Calls with a response that was not parsed yet, by its identity, until it is dropped."""

    def patch_sets(self) -> Sequence[PatchSet]:
        """Return the patches of the package."""
        package = self._package
        return [
            _Clients(package, "Sync", self),
            _Clients(package, "Async", self),
            PatchSet(f"{package}._response", [self._parse("BaseAPIResponse")]),
            PatchSet(
                f"{package}._legacy_response", [self._parse("LegacyAPIResponse")], optional=True
            ),
            PatchSet(
                f"{package}._streaming",
                [
                    stand_in(f"{kind}.close", around("model stream", _closes), optional=True)
                    for kind in ("Stream", "AsyncStream")
                ],
            ),
        ]

    # The methods below make this a `wrappers.Measure`.

    def begin(self, client: Any, args: Any, kwargs: Any, *, is_outer: bool = False) -> Any:
        """Begin a call of a model; None for any other request.

        One that `is_outer` may pass here again, so it is not remembered.
        """
        options = args[1] if len(args) > 1 else kwargs["options"]
        operation = self._operations.get(options.url.partition("?")[0])
        if operation is None or options.method.lower() != "post":
            return None
        sent = options.json_data
        is_mapping = type(sent) is dict or isinstance(sent, Mapping)  # the former takes no time
        model = sent.get("model") if is_mapping else None
        provider, server = provider_of(client, self._provider)
        request = None if is_outer else sent
        return begin(provider, operation, model, server=server, request=request)

    def ended(self, call: Any, response: Any) -> None:
        """Report what a request returned."""
        kind = self._kinds.get(type(response)) or self._kind_of(response)
        if kind is _PARSED:
            try:
                self._see(call, response)
            finally:
                call.end()
        elif kind is _STREAM:
            call.start_clock()
            watched = streams.watch(response._iterator, call, self._see, self._telling)
            response._iterator = watched
        else:
            call.stop_clock()
            dropped = weakref.finalize(response, self._dropped, id(response))
            dropped.atexit = False
            self._raw[id(response)] = call, dropped

    def raised(self, call: Any, error: BaseException) -> None:
        """End a call whose request raised, and hide the wrapper's frame in the error."""
        hide_frame(error)
        if call is not None:
            call.end(error)

    def _kind_of(self, response: Any) -> str:
        kind = _PARSED
        if hasattr(response, "http_response") and hasattr(response, "_parse"):
            kind = _RAW
        elif hasattr(response, "__stream__") and hasattr(response, "_iterator"):
            kind = _STREAM
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        self._kinds[type(response)] = kind
        return kind

    def _parse(self, owner: str) -> Target:
        make = around("model response", self._raw_parsed, self._parsed, only_with=self._raw)
        return stand_in(f"{owner}._parse", make, optional=True)

    def _raw_parsed(self, raw: Any, *_args: Any, **_kwargs: Any) -> int | None:
        """Return the identity of a raw response without a report so far."""
        return id(raw) if id(raw) in self._raw else None

    def _parsed(self, raw: int, parsed: Any) -> None:
        waiting = self._raw.pop(raw, None)
        if waiting is not None:
            call, dropped = waiting
            dropped.detach()
            self.ended(call, parsed)

    def _dropped(self, raw: int) -> None:
        """End the call of a response that was never parsed."""
        waiting = self._raw.pop(raw, None)
        if waiting is not None:
            waiting[0].end(in_finaliser=True)


def _closes(stream: Any, *_args: Any, **_kwargs: Any) -> None:
    """End the call of a stream that is about to be closed."""
    streams.over(vars(stream).get("_iterator"))


class _Overrides:
    """A subclass's own `request`, counted if it calls no other one: a `wrappers.Measure`.

    Other instrumentations define one, which calls the base class's method from before our patch.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def begin(self, client: Any, args: Any, kwargs: Any) -> Any:
        """Begin a call of a model, in a layer that notes whether it is counted further in."""
        call = self._requests.begin(client, args, kwargs, is_outer=True)
        return None if call is None else (Outer(counts=False), call)

    def ended(self, begun: Any, response: Any) -> None:
        """Report the result of a request, unless it is counted further in."""
        layer, call = begun
        if not layer.was_seen:
            self._requests.ended(call, response)

    def raised(self, begun: Any, error: BaseException) -> None:
        """End a call that raised, unless it is counted further in; hide the wrapper's frame."""
        is_counted = begun is None or begun[0].was_seen
        self._requests.raised(None if is_counted else begun[1], error)


class _Clients(SubclassesPatchSet):
    """The patches of one kind of client: `request` of the base class and of subclasses."""

    def __init__(self, package: str, kind: str, requests: Requests) -> None:
        made, base = _Overrides(requests), f"{kind}APIClient"
        wrapper = layers.coroutine(made) if kind == "Async" else layers.plain(made)
        super().__init__(f"{package}._base_client", base, {"request": wrapper}, target=comparable)
        method = coroutine_method if kind == "Async" else plain_method
        self.targets = (method(f"{base}.request", requests),)
