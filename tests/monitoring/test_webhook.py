import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from receiver import Receiver

from skrdae.monitoring import Alert, Monitor, WebhookHandler
from skrdae.monitoring import webhook as module

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    found = Receiver()
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.1)


def _alerts(n):
    return [Alert("pumps", "drift", f"number {i}", {"i": i}) for i in range(n)]


def _numbers(receiver):
    return [content["details"]["i"] for content in receiver.taken]


def test_alerts_arrive_whole_and_in_order(receiver):
    alerts = _alerts(50)
    with WebhookHandler(receiver.url, headers={"Authorization": "Bearer x"}) as handler:
        for alert in alerts:
            handler(alert)
        assert handler.flush(10)
        assert handler.n_sent == 50
    assert receiver.taken == [alert.as_dict() for alert in alerts]
    headers = receiver.seen[7][1]
    assert headers["Idempotency-Key"] == alerts[7].id
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "application/json"


def test_payloads(receiver):
    bad = Alert("pumps", "drift", "a < b & c > d")
    good = Alert("pumps", "drift", "over", resolved=True)
    with WebhookHandler(receiver.url, payload="slack") as handler:
        handler(bad)
        handler(good)
    first, second = receiver.taken
    assert first == {"text": ":rotating_light: a &lt; b &amp; c &gt; d"}
    assert second["text"].endswith(" over")
    assert first["text"].split()[0] != second["text"].split()[0]
    with WebhookHandler(receiver.url, payload=lambda a: {"summary": a.text, "at": 1}) as handler:
        handler(good)
    assert receiver.taken[-1] == {"summary": "over", "at": 1}
    with (
        WebhookHandler(receiver.url, payload=lambda a: {"what": object()}) as handler,
        pytest.raises(TypeError),
    ):
        handler(good)


def test_what_the_server_puts_off_is_sent_again_and_taken_once(receiver, caplog):
    receiver.answers = [500, 503, 200, 429, 502, 408]
    with WebhookHandler(receiver.url) as handler:
        for alert in _alerts(4):
            handler(alert)
        assert handler.flush(10)
    assert _numbers(receiver) == [0, 1, 2, 3]
    assert len(receiver.seen) == 9
    assert handler.n_undelivered == 0
    assert "answer 503; 4 alert(s) wait" in caplog.text
    assert "secret" not in caplog.text


def test_a_server_says_when_to_come_again(receiver):
    receiver.answers = [(429, {"Retry-After": "1"})]
    start = time.monotonic()
    with WebhookHandler(receiver.url) as handler:
        handler(_alerts(1)[0])
        assert handler.flush(10)
    assert time.monotonic() - start >= 1
    receiver.answers = [(503, {"Retry-After": "0"}), (503, {"Retry-After": "soon"})]
    with WebhookHandler(receiver.url) as handler:
        handler(_alerts(1)[0])
        assert handler.flush(10)
    assert len(receiver.taken) == 2


def test_a_stopped_server_holds_up_nothing_and_gets_all_in_the_end(receiver, caplog):
    handler = WebhookHandler(receiver.url)
    alerts = _alerts(30)
    for alert in alerts[:10]:
        handler(alert)
    assert handler.flush(10)
    receiver.stop()
    start = time.monotonic()
    for alert in alerts[10:20]:
        handler(alert)
    assert time.monotonic() - start < 3  # not the time that ten attempts take
    assert not handler.flush(0.3)
    assert handler.n_undelivered == 10
    receiver.start()
    for alert in alerts[20:]:
        handler(alert)
    assert handler.flush(10)
    handler.close()
    assert _numbers(receiver) == list(range(30))
    assert handler.n_undelivered == 0
    assert "no connection" in caplog.text


@pytest.mark.parametrize("answer", ["hang", "drop", 504])
def test_what_may_have_arrived_is_not_sent_twice(answer, receiver, caplog):
    receiver.answers = [200, answer]
    alerts = _alerts(3)
    with WebhookHandler(receiver.url, timeout=1) as handler:
        for alert in alerts:
            handler(alert)
        assert handler.flush(10)
        assert [content["details"]["i"] for content, _ in receiver.seen] == [0, 1, 2]
        assert handler.unconfirmed == [alerts[1]]
        assert handler.n_undelivered == 1
        assert "not known to have arrived: number 1" in caplog.text
        # Whoever wants to be called twice rather than not at all says so.
        assert handler.resend() == 1
        assert handler.flush(10)
        assert handler.n_undelivered == 0
    assert len(receiver.seen) == 4


DRIPS = {
    "status": ("", "HTTP/1.1 200 O"),
    "a line without end": ("HTTP/1.1 ", "2"),
    "headers": ("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
    "to be continued": ("", "HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_ends_in_time(drip, receiver, caplog):
    receiver.answers = [("drip", *drip), 200]
    alerts = _alerts(2)
    handler = WebhookHandler(receiver.url, timeout=0.3)
    for alert in alerts:
        handler(alert)
    assert handler.flush(60)  # while the server goes on and on
    assert not receiver.released.is_set()
    assert handler.unconfirmed == [alerts[0]]
    assert handler.n_sent == 1
    assert "not known to have arrived: number 0" in caplog.text
    handler.close()


def test_the_body_of_an_answer_is_not_waited_for(receiver):
    headers = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    receiver.answers = [
        ("drip", headers, "so sorry "),
        ("drip", headers[:9] + "404 No\r\n\r\n", "x"),
    ]
    with WebhookHandler(receiver.url, timeout=30) as handler:
        for alert in _alerts(3):
            handler(alert)
        assert handler.flush(60)
        assert not receiver.released.is_set()
        assert handler.n_sent == 2
        assert [alert.details["i"] for alert in handler.failed] == [1]


def test_a_proxy_that_drips_ends_in_time(monkeypatch, caplog):
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    over = threading.Event()

    def drip(connection):
        with connection, contextlib.suppress(OSError):
            while not over.is_set():
                connection.sendall(b"H")
                time.sleep(0.01)

    def serve(server):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(server.accept()[0],)).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        handler = WebhookHandler("https://alerts.example/", timeout=0.2, give_up_after=0.3)
        alerts = _alerts(1)
        handler(alerts[0])
        assert handler.flush(60)
        assert handler.failed == alerts  # nothing was sent to the receiver
        assert "no connection" in caplog.text
        handler.close()
        over.set()
        server.shutdown(socket.SHUT_RDWR)


def test_a_server_without_encryption_is_no_connection(receiver, caplog):
    handler = WebhookHandler(receiver.url.replace("http:", "https:"), give_up_after=0.1)
    alerts = _alerts(1)
    handler(alerts[0])
    assert handler.flush(60)
    assert handler.failed == alerts
    assert "SSL" in caplog.text
    assert receiver.seen == []


@pytest.mark.parametrize("answer", [400, 404, (301, {"Location": "/elsewhere"}), 413])
def test_what_the_server_refuses_is_kept_and_logged(answer, receiver, caplog):
    receiver.answers = [answer]
    alerts = _alerts(2)
    with WebhookHandler(receiver.url) as handler:
        for alert in alerts:
            handler(alert)
        assert handler.flush(10)
    assert handler.failed == [alerts[0]]
    assert _numbers(receiver) == [1]
    assert "GET" not in receiver.seen
    assert "not delivered: number 0" in caplog.text
    assert "secret" not in caplog.text


def test_a_header_that_cannot_be_sent_is_a_failure_and_holds_up_nothing(receiver, caplog):
    alerts = _alerts(2)
    with WebhookHandler(receiver.url, headers={"A:B": "secret"}) as handler:
        for alert in alerts:
            handler(alert)
        assert handler.flush(10)
    assert handler.failed == alerts
    assert (handler.n_sent, handler.unconfirmed, receiver.seen) == (0, [], [])
    assert "Invalid header name b'A:B'" in caplog.text
    assert caplog.text.count("not delivered: number") == 2
    assert "secret" not in caplog.text


def test_it_gives_up_in_the_end(receiver, caplog):
    receiver.stop()
    handler = WebhookHandler(receiver.url, give_up_after=0.2)
    alerts = _alerts(3)
    for alert in alerts:
        handler(alert)
    assert handler.flush(10)
    assert handler.failed == alerts
    assert caplog.text.count("not delivered") == 3
    receiver.start()
    assert handler.resend() == 3
    assert handler.flush(10)
    handler.close()
    assert _numbers(receiver) == [0, 1, 2]


def test_closing_leaves_nothing_unsaid(receiver, caplog):
    receiver.stop()
    handler = WebhookHandler(receiver.url)
    alerts = _alerts(3)
    for alert in alerts:
        handler(alert)
    start = time.monotonic()
    handler.close(timeout=0.5)
    assert time.monotonic() - start < 4
    assert handler.failed == alerts
    assert caplog.text.count("not delivered") == 3
    for call in (lambda: handler(alerts[0]), handler.resend):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    assert handler.failed == alerts


@pytest.mark.parametrize("ends", ["no answer", 200, 404])
def test_closing_while_a_request_is_out(ends, receiver, caplog):
    receiver.answers = ["hang"] if ends == "no answer" else [("hang", ends)]
    handler = WebhookHandler(receiver.url, timeout=1 if ends == "no answer" else 30)
    alerts = _alerts(2)
    for alert in alerts:
        handler(alert)
    _wait(lambda: receiver.seen)
    handler.close(timeout=0.01)
    assert handler.unconfirmed == [alerts[0]]
    assert handler.failed == [alerts[1]]
    thread = handler._thread
    receiver.released.set()
    thread.join(20)
    # It is known by then.
    known = {"no answer": (alerts[:1], 0, 1), 200: ([], 1, 1), 404: ([], 0, 2)}[ends]
    assert (handler.unconfirmed, handler.n_sent, len(handler.failed)) == known
    assert "not delivered: number 1" in caplog.text


def _wait(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_full_queue_is_an_error(receiver, monkeypatch):
    receiver.stop()
    monkeypatch.setattr(module, "_LONGEST_QUEUE", 5)
    handler = WebhookHandler(receiver.url)
    alerts = _alerts(6)
    for alert in alerts[:5]:
        handler(alert)
    with pytest.raises(RuntimeError, match="5 alerts wait for"):
        handler(alerts[5])
    assert handler.failed == [alerts[5]]
    handler.close(timeout=0.1)
    assert sorted(a.details["i"] for a in handler.failed) == list(range(6))


def test_no_thread_is_left_when_nothing_waits(receiver):
    before = threading.active_count()
    handlers = [WebhookHandler(receiver.url) for _ in range(5)]
    for handler in handlers:
        handler(_alerts(1)[0])
        assert handler.flush(10)
    _wait(lambda: not any(t.name.startswith("alerts to") for t in threading.enumerate()))
    names = [t.name for t in threading.enumerate() if t.name.startswith("alerts to")]
    assert names == []
    assert threading.active_count() <= before + 5  # the receiver's
    del handler, handlers
    gc.collect()


def test_a_thread_that_cannot_start_is_started_by_the_next_alert(receiver, monkeypatch, caplog):
    handler = WebhookHandler(receiver.url)
    alerts = _alerts(2)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        handler(alerts[0])
    assert "can't start new thread; 1 alert(s) wait" in caplog.text
    handler(alerts[1])
    assert handler.flush(20)
    assert _numbers(receiver) == [0, 1]


@pytest.mark.parametrize("asked", ["nan", "inf", "-3", "1e999"])
def test_what_a_server_asks_for_has_bounds(asked, receiver):
    receiver.answers = [(503, {"Retry-After": asked})] * 3
    with WebhookHandler(receiver.url) as handler:
        start = time.monotonic()
        handler(_alerts(1)[0])
        assert handler.flush(20)
    assert time.monotonic() - start > 0.05
    assert len(receiver.seen) == 4


def test_it_gives_up_even_if_the_server_asks_for_patience(receiver):
    receiver.answers = [(503, {"Retry-After": "3000"})] * 9
    handler = WebhookHandler(receiver.url, give_up_after=0.3)
    handler(_alerts(1)[0])
    assert handler.flush(20)
    assert len(handler.failed) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "file:///etc/passwd"}, "http"),
        ({"url": "localhost:80"}, "http"),
        ({"url": 5}, "url"),
        ({"headers": {"a": "b\nc"}}, "headers"),
        ({"headers": {"a": 1}}, "headers"),
        ({"timeout": float("inf")}, "timeout"),
        ({"url": "http://"}, "host"),
        ({"url": "http://localhost/a b"}, "character"),
        ({"url": "http://localhost/a\nb"}, "character"),
        ({"url": "http://localhost:99999/"}, "(?i)port"),
        ({"url": "http://me:secret@localhost/"}, "headers"),
        ({"payload": "xml"}, "payload"),
        ({"timeout": 0}, "timeout"),
        ({"give_up_after": "a day"}, "give_up_after"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        WebhookHandler(**({"url": "http://localhost"} | arguments))


def _send_in_child(handler, queue):
    handler(_alerts(2)[1])
    queue.put((handler.flush(10), handler.n_sent))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_sends_its_own_alerts_only(receiver):
    port, url = receiver.port, receiver.url
    receiver.stop()
    handler = WebhookHandler(url)
    handler(_alerts(1)[0])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_send_in_child, args=(handler, queue), daemon=True)
    child.start()
    receiver.port = port
    receiver.start()
    assert queue.get(timeout=20) == (True, 1)
    child.join(20)
    assert handler.flush(10)
    handler.close()
    assert sorted(_numbers(receiver)) == [0, 1]


def _send_and_return(url):
    handler = WebhookHandler(url)
    for alert in _alerts(3):
        handler(alert)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_delivers_before_it_ends(receiver):
    receiver.answers = [503]
    child = multiprocessing.get_context("fork").Process(
        target=_send_and_return, args=(receiver.url,), daemon=True
    )
    child.start()
    child.join(20)
    assert _numbers(receiver) == [0, 1, 2]


def test_the_end_of_the_process_waits_for_all_handlers_together():
    code = (
        "import time; from skrdae.monitoring import Alert, WebhookHandler, webhook\n"
        "webhook._AT_EXIT = 2.0\n"
        "handlers = [WebhookHandler(f'http://127.0.0.1:{port}/') for port in (9, 19, 29, 39)]\n"
        "for handler in handlers: handler(Alert('pumps', 'drift', 'x'))\n"
        "started = time.monotonic(); webhook._close_all(); print(time.monotonic() - started)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, timeout=90, capture_output=True, text=True)
    assert 1.6 < float(done.stdout) < 6
    assert done.stderr.count("not delivered") == 4


def test_the_end_of_the_process_waits_for_what_is_queued(receiver):
    receiver.answers = [503]
    code = (
        "from skrdae.monitoring import Alert, WebhookHandler\n"
        f"handler = WebhookHandler({receiver.url!r})\n"
        "for i in range(5): handler(Alert('pumps', 'drift', 'x', {'i': i}))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert _numbers(receiver) == [0, 1, 2, 3, 4]


def test_a_suspended_server_is_told_once():
    # The system takes requests for a process that is stopped; it sees them when it goes on.
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from receiver import Receiver; import time\n"
        "receiver = Receiver(); print(receiver.url, flush=True)\n"
        "sys.stdin.readline(); time.sleep(0.5)\n"
        "print([c['details']['i'] for c in receiver.taken], flush=True); receiver.stop()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, os.path.dirname(os.path.dirname(__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            handler = WebhookHandler(server.stdout.readline().strip(), timeout=1)
            alerts = _alerts(4)
            handler(alerts[0])
            assert handler.flush(10)
            server.send_signal(signal.SIGSTOP)
            handler(alerts[1])
            handler(alerts[2])
            assert handler.flush(10)
            server.send_signal(signal.SIGCONT)
            handler(alerts[3])
            assert handler.flush(10)
            print(file=server.stdin, flush=True)
            assert sorted(eval(server.stdout.readline())) == [0, 1, 2, 3]
        finally:
            server.kill()  # which may be stopped still
    assert [a.details["i"] for a in handler.unconfirmed] == [1, 2]


def test_monitoring_goes_on_without_the_server(receiver):
    import numpy as np
    from sklearn.ensemble import IsolationForest

    X = np.random.default_rng(0).normal(size=(300, 3))
    receiver.stop()
    with WebhookHandler(receiver.url) as handler:
        forest = IsolationForest(random_state=0).fit(X)
        reference = -forest.decision_function(X)
        monitor = Monitor(forest, reference=reference, threshold=0.1, handlers=[handler])
        found = [alert for _ in range(20) for alert in monitor.update(X).alerts]
        assert len(found) >= 20
        receiver.start()
        assert handler.flush(20)
    assert [content["id"] for content in receiver.taken] == [alert.id for alert in found]
    assert monitor.n_handler_errors_ == 0


def test_loggers_see_no_url(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    receiver.answers = [404, 504, 500]
    with WebhookHandler(receiver.url) as handler:
        for alert in _alerts(4):
            handler(alert)
        handler.flush(10)
    assert "127.0.0.1" in repr(handler)
    assert "secret" not in caplog.text + repr(handler)
