"""An alert receiver: firing and resolved alerts are posted until it confirms that it has them.

Nothing queues up. The alerts that fire now and those that the receiver knows are kept; the
difference is posted, however long it could not be reached. Each receiver has its own thread, which
starts when there is something to post, so that a hanging receiver delays no other.
"""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from metertap import faults, locks, threads
from metertap._version import __version__
from metertap.alerts.definitions import Key
from metertap.alerts.evaluator import FIRING, RESOLVED, Alert
from metertap.http_answers import Answer
from metertap.settings.address import Address
from metertap.unmocked import unmocked
from metertap_exporters.alert_receivers import payloads
from metertap_exporters.alert_receivers.payloads import Sender

MOST_ALERTS = 500
"""The most alerts in one request; the rest comes with the next."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
"""The longest wait between two tries, in seconds; each is twice as long as the one before."""
TIMEOUT_SECONDS = 5.0
"""The longest that one step of a request may take, in seconds."""
LONGEST_SECONDS = 15.0
"""The longest that a whole request may take, in seconds; then it is cut."""


@dataclass(frozen=True, slots=True)
class ReceiverKind:
    """The protocol of one kind of receiver: addresses, requests and answers."""

    name: str
    path: str
    repeat_seconds: float | None
    """Seconds after which it wants firing alerts again; None if it wants them only once."""
    body: Callable[[Sequence[Alert], Sequence[Alert], Sender, float], bytes]


ALERTMANAGER = ReceiverKind(
    "Alertmanager", "/api/v2/alerts", payloads.REPEAT_SECONDS, payloads.to_alertmanager
)
WEBHOOK = ReceiverKind(
    "webhook",
    "",
    None,
    lambda firing, resolved, sender, _now: payloads.to_webhook(firing, resolved, sender),
)


class Receiver:
    """One receiver. Any thread may call its methods, which never raise.

    All but `flush` return at once.
    """

    def __init__(self, kind: ReceiverKind, address: Address) -> None:
        self.kind = kind
        self.address = address
        self._sender: Sender  # of the latest alerts
        self._changed = locks.condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._firing: dict[Key, Alert] = {}
        self._ended: dict[Key, Alert] = {}
        self._resolved: dict[Key, Alert] = {}  # resolved alerts that it does not know of yet
        self._known: dict[Key, Alert] = {}  # the alerts that it knows to be firing
        self._told_at: float | None = None  # by the monotonic clock
        self._failures = 0
        self._retry_at = 0.0
        # Not the generator of the module, which a program may have seeded.
        self._random = random.Random()  # noqa: S311  # of waiting times
        self._post: tuple[Post, float] | None = None
        self.problem: str | None = None
        self.last_delivery: float | None = None

    def tell(self, alerts: Sequence[Alert], sender: Sender) -> None:
        """Take the present alerts, and post those that are new to the receiver."""
        with self._changed:
            self._sender = sender
            self._firing = {alert.key: alert for alert in alerts if alert.state == FIRING}
            self._ended = {alert.key: alert for alert in alerts if alert.state == RESOLVED}
            for key, known in self._known.items():
                if key in self._firing:
                    self._resolved.pop(key, None)
                else:
                    self._resolved.setdefault(key, self._end_of(known))
            if self._delay() is not None and not self._closed:
                self._have_a_thread()
                self._changed.notify_all()
            late = self._post
        if late is not None and unmocked.monotonic() - late[1] > LONGEST_SECONDS:
            late[0].cut()

    def flush(self, seconds: float) -> None:
        """Wait until the receiver knows everything, for `seconds` at most.

        Does not wait for a receiver that cannot be reached.
        """
        until = unmocked.monotonic() + seconds
        with self._changed:
            while self._thread is not None and self._news() and self.problem is None:
                left = until - unmocked.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break

    def close(self) -> None:
        """Stop posting. Firing alerts are not posted as resolved, since they may go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            post = self._post
        if post is not None:
            post[0].cut()

    def described(self) -> dict[str, Any]:
        """Describe the receiver for `metertap doctor`."""
        return {
            "receiver": self.kind.name,
            "url": str(self.address),
            "last_delivery": self.last_delivery,
            "problem": self.problem,
        }

    # The methods below are called with the condition held.

    def _end_of(self, known: Alert) -> Alert:
        gone = self._ended.get(known.key)
        if gone is not None:
            return gone
        return replace(known, finding=known.finding.forgotten(), state=RESOLVED, since=time.time())

    def _news(self) -> bool:
        return bool(self._resolved) or any(key not in self._known for key in self._firing)

    def _delay(self) -> float | None:
        """Return the seconds until the next post; None if there is nothing to post."""
        now = unmocked.monotonic()
        if self._news():
            return max(0.0, self._retry_at - now)
        if self.kind.repeat_seconds is None or not self._firing or self._told_at is None:
            return None
        return max(0.0, self._told_at + self.kind.repeat_seconds - now, self._retry_at - now)

    def _have_a_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            name = f"metertap-{self.kind.name.lower()}"
            thread: threading.Thread = threads.Thread(
                target=lambda: self._run(thread), name=name, daemon=True
            )
            self._thread = thread
            thread.start()

    def _next(self) -> tuple[list[Alert], list[Alert]] | None:
        """Wait for something to post: firing and resolved alerts. None at the end."""
        while not self._closed:
            delay = self._delay()
            if delay == 0.0:
                break
            self._changed.wait(delay)
        if self._closed:
            return None
        new = [alert for key, alert in self._firing.items() if key not in self._known]
        repeated = [] if self.kind.repeat_seconds is None else list(self._known)
        again = [self._firing[key] for key in repeated if key in self._firing]
        resolved = list(self._resolved.values())[:MOST_ALERTS]
        firing = (new + again)[: MOST_ALERTS - len(resolved)]
        return firing, resolved

    # The methods below run in the receiver's thread.

    def _run(self, thread: threading.Thread) -> None:
        if thread is not self._thread:  # it has begun so late that another one was started
            return
        with faults.guarded("alerts.receiver"):  # else the next news starts a thread
            while self._tell_next():
                pass

    def _tell_next(self) -> bool:
        """Wait for something to post, and try to post it; False at the end."""
        with self._changed:
            todo = self._next()
        if todo is None:
            return False
        problem: str | None = "it could not be written"
        with faults.guarded("alerts.notify"):
            problem = self._send(*todo)
        with self._changed:
            self._post = None
            self._sent(*todo, problem)
            self._changed.notify_all()
        return True

    def _send(self, firing: list[Alert], resolved: list[Alert]) -> str | None:
        body = self.kind.body(firing, resolved, self._sender, time.time())
        post = Post(self.address, _target(self.address, self.kind.path), body)
        with self._changed:
            if self._closed:
                return None
            self._post = (post, unmocked.monotonic())
        return post.run()

    def _sent(self, firing: list[Alert], resolved: list[Alert], problem: str | None) -> None:
        if self._closed:
            return
        was, self.problem = self.problem, problem
        if problem is not None:
            delay = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**self._failures)
            self._failures = min(self._failures + 1, 10)
            self._retry_at = unmocked.monotonic() + delay * self._random.uniform(0.5, 1.0)
            if was is None:
                faults.warn(
                    "alerts: the %s at %s cannot be told (%s); tried again, told once until it can",
                    self.kind.name,
                    self.address,
                    problem,
                )
            return
        if was is not None:
            faults.warn("alerts: the %s at %s answers again", self.kind.name, self.address)
        self._failures = 0
        self._told_at, self.last_delivery = unmocked.monotonic(), time.time()
        for alert in resolved:
            self._known.pop(alert.key, None)
            self._resolved.pop(alert.key, None)
        for alert in firing:
            self._known.pop(alert.key, None)  # to the end, so that others come first the next time
            self._known[alert.key] = alert
            if alert.key not in self._firing:  # it has resolved meanwhile
                self._resolved.setdefault(alert.key, self._end_of(alert))


class Post:
    """One request. `run` returns the problem, if there is one; another thread may `cut` it.

    It goes directly to its address, without proxies and redirects, and the answer's body is not
    read. It is made with `http.client`, since instrumentations of HTTP clients in this process must
    not take our requests for the program's.
    """

    def __init__(self, address: Address, target: str, body: bytes) -> None:
        is_https = address.scheme == "https"
        make = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
        # Another user may listen at ::1, so no secret goes there. Over TLS, a certificate is shown
        # first.
        is_here = address.host == "localhost" and not is_https and address.authorization is not None
        host = "127.0.0.1" if is_here else address.host
        self._connection = make(host, address.port, timeout=TIMEOUT_SECONDS)
        self._connection.response_class = Answer
        self._target = target
        self._body = body
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"metertap/{__version__}",
            "Connection": "close",
        }
        if is_here:
            self._headers["Host"] = f"{address.host}:{self._connection.port}"
        if address.authorization is not None:
            self._headers["Authorization"] = address.authorization

    def run(self) -> str | None:
        """Send it. Return None if it was accepted, else the reason, without the address."""
        connection = self._connection
        try:
            connection.request("POST", self._target, self._body, self._headers)
            response = connection.getresponse()
            try:
                status = response.status
            finally:
                response.close()
        except TimeoutError:
            return "no answer in time"
        except OSError as error:
            return error.strerror or type(error).__qualname__
        except Exception as error:  # the answer does not come from an HTTP server
            return type(error).__qualname__
        finally:
            connection.close()
        if 200 <= status < 300:
            return None
        if 300 <= status < 400:
            return f"answers {status}; redirects are not followed"
        return f"answers {status}"

    def cut(self) -> None:
        """End the request at once."""
        connected: socket.socket | None = self._connection.sock
        if connected is not None:
            with suppress(OSError):
                # Not the method of SSLSocket: its thread's next write would go out unencrypted.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _target(address: Address, path: str) -> str:
    """Return `path` below the address's own path, unless that ends in it already."""
    own, mark, query = address.target.partition("?")
    if not own.rstrip("/").endswith(path):
        own = own.rstrip("/") + path
    return (own or "/") + mark + query
