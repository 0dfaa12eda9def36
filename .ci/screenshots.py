#!/usr/bin/env python
"""Open built pages in headless Chromium, without a network, as a reader on two screens sees them.

    python .ci/screenshots.py HTML FOLDER [PAGE ...]

takes screenshots of eight pages of HTML, or of those named, 1400 and 390 pixels wide, into FOLDER.
A name may hold wildcards. Says what is wrong, exit status 1, if

- a page is wider than the screen, or something is cut off at its edge (the widest is named);
- a picture is missing;
- a line of a code block is cut off at 1400 pixels;
- TeX source is to be seen;
- a page asks for anything from a network.

Without a Chromium that starts (Debian's package chromium; CHROMIUM names another) the exit status
is 3.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WIDTHS = {1400: 1000, 390: 844}  # pixels: width, height
PAGES = [
    "index",
    "getting_started",
    "generated/skrdae.RobustDeepAutoencoder",
    "api/detectors",
    "gallery/index",
    "benchmarks",
    "choosing_lam",
    "time_series",
]
NO_BROWSER = 3
SECONDS = 60  # after which a browser is taken to hang, on one page
TALLEST = 20_000  # pixels of a screenshot

LOOK = r"""
(async () => {
  const pictures = [...document.images];
  for (const image of pictures) image.loading = "eager";
  await Promise.all(pictures.map((image) => image.decode().catch(() => {})));
  await document.fonts.ready;

  const name = (element) => {
    const parts = [element.tagName.toLowerCase()];
    if (element.id) parts.push("#" + element.id);
    for (const word of element.classList) parts.push("." + word);
    return parts.join("") + ": " + element.textContent.trim().slice(0, 60);
  };
  const root = document.documentElement;
  const faults = [];
  if (root.scrollWidth > root.clientWidth)
    faults.push(`is ${root.scrollWidth} pixels wide, on a screen of ${root.clientWidth}`);
  // What lies beyond the edge is cut off where the page does not scroll to it. Code, tables and
  // formulas scroll in boxes of their own.
  const boxes = "pre, .pst-scrollable-table-container, .formula";
  const beyond = [...document.body.querySelectorAll("*")]
    .filter((element) => element.checkVisibility({visibilityProperty: true}))
    .filter((element) => !element.parentElement.closest(boxes))
    .map((element) => [element.getBoundingClientRect().right + scrollX, element])
    .filter(([right]) => right > root.clientWidth + 0.5);
  if (beyond.length) {
    // The innermost are what is too wide; the others are stretched by them.
    const outer = new Set(beyond.map(([, element]) => element.parentElement));
    const inner = beyond.filter(([, element]) => !outer.has(element));
    const [right, element] = inner.reduce((a, b) => (b[0] > a[0] ? b : a));
    const place = `beyond the edge, one to ${Math.round(right)}: ${name(element)}`;
    faults.push(`has ${beyond.length} elements ${place}`);
  }
  for (const image of pictures)
    if (image.naturalWidth === 0) faults.push("shows no picture " + image.getAttribute("src"));
  // Output scrolls where it is long; code that one reads should not have to.
  if (innerWidth > 1000)
    for (const block of document.querySelectorAll("pre")) {
      if (block.closest(".sphx-glr-script-out")) continue;
      const output = [...block.querySelectorAll(".go, .gr, .gt")];
      for (const element of output) element.style.display = "none";
      if (block.scrollWidth > block.clientWidth) {
        const line = block.innerText.split("\n").reduce((a, b) => (b.length > a.length ? b : a));
        faults.push(`cuts off code of ${line.length} characters: ${line}`);
      }
      for (const element of output) element.style.display = "";
    }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (parent.closest("pre, code, script, style, noscript")) continue;
    const tex = walker.currentNode.data.match(/\\[()[\]]|\\[A-Za-z]{2,}.{0,40}/);
    if (tex && parent.checkVisibility()) faults.push("shows TeX: " + tex[0]);
  }
  return {faults, height: root.scrollHeight};
})()
"""


class Browser:
    """Headless Chromium, told what to do by its DevTools protocol over a pair of pipes."""

    def __init__(self, program, profile):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def pipes_as_3_and_4():
            # Copied out of the way first: either may be 3 or 4 already.
            ours = os.dup(to_browser), os.dup(from_browser)
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)

        self._process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--no-sandbox",  # root has none
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-background-networking",
                "--hide-scrollbars",
                "--no-first-run",
                "--force-device-scale-factor=1",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=pipes_as_3_and_4,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest = b""
        self._n_calls = 0
        self._session = None
        self.events = []
        watch = threading.Timer(SECONDS, self.kill)
        watch.start()
        try:
            self._start()
        except BaseException:
            self.kill()
            raise
        finally:
            watch.cancel()

    def _start(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Network"):
            self.call(f"{domain}.enable")

    def kill(self):
        """End the browser and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _message(self):
        while b"\0" not in self._rest:
            chunk = os.read(self._in, 1 << 20)
            if not chunk:
                raise EOFError("Chromium has ended")
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        """Return the result of a method; events that come meanwhile are kept."""
        self._n_calls += 1
        call = {"id": self._n_calls, "method": method, "params": parameters}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._out, json.dumps(call).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._n_calls:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self.events.append(message)

    def open(self, address):
        """Open a page and wait until it is loaded; return the addresses it asked for."""
        self.events.clear()
        failed = self.call("Page.navigate", url=address).get("errorText")
        if failed:
            raise RuntimeError(f"{address}: {failed}")
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


def look(browser, page, width, picture):
    """Yield what is wrong with a page on a screen of this width; save a screenshot."""
    screen = {"width": width, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.call("Emulation.setDeviceMetricsOverride", height=WIDTHS[width], **screen)
    for address in browser.open(page.as_uri()):
        if re.match(r"(https?|wss?):", address):
            yield f"asks for {address}"
    answer = browser.call(
        "Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True
    )
    if "exceptionDetails" in answer:
        raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
    found = answer["result"]["value"]
    yield from found["faults"]
    height = max(WIDTHS[width], min(found["height"], TALLEST))
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    picture.write_bytes(base64.b64decode(shot["data"]))


def chromium():
    """Return the path of the browser, or None."""
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


def main(html, folder, names):
    """Look at all pages; return the exit status."""
    program = chromium()
    if program is None:
        print("Chromium is not installed (Debian: apt-get install chromium)", file=sys.stderr)
        return NO_BROWSER
    pages = []
    for name in names:
        matching = sorted(html.glob(f"{name}.html"))
        if not matching:
            print(f"{html} has no page {name}.html", file=sys.stderr)
            return 1
        pages += matching
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    n_faults = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        try:
            browser = Browser(program, profile)
        except (EOFError, OSError) as error:
            print(f"{program} does not start: {error!r}", file=sys.stderr)
            return NO_BROWSER
        try:
            for page in pages:
                name = page.relative_to(html).with_suffix("").as_posix()
                for width in WIDTHS:
                    # A browser that hangs is ended; the next read of its answers then says so.
                    watch = threading.Timer(SECONDS, browser.kill)
                    watch.start()
                    picture = folder / f"{name.replace('/', '-')}-{width}.png"
                    try:
                        faults = list(look(browser, page, width, picture))
                    finally:
                        watch.cancel()
                    n_faults += len(faults)
                    for fault in faults:
                        print(f"{name}.html at {width} pixels {fault}")
        finally:
            browser.kill()
    seconds = time.monotonic() - begin
    print(f"{len(pages)} pages at {len(WIDTHS)} widths, {n_faults} faults, {seconds:.0f} s")
    return int(n_faults > 0)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]), sys.argv[3:] or PAGES))
