"""google-genai: generated content and embeddings, of the Gemini API and of Vertex AI.

Each request to a model passes `_generate_content`, `_generate_content_stream` or `_embed_content`
of `Models` or `AsyncModels` (`embed_content` in old versions), also if the library calls functions
itself and asks again. The response contains the usage; each chunk of a stream contains the usage so
far. A stream is requested when it is first read, so it belongs to the tool that reads it.

The API counts candidates without thoughts, which are paid for as output; here the output includes
them.

Not seen: live sessions, interactions, images and videos, batches, counting tokens; the usage of
embeddings if the API does not report it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from metertap import faults
from metertap.costs.model_calls import EMBEDDINGS, GENERATE, ModelCall, begin, report
from metertap.costs.usage import Usage, checked, part, tokens
from metertap.measuring.frameworks import coroutine_method, plain_method
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target, comparable
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES
from metertap_instrumentation.models import streams

Read = Callable[[Any], Usage | None]


def usage_of(response: Any) -> Usage | None:
    """Read the usage of generated content, or of a chunk of it. Raises Unusable."""
    found = getattr(response, "usage_metadata", None)
    if found is None or part(found, "prompt_token_count") is None:
        return None
    thoughts = tokens(found, "thoughts_token_count")
    return checked(
        Usage(
            tokens(found, "prompt_token_count") + tokens(found, "tool_use_prompt_token_count"),
            tokens(found, "candidates_token_count") + thoughts,
            tokens(found, "cached_content_token_count"),
            reasoning=thoughts,
            input_audio=_audio(found, "prompt_tokens_details"),
            output_audio=_audio(found, "candidates_tokens_details"),
        )
    )


def embedding_usage_of(response: Any) -> Usage | None:
    """Read the usage of embeddings: of the whole, or the sum of each. Raises Unusable."""
    whole = usage_of(response)
    if whole is not None:
        return whole._replace(output=0)
    found: Any = getattr(response, "embeddings", None) or ()
    each = [getattr(item, "statistics", None) for item in found]
    counts = [part(item, "token_count") for item in each if item is not None]
    known = [tokens({"count": _whole(count)}, "count") for count in counts if count is not None]
    return checked(Usage(sum(known))) if known else None


def _whole(count: Any) -> Any:
    """Return a whole number which the API gives as a float."""
    return int(count) if isinstance(count, float) and count.is_integer() else count


def _audio(found: Any, path: str) -> int:
    details = part(found, path)
    return sum(
        tokens(item, "token_count")
        for item in (details if isinstance(details, list) else ())
        if str(getattr(item, "modality", "")).upper().endswith("AUDIO")
    )


class Requests:
    """Counting of requests to models: a `wrappers.Measure`."""

    def __init__(self, operation: str, read: Read) -> None:
        self._operation = operation
        self._read = read

    def begin(self, models: Any, _args: Any, kwargs: Any) -> Any:
        """Begin a call of a model."""
        api = models._api_client
        provider = "gcp.vertex_ai" if api.vertexai else "gcp.gemini"
        model = kwargs.get("model")
        if isinstance(model, str):
            model = model.rpartition("/")[2]
        return begin(
            provider, self._operation, model, server=_server_of(api), request=_asked(kwargs)
        )

    def ended(self, call: Any, response: Any) -> None:
        """Report what a request returned."""
        try:
            self.see(call, response)
        finally:
            call.end()

    def raised(self, call: Any, error: BaseException) -> None:
        """End a call that raised, and hide the wrapper's frame in the error."""
        hide_frame(error)
        if call is not None:
            call.end(error)

    def see(self, call: ModelCall, response: Any) -> None:
        """Report the usage in a response or a chunk."""
        report(call, self._read, response, model=getattr(response, "model_version", None))


class AsyncStreams(Requests):
    """Requests whose result is an async generator."""

    def wrapped(self, method: Any, models: Any, args: Any, kwargs: Any) -> Any:
        """Call `method`, and return an iterator that watches the stream that it returns."""

        async def call() -> Any:
            try:
                stream = await method(*args, **kwargs)
            except BaseException as error:
                self.raised(begun, error)
                raise
            with faults.guarded("model stream"):
                return stream if begun is None else streams.watch(stream, begun, self.see)
            return stream

        begun = _begun(self, models, args, kwargs)
        return call()


class Streams(Requests):
    """Requests made by a generator at its first step."""

    def wrapped(self, method: Any, models: Any, args: Any, kwargs: Any) -> Any:
        """Call `method`, and return an iterator that watches the generator that it returns."""
        begun = _begun(self, models, args, kwargs)
        try:
            stream = method(*args, **kwargs)
        except BaseException as error:
            self.raised(begun, error)
            raise
        with faults.guarded("model stream"):
            return stream if begun is None else streams.watch(stream, begun, self.see)
        return stream


def _begun(requests: Requests, models: Any, args: Any, kwargs: Any) -> Any:
    with faults.guarded("model call"):
        return requests.begin(models, args, kwargs)
    return None


def _asked(kwargs: Any) -> Any:
    return {name: kwargs.get(name) for name in ("model", "contents", "config")}


def _server_of(api: Any) -> tuple[str, int] | None:
    url = getattr(getattr(api, "_http_options", None), "base_url", None)
    if not isinstance(url, str):
        return None
    parts = urlsplit(url)
    return (parts.hostname, parts.port or 443) if parts.hostname else None


class _Models(PatchSet):
    """The targets of the patches; in new versions `embed_content` calls `_embed_content`."""

    def __init__(self) -> None:
        super().__init__("google.genai.models", ())

    def prepare(self, module: Any) -> None:
        """Choose the methods that make requests in this version."""
        made, embedded = Requests(GENERATE, usage_of), Requests(EMBEDDINGS, embedding_usage_of)
        plain, later = Streams(GENERATE, usage_of), AsyncStreams(GENERATE, usage_of)
        embed = "_embed_content" if hasattr(module.Models, "_embed_content") else "embed_content"
        self.targets = (
            plain_method("Models._generate_content", made),
            coroutine_method("AsyncModels._generate_content", made),
            Target("Models._generate_content_stream", plain.wrapped),  # must stay a generator
            comparable("AsyncModels._generate_content_stream", later.wrapped),
            plain_method(f"Models.{embed}", embedded),
            coroutine_method(f"AsyncModels.{embed}", embedded),
        )


INSTRUMENTATION = Instrumentation(LIBRARIES["models.google_genai"], [_Models()])
