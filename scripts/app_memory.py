"""What the app's pages take: opens and closes pages of `facemug app` in a browser, and counts kernels and memory.

By hand, as each page loads the networks: `python scripts/app_memory.py --pages 20 --together 6`. Prints a line per round, and
fails where a kernel outlives its page or more pages than allowed are served.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from facemug_lib.widgets import app
from facemug_lib.widgets.live import PATIENCE, running_browser

SHOWN = ".facemug-painter .fm-moment"


def processes(server: psutil.Process) -> tuple[list[psutil.Process], float]:
    """(the kernels of the server, the MiB of the server and all of them that no other process has)."""
    kernels, held = [], 0
    for one in [server, *server.children(recursive=True)]:
        try:
            if "ipykernel_launcher" in " ".join(one.cmdline()):
                kernels.append(one)
            held += one.memory_full_info().uss
        except psutil.Error:  # it is just ending
            continue
    return kernels, held / 2**20


def until_ended(server: psutil.Process, seconds: float) -> list[psutil.Process]:
    """The kernels that are left once none is, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := processes(server)[0]) and time.monotonic() < deadline:
        time.sleep(1)
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=int, default=20, help="pages in all")
    parser.add_argument("--together", type=int, default=6, help="most pages at a time")
    parser.add_argument("--patience", type=float, default=5, help="seconds that a kernel lives without its page")
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "facemug_lib.widgets.page_server", str(app.PAGE / "app.ipynb"), f"--port={port}",
               "--no-browser", "--template=facemug", f"--PageServer.pages={given.together}",
               f"--PageServer.patience={given.patience}"]
    with tempfile.TemporaryDirectory() as folder, running_browser() as browser:
        log = Path(folder) / "log"
        environment = app.environment() | {"FACEMUG_SESSIONS": "off"}
        with log.open("w") as out:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        server = psutil.Process(process.pid)
        try:
            while "running at" not in log.read_text():
                if process.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.5)
            print(f"no page: 0 kernels, {processes(server)[1]:,.0f} MiB", flush=True)
            opened = 0
            while opened < given.pages:
                contexts = [browser.new_context() for _ in range(min(given.together, given.pages - opened))]
                started = time.monotonic()
                for context in contexts:
                    page = context.new_page()
                    page.goto(f"http://localhost:{port}/", timeout=PATIENCE)
                    page.wait_for_selector(SHOWN, timeout=PATIENCE)
                opened += len(contexts)
                took = (time.monotonic() - started) / len(contexts)
                kernels, held = processes(server)
                refused = ""
                if len(contexts) == given.together:
                    context = browser.new_context()
                    context.new_page().goto(f"http://localhost:{port}/", timeout=PATIENCE)
                    context.pages[0].wait_for_selector("text=pages are open", timeout=PATIENCE)
                    refused = ", one more is refused"
                    context.close()
                if len(kernels) != len(contexts):
                    sys.exit(f"{len(kernels)} kernels for {len(contexts)} pages")
                print(f"{opened} pages opened, {len(contexts)} of them now: {len(kernels)} kernels, {held:,.0f} MiB "
                      f"({took:.0f} s a page){refused}", flush=True)
                for context in contexts:
                    context.close()
                left = until_ended(server, given.patience + 60)
                print(f"  closed: {len(left)} kernels, {processes(server)[1]:,.0f} MiB", flush=True)
                if left:
                    sys.exit("a kernel outlives its page")
        finally:
            everything = [server, *server.children(recursive=True)]
            process.terminate()
            _, alive = psutil.wait_procs(everything, 30)
            print(f"after the server: {len(alive)} processes left", flush=True)


if __name__ == "__main__":
    main()
