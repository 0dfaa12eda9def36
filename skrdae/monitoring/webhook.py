"""Alerts as HTTP requests, which neither hold up the rows nor get lost in silence."""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.util import Finalize
from numbers import Real
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

from skrdae.monitoring.alert import Alert
from skrdae.monitoring.posting import Outcome, Poster

_log = logging.getLogger("skrdae.monitoring")
# Alerts waiting at most; beyond that the server has been away for too long.
_LONGEST_QUEUE = 10_000
# Seconds between attempts: the first, the longest, and the longest that a server may ask for.
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_ASKED = 0.5, 60.0, 3600.0
# Seconds that the end of a process waits for all handlers together, and the most that any time of
# waiting may be set to.
_AT_EXIT, _LONGEST = 5.0, 1e7
# The handlers of this process.
_HANDLERS: weakref.WeakSet[WebhookHandler] = weakref.WeakSet()
# An alert, what is sent of it, and since when it waits.
#: A function that makes the body of a request.
Payload: TypeAlias = Callable[[Alert], object]
_Item: TypeAlias = tuple[Alert, bytes, float]


class WebhookHandler:
    """Post alerts as JSON to a URL, one after another, in a thread of its own.

    The monitor goes on at once. Where no connection is made, or the server says that it cannot do
    it now (408, 425, 429, 500, 502, 503), the alert is sent again after 0.5, 1, 2, … at most 60
    seconds, or when the server asks for it by ``Retry-After``; those behind it wait, so that they
    arrive in order. A request that was sent whole and got no answer may have arrived: it is not
    sent again, so that nobody is called twice, but kept in `unconfirmed`. What the server refuses
    is kept in `failed`. Both are logged as errors, and :meth:`resend` takes them up again.

    Parameters
    ----------
    url : str
        Of http or https. Redirects are not followed.
    payload : {"json", "slack"} or callable, default="json"
        The alert's fields; ``{"text": …}``, which Slack, Mattermost and others understand; or what
        a function makes of the alert, of JSON's types.
    headers : dict of str to str, optional
        Besides ``Content-Type``, say for authorisation. ``Idempotency-Key`` is the alert's id.
    timeout : float, default=5.0
        Seconds for a connection (to each of the host's addresses), and for request and answer
        together, however slowly they come.
    give_up_after : float, default=86400.0
        Seconds after which an alert that cannot be delivered counts as failed.

    Attributes
    ----------
    failed, unconfirmed : list of Alert
    n_sent : int
        Number of alerts that the server has accepted.

    Notes
    -----
    At the end of the process, alerts that wait are tried for five more seconds, and logged if that
    fails. Logs name the host, not the URL, which may hold a secret. A process that
    is forked has a queue of its own, empty at first.

    Examples
    --------
    >>> from skrdae.monitoring import WebhookHandler
    >>> handler = WebhookHandler("https://hooks.slack.com/services/secret", payload="slack")
    >>> handler
    WebhookHandler(host='hooks.slack.com', n_undelivered=0)
    """

    payload: Literal["json", "slack"] | Payload
    failed: list[Alert]
    unconfirmed: list[Alert]
    n_sent: int
    _queue: deque[_Item]
    _thread: threading.Thread | None
    _in_flight: _Item | None

    def __init__(
        self,
        url: str,
        *,
        payload: Literal["json", "slack"] | Payload = "json",
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        give_up_after: float = 86400.0,
    ) -> None:
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must begin with http:// or https:// and name a host.")
        if not url.isascii() or not url.isprintable() or " " in url or parts.port == 0:
            raise ValueError("url holds a character, or a port, that no address has.")
        if parts.username is not None:
            raise ValueError("url holds a user's name: put credentials into headers.")
        if payload not in ("json", "slack") and not callable(payload):
            raise ValueError(f"payload must be 'json', 'slack' or a function; got {payload!r}.")
        for name, value in (("timeout", timeout), ("give_up_after", give_up_after)):
            if not (isinstance(value, Real) and 0 < value <= _LONGEST):
                raise ValueError(f"{name} must be a number of seconds above 0; got {value!r}.")
        headers = dict(headers or {})
        for name, text in headers.items():
            if not all(
                isinstance(v, str) and v.isascii() and v.isprintable() for v in (name, text)
            ):
                raise ValueError(f"headers must be text, of one line each; see that of {name!r}.")
        self._host = parts.hostname
        self.payload, self.headers = payload, headers
        self.timeout, self.give_up_after = timeout, give_up_after
        self._poster = Poster(url, timeout)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue, self._changed = deque(), threading.Condition()
        self._thread, self._in_flight = None, None
        self._closed = self._hurry = False
        self.failed, self.unconfirmed, self.n_sent = [], [], 0
        _HANDLERS.add(self)
        _finalizer(os.getpid())

    def _begin_if_forked(self) -> None:
        if self._pid != os.getpid():  # the thread and the queue are the parent's
            self._begin()

    def __repr__(self) -> str:
        return f"WebhookHandler(host={self._host!r}, n_undelivered={self.n_undelivered})"

    @property
    def n_undelivered(self) -> int:
        """Alerts that wait, that failed, or that may or may not have arrived."""
        return len(self._queue) + len(self.failed) + len(self.unconfirmed)

    def __call__(self, alert: Alert) -> None:
        """Queue an alert.

        Raises
        ------
        TypeError
            If what `payload` made of it is not of JSON's types.
        RuntimeError
            If the handler is closed, or 10,000 alerts are waiting.
        """
        body = self._body(alert)
        self._begin_if_forked()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self!r} is closed; the alert is not sent: {alert.text}")
            if len(self._queue) >= _LONGEST_QUEUE:
                self.failed.append(alert)
                raise RuntimeError(
                    f"{len(self._queue)} alerts wait for {self._host}; this one is not sent: "
                    f"{alert.text}"
                )
            self._put([(alert, body)])

    def _put(self, items: Iterable[tuple[Alert, bytes]]) -> None:
        now = time.monotonic()
        self._queue.extend((alert, body, now) for alert, body in items)
        if self._thread is None and self._queue:
            # It ends when there is nothing left to do.
            thread = threading.Thread(
                target=self._work, name=f"alerts to {self._host}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # too many; the next alert tries again
                _log.error("%s: %s; %d alert(s) wait", self._host, error, len(self._queue))
            else:
                self._thread = thread

    def _body(self, alert: Alert) -> bytes:
        if callable(self.payload):
            content = self.payload(alert)
        else:
            content = alert.as_dict() if self.payload == "json" else {"text": _slack_text(alert)}
        return json.dumps(content).encode()

    # ---------------------------------------------------------------------------- delivering

    def _work(self) -> None:
        wait = 0.0
        while True:
            with self._changed:
                until = time.monotonic() + wait
                while self._queue and not self._hurry and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                self._hurry = False
                if not self._queue:
                    self._thread = None
                    return
                alert, body, queued = self._in_flight = self._queue[0]
            outcome = self._send(alert, body)
            with self._changed:
                self._in_flight = None
                if not self._queue:  # closed, in less time than this took
                    self._settle_late(outcome.state, alert)
                    continue
                over = time.monotonic() - queued > self.give_up_after
                if outcome.state == "again" and not over:
                    wait = min(max(2 * wait, _FIRST_WAIT), _LONGEST_WAIT)
                    if self._closed:
                        wait = _FIRST_WAIT
                    elif outcome.wait is not None:
                        wait = min(max(outcome.wait, _FIRST_WAIT), _LONGEST_ASKED)
                    left = queued + self.give_up_after - time.monotonic()
                    wait = min(wait, max(left, 0.0) + _FIRST_WAIT)
                    waiting = f"{len(self._queue)} alert(s) wait, again in {wait:.3g} s"
                    _log.warning("%s: %s; %s", self._host, outcome.said, waiting)
                    continue
                wait = 0.0
                self._queue.popleft()
                self._settle(outcome.state, outcome.said, alert)
                self._changed.notify_all()

    def _settle(self, state: str, said: str, alert: Alert) -> None:
        if state == "sent":
            self.n_sent += 1
        elif state == "unconfirmed":
            self.unconfirmed.append(alert)
            _log.error("%s: %s; not known to have arrived: %s", self._host, said, alert.text)
        else:
            self.failed.append(alert)
            _log.error("%s: %s; not delivered: %s", self._host, said, alert.text)

    def _settle_late(self, state: str, alert: Alert) -> None:
        if state == "unconfirmed":  # as close() has it
            return
        self.unconfirmed.remove(alert)
        if state == "sent":
            self.n_sent += 1
            _log.info("%s: delivered after all: %s", self._host, alert.text)
        else:
            self.failed.append(alert)
            _log.error("%s: not delivered: %s", self._host, alert.text)

    def _send(self, alert: Alert, body: bytes) -> Outcome:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": alert.id,
            "User-Agent": "skrdae",
            **self.headers,
        }
        return self._poster.post(body, headers)

    # ------------------------------------------------------------------------------- ending

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until no alert waits.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Returns
        -------
        bool
            Whether none waits.
        """
        self._begin_if_forked()
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout)

    def resend(self) -> int:
        """Queue again what failed and what may not have arrived.

        Returns
        -------
        int
            How many alerts.
        """
        self._begin_if_forked()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self!r} is closed.")
            items = [(alert, self._body(alert)) for alert in self.failed + self.unconfirmed]
            self.failed, self.unconfirmed = [], []
            self._put(items)
        return len(items)

    def close(self, timeout: float = 5.0) -> None:
        """Take no more alerts, and try at short intervals what waits.

        Parameters
        ----------
        timeout : float, default=5.0
            Seconds that this may take. What is not delivered by then counts as failed.
        """
        self._close(time.monotonic() + timeout)

    def _hasten(self) -> None:
        with self._changed:
            self._closed = self._hurry = True
            self._changed.notify_all()

    def _close(self, until: float) -> None:
        self._begin_if_forked()
        self._hasten()
        with self._changed:
            self._changed.wait_for(lambda: not self._queue, max(until - time.monotonic(), 0.0))
            for item in self._queue:
                state = "unconfirmed" if item is self._in_flight else "failed"
                self._settle(state, "closed", item[0])
            self._queue.clear()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _slack_text(alert: Alert) -> str:
    sign = ":white_check_mark:" if alert.resolved else ":rotating_light:"
    # Slack's three control characters.
    text = alert.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{sign} {text}"


@functools.cache
def _finalizer(pid: int) -> Finalize[None]:
    # Processes that multiprocessing has forked end without atexit.
    return Finalize(None, _close_all, exitpriority=0)


@atexit.register
def _close_all() -> None:
    """Close all handlers of this process, in the time that one may take."""
    until = time.monotonic() + _AT_EXIT
    mine = [h for h in list(_HANDLERS) if h._pid == os.getpid() and not h._closed]
    for handler in mine:
        handler._hasten()
    for handler in mine:
        handler._close(until)
