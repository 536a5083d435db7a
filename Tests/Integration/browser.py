"""Drives a real headless Chromium through the DevTools protocol over a pipe: what a page is to people, eyes and ears.

Nothing is downloaded and no port is opened: requests go to the browser's descriptor 3 and answers come from 4, one JSON object
each, ended by a NUL byte.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import required_tool

DARK, LIGHT = "dark", "light"


class Browser:
    """A browser with one page. Use it with `with`."""

    def __init__(self, timeout=60):
        self.timeout = timeout
        self.profile = tempfile.mkdtemp(prefix="drover-browser-")
        to_browser, self.requests = os.pipe()
        self.answers, from_browser = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        options += ["--no-first-run", "--disable-extensions", "--disable-background-networking", f"--user-data-dir={self.profile}"]
        # The browser wants its two ends of the pipes as 3 and 4: a shell puts them there.
        command = ["sh", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "sh", required_tool("chromium"), *options, "about:blank"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, pass_fds=[to_browser, from_browser], stdin=quiet, stdout=quiet, stderr=quiet)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer = b""
        self.number = 0
        self.session = None
        self.events = []
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for descriptor in (self.requests, self.answers):
            os.close(descriptor)
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **parameters):
        """Asks for something and waits for the answer; events that come before it are kept in `events`."""
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.requests, json.dumps(request).encode() + b"\0")
        while True:
            message = self.receive()
            if message.get("id") == self.number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def receive(self):
        end = time.monotonic() + self.timeout
        while b"\0" not in self.buffer:
            readable, _, _ = select.select([self.answers], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.answers, 1 << 20) if readable else b""
            if not piece:
                raise AssertionError(f"the browser says nothing (exit code {self.process.poll()})")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def show(self, page, width=1280, height=900, theme=LIGHT):
        """Loads the file `page` in a window of that size; `addresses` holds what was requested for it."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.events.clear()
        answer = self.call("Page.navigate", url=Path(page).resolve().as_uri())
        if "errorText" in answer:
            raise AssertionError(f"{page}: {answer['errorText']}")
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        self.call("Runtime.evaluate", expression="1")

    @property
    def addresses(self):
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    @property
    def complaints(self):
        """What the browser's console said of the page."""
        logged = [e["params"]["entry"]["text"] for e in self.events if e.get("method") == "Log.entryAdded"]
        return logged + [str(e["params"]) for e in self.events if e.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")]

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression[:200]}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def accessibility_tree(self):
        """What a screen reader gets: role and name of everything that is not ignored."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        values = lambda node, key: node.get(key, {}).get("value", "")
        properties = lambda node: {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
        return [(values(n, "role"), values(n, "name"), properties(n)) for n in nodes if not n["ignored"]]

    def screenshot(self, path):
        """Writes a picture of the whole page, however long."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(picture["data"]))
