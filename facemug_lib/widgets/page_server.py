"""Voilà for one page whose sessions outlive a reload, and whose kernels do not outlive their page.

The address of a page names its session. A page that is loaded again under that address gets the same text, and with it the same
kernel and everything that is painted; a new page begins a session, as long as there are not too many. A kernel without a page
ends after a minute. A page whose kernel has crashed begins anew when it is reloaded, and offers what was saved
(:mod:`facemug_lib.widgets.keeping`).
"""

from __future__ import annotations

import os
import re
import secrets
import time
from dataclasses import dataclass, field
from html import escape
from typing import Any

import psutil
import tornado.ioloop
import tornado.web
from jupyter_core.utils import ensure_async
from traitlets import Float, Int
from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.tornado.handler import TornadoVoilaHandler

KERNEL = re.compile(r'"kernelId": ?"([0-9a-f-]{36})"')
TICK = 1.0  # s between two looks at the pages
GUESS = 1.5  # GB that a page takes, before one has been measured


@dataclass
class Session:
    """One page: its text once it is complete, its kernel and that one's process, and when it was seen last."""

    kernel: str | None = None
    process: int | None = None
    text: str = ""
    is_loading: bool = True
    seen: float = field(default_factory=time.monotonic)


class Sessions:
    """The sessions of a server; ``most`` of them at a time, each ended ``patience`` seconds after its page was seen last."""

    def __init__(self, kernels: Any, most: int, patience: float) -> None:
        self.kernels, self.most, self.patience = kernels, most, patience
        self.known: dict[str, Session] = {}

    async def tidy(self) -> None:
        """End the sessions whose page has been gone for too long, and forget those whose kernel has ended."""
        now = time.monotonic()
        for name, one in [*self.known.items()]:
            if one.is_loading:
                one.seen = now
            elif not self.has_kernel(one):
                await self.end(name)
            elif self.has_page(one):
                one.seen = now
            elif now - one.seen > self.patience:
                await self.end(name)

    def process_of(self, one: Session) -> int | None:
        """The number of the process that runs the session's kernel now."""
        try:
            process = psutil.Process(self.kernels.get_kernel(one.kernel).provisioner.pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process.pid
        except (KeyError, AttributeError, TypeError, psutil.Error):
            return None

    def has_kernel(self, one: Session) -> bool:
        """Whether the kernel that the page was made with still runs; in the place of one that crashed Jupyter starts another."""
        return one.kernel in self.kernels and one.process is not None and self.process_of(one) == one.process

    def has_page(self, one: Session) -> bool:
        """Whether a page talks to the session's kernel."""
        return one.kernel in self.kernels and self.kernels.kernel_model(one.kernel)["connections"] > 0

    async def end(self, name: str) -> None:
        """Forget a session and end its kernel."""
        one = self.known.pop(name, None)
        if one is not None and (kernel := one.kernel) in self.kernels:
            await ensure_async(self.kernels.shutdown_kernel(kernel, now=True))

    async def has_room(self) -> bool:
        """Whether one more may begin; of those without a page the one that was seen first makes room for it."""
        gone = [name for name, one in self.known.items() if not one.is_loading and not self.has_page(one)]
        if len(self.known) >= self.most and gone:
            await self.end(min(gone, key=lambda name: self.known[name].seen))
        return len(self.known) < self.most

    def memory(self) -> float:
        """GB that a session takes: the largest of them now, or a guess where there is none."""
        found = [GUESS / 10]
        for one in self.known.values():
            try:
                if (pid := self.process_of(one)) is not None:
                    found.append(psutil.Process(pid).memory_info().rss / 1e9)
            except psutil.Error:
                continue
        return max(found) if len(found) > 1 else GUESS


class PageHandler(TornadoVoilaHandler):
    """The page itself."""

    @tornado.web.authenticated
    async def get(self, path: str | None = None) -> None:
        if path:
            raise tornado.web.HTTPError(404)
        sessions: Sessions = self.settings["facemug_sessions"]
        name = self.get_query_argument("session", "")
        if not name:
            self.set_header("Cache-Control", "no-store")
            self.redirect(f"?session={secrets.token_urlsafe(9)}")
            return
        known = sessions.known.get(name)
        if known is not None and known.text and sessions.has_kernel(known):
            known.seen = time.monotonic()
            self.set_header("Cache-Control", "no-store")
            self.finish(known.text)
            return
        if known is not None:  # it was given up half-way, or its kernel has crashed
            await sessions.end(name)
        if not await sessions.has_room():
            self.set_status(503)
            self.finish(f"<p>{escape(full(sessions))}</p>")
            return
        session = sessions.known[name] = Session()
        await self._make(session, path)
        count, memory = len(sessions.known), sessions.memory()
        print(f"page {count} of at most {sessions.most}: each takes about {memory:.1f} GB of memory", flush=True)

    async def _make(self, session: Session, path: str | None) -> None:
        """Run the page's cells in a kernel of its own, and send what they show."""
        text = ""
        try:
            async for part in self.get_generator(path=path):
                text += part
                if session.kernel is None and (found := KERNEL.search(text)):
                    session.kernel = found[1]
                self.write(part)
                self.flush()
            session.text = text
        finally:
            session.process = self.settings["facemug_sessions"].process_of(session)
            session.is_loading, session.seen = False, time.monotonic()


def full(sessions: Sessions) -> str:
    """What somebody reads who opens one page too many."""
    return (f"{sessions.most} pages are open, and each takes about {sessions.memory():.1f} GB of memory: close one of them and "
            "reload this one, or serve more with --pages")


class Goodbye(VoilaShutdownKernelHandler):
    """What a page says when it is left. It may be loaded again, so nothing is ended yet."""

    def check_xsrf_cookie(self) -> None:
        """Nothing is done here that anybody could misuse."""

    async def post(self, kernel_id: str) -> None:
        self.set_status(204)


class PageServer(Voila):
    """The server. Its process ends with the one that started it, and its kernels with it."""

    patience = Float(60.0, help="Seconds that a kernel lives without its page.").tag(config=True)
    pages = Int(4, help="How many pages may be open.").tag(config=True)

    def init_settings(self) -> dict[str, Any]:
        settings = super().init_settings()
        self.sessions = Sessions(self.kernel_manager, self.pages, self.patience)
        return {**settings, "facemug_sessions": self.sessions}

    def init_handlers(self) -> list[Any]:
        own = {TornadoVoilaHandler: PageHandler, VoilaShutdownKernelHandler: Goodbye}
        return [(route, own.get(handler, handler), *more) for route, handler, *more in super().init_handlers()]

    def listen(self) -> None:
        parent = os.getppid()

        async def look() -> None:
            if os.getppid() != parent:  # whoever started this was killed
                self.ioloop.stop()
            await self.sessions.tidy()

        tornado.ioloop.PeriodicCallback(look, 1000 * TICK).start()
        super().listen()


if __name__ == "__main__":
    PageServer.launch_instance()
