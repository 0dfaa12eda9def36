"""One POST request, which ends in time whatever the server does."""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Answers by which a server says that it did nothing, and that it may be asked again.
_AGAIN = {408, 425, 429, 500, 502, 503}
# A gateway that heard nothing from the server behind it.
_UNKNOWN = {504}


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes
    ----------
    state : {"sent", "again", "unconfirmed", "failed"}
        The server took it; did nothing, and may be asked again; may or may not have taken it;
        refused it.
    said : str
        For logs; without the URL, which may hold a secret.
    wait : float or None
        Seconds after which the server asks to be asked again.
    """

    state: Literal["sent", "again", "unconfirmed", "failed"]
    said: str
    wait: float | None = None


class Poster:
    """Posts to a URL. Redirects are not followed.

    Parameters
    ----------
    url : str
    timeout : float
        Seconds for a connection, and for request and answer together.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url, self._timeout = url, timeout
        self._opener = urllib.request.build_opener(_NoRedirects, _PlainHandler, _SecureHandler)

    def post(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send a request once.

        Parameters
        ----------
        body : bytes
        headers : dict of str to str

        Returns
        -------
        Outcome
        """
        request = urllib.request.Request(self._url, body, dict(headers), method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return Outcome("sent", f"answer {answer.status}")
        except urllib.error.HTTPError as error:
            error.close()
            said = f"answer {error.code}"
            if error.code in _UNKNOWN:
                return Outcome("unconfirmed", said)
            if error.code in _AGAIN:
                return Outcome("again", said, _seconds(error.headers.get("Retry-After")))
            return Outcome("failed", said)
        except urllib.error.URLError as error:  # no connection, or not all of it was sent
            return Outcome("again", f"no connection ({error.reason})")
        except (OSError, http.client.HTTPException) as error:
            return Outcome("unconfirmed", f"no answer ({type(error).__name__})")
        except Exception as error:  # a header that cannot be sent, say
            return Outcome("failed", repr(error))


def _seconds(value: Any) -> float | None:
    with contextlib.suppress(TypeError, ValueError):  # none, or a date
        seconds = float(value)
        return seconds if math.isfinite(seconds) else None
    return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect an error: a POST that is redirected becomes a GET, without the alert."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


# A socket's timeout is for each of its reads: a server that sends a byte now and then would hold a
# thread for ever. So every read of an answer gets the time that is left for all of it.


class _Reader(io.RawIOBase):
    """What a socket sends, until the time is over."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = sock, deadline
        self._raw: Any = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("The time for the request is over.")
    return left


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *, deadline: float, **options: Any) -> None:
        super().__init__(sock, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock, deadline))


class _Bounded(http.client.HTTPConnection):
    """A connection whose request and answer end in time."""

    timeout: float
    _deadline = 0.0

    def connect(self) -> None:
        self._deadline = time.monotonic() + self.timeout  # of what a proxy answers
        super().connect()
        self._deadline = time.monotonic() + self.timeout

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_left(self._deadline))
        super().send(data)

    def response_class(  # type: ignore[override]  # a class there, which knows no deadline
        self, sock: socket.socket, **options: Any
    ) -> _Response:
        return _Response(sock, deadline=self._deadline, **options)


class _Secure(_Bounded, http.client.HTTPSConnection):
    pass


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Bounded, request)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Secure, request)
