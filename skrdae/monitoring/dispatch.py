"""Alerts on their way to handlers, in order, without one handler holding up the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from skrdae.monitoring.alert import Alert

_log = logging.getLogger("skrdae.monitoring")
# Seconds after which a handler that does not return counts as hanging.
_PATIENCE = 1.0
# Alerts that wait for a handler at most.
_LONGEST_QUEUE = 1000


class Dispatcher:
    """Calls handlers with alerts, each handler with one alert at a time and in order.

    It has no threads of its own: the thread that queued alerts delivers them. If another thread is
    in a handler just then, it waits for its turn, but no longer than a second from the beginning of
    that call. After that the handler hangs: the alert stays in the queue, and the thread that is in
    the handler delivers it when the handler returns.

    Parameters
    ----------
    name : str
        The monitor's, for logs.
    handlers : sequence of callable
    """

    def __init__(self, name: str, handlers: Sequence[Callable[[Alert], object]]) -> None:
        self._outboxes = [_Outbox(name, handler) for handler in handlers]

    @property
    def n_errors(self) -> int:
        """Times that a handler raised, and alerts that were dropped."""
        return sum(box.n_errors for box in self._outboxes)

    @property
    def n_waiting(self) -> int:
        """Alerts in queues, once for each handler."""
        return sum(len(box.queue) for box in self._outboxes)

    def queue(self, alerts: Sequence[Alert]) -> list[int]:
        """Queue alerts for all handlers, which no other thread may be doing meanwhile.

        Parameters
        ----------
        alerts : sequence of Alert

        Returns
        -------
        list of int
            To be passed to :meth:`deliver`.
        """
        return [box.put(alerts) for box in self._outboxes]

    def deliver(self, places: Sequence[int]) -> None:
        """Call the handlers with what is queued.

        Parameters
        ----------
        places : sequence of int
            What :meth:`queue` returned. The alerts queued by then have been delivered on return,
            but for those whose handler hangs.
        """
        for box, place in zip(self._outboxes, places, strict=True):
            box.deliver(place)

    def reset(self) -> None:
        """Begin again with empty queues, in a process that was forked."""
        for box in self._outboxes:
            box.reset()


class _Outbox:
    """What one handler is still to be told."""

    def __init__(self, name: str, handler: Callable[[Alert], object]) -> None:
        self._name, self._handler = name, handler
        self.n_errors = 0
        self.reset()

    def reset(self) -> None:
        self._changed = threading.Condition()
        self.queue: deque[Alert] = deque()
        # Alerts queued and delivered so far, and threads that wait for their turn.
        self._n_put = self._n_done = self._n_waiting = 0
        # The thread that calls the handler, since when, and whether somebody gave up waiting.
        self._owner: int | None = None
        self._since, self._hangs = 0.0, False

    def put(self, alerts: Sequence[Alert]) -> int:
        if not alerts:
            return 0
        with self._changed:
            fitting = alerts[: max(_LONGEST_QUEUE - len(self.queue), 0)]
            self.queue.extend(fitting)
            self._n_put += len(fitting)
            self.n_errors += len(alerts) - len(fitting)
            place = self._n_put
        for alert in alerts[len(fitting) :]:
            message = "%s: %d alerts wait for %r, which does not return; it will not be told: %s"
            _log.error(message, self._name, _LONGEST_QUEUE, self._handler, alert.text)
        return place

    def deliver(self, place: int) -> None:
        """Call the handler until the queue is empty, or others can go on beyond a place in it."""
        if not self._takes_turn(place):
            return
        try:
            while (alert := self._next(place)) is not None:
                self._call(alert)
        except BaseException:
            with self._changed:
                self._owner = None
                self._changed.notify_all()
            raise

    def _takes_turn(self, place: int) -> bool:
        """Wait until it is this thread's turn; say whether it is and something is left to do."""
        me, gives_up = threading.get_ident(), False
        with self._changed:
            if self._owner == me:  # a handler that brings rows itself
                return False
            self._n_waiting += 1
            try:
                while self._owner is not None and self._n_done < place and not gives_up:
                    left = self._since + _PATIENCE - time.monotonic()
                    gives_up = left <= 0
                    if not gives_up:
                        self._changed.wait(left)
            finally:
                self._n_waiting -= 1
            first, self._hangs = gives_up and not self._hangs, gives_up or self._hangs
            free = self._owner is None and len(self.queue) > 0
            mine = free and (self._n_done < place or self._n_waiting == 0)
            if mine:
                self._owner, self._since = me, time.monotonic()
        if first:
            message = "%s: %r has not returned for %g seconds; further alerts for it wait"
            _log.warning(message, self._name, self._handler, _PATIENCE)
        return mine

    def _next(self, place: int) -> Alert | None:
        with self._changed:
            if not self.queue or (self._n_done >= place and self._n_waiting):
                self._owner = None
                self._changed.notify_all()
                return None
            self._since = time.monotonic()
            return self.queue.popleft()

    def _call(self, alert: Alert) -> None:
        failed = True
        try:
            self._handler(alert)
            failed = False
        except Exception:  # whatever it is, the rows go on
            _log.exception("%s: a handler failed on an alert: %s", self._name, alert.text)
        finally:
            with self._changed:
                self._n_done += 1
                self.n_errors += failed
                self._hangs = False
                self._changed.notify_all()
