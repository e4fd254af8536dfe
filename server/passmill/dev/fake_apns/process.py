"""The stand-in in a process of its own, so that a load does not run on its back."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from multiprocessing.connection import Connection as Pipe
from typing import Final, Self

import uvloop

from passmill.dev.fake_apns.post import Post
from passmill.dev.fake_apns.records import PushLog, PushRecord
from passmill.dev.fake_apns.script import GoAway, Script
from passmill.dev.fake_apns.server import FakeApns, FakeApnsCertificates
from passmill.dev.fake_apns.tokens import Tokens
from passmill.dev.ports import ANY_PORT, HOST

_REPORT_SECONDS: Final = 0.02
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0


class _Play:
    def __init__(self, script: Script) -> None:
        self._script = script

    def __call__(self, server: FakeApns) -> None:
        server.play(self._script)


class _Retire:
    def __init__(self, token: str, at: datetime) -> None:
        self._token, self._at = token, at

    def __call__(self, server: FakeApns) -> None:
        server.tokens.retire(self._token, self._at)


class _Add:
    def __init__(self, token: str, topic: str) -> None:
        self._token, self._topic = token, topic

    def __call__(self, server: FakeApns) -> None:
        server.tokens.add(self._token, self._topic)


class _GoAwayAll:
    def __init__(self, answer: GoAway) -> None:
        self._answer = answer

    def __call__(self, server: FakeApns) -> None:
        server.go_away_all(self._answer)


class _DisconnectAll:
    def __init__(self, *, abort: bool) -> None:
        self._abort = abort

    def __call__(self, server: FakeApns) -> None:
        server.disconnect_all(abort=self._abort)


class _Report:
    """What the process tells: pushes since the last report, and the log's other figures."""

    def __init__(self, port: int, records: list[PushRecord], log: PushLog) -> None:
        self.port = port
        self.records = records
        self.protocol_errors = list(log.protocol_errors)
        self.connections = log.connections


class FakeApnsProcess:
    """Context manager. `log` and `post` are as a `FakeApns`' of this process, as far as reports
    were collected: by `collect`, or all the time inside `collecting`."""

    def __init__(
        self,
        certificates: FakeApnsCertificates,
        script: Script | None = None,
        *,
        is_strict: bool = False,
        post: Post | None = None,
        port: int = ANY_PORT,
    ) -> None:
        self.log = PushLog()
        self.post = post or Post()
        self.host = HOST
        self.port = port
        context = multiprocessing.get_context("spawn")
        self._pipe, self._far_pipe = context.Pipe()
        self._process = context.Process(
            target=_run,
            args=(self._far_pipe, certificates, script or Script(), is_strict, port),
            daemon=True,
            name="fake-apns",
        )
        self._reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()
        self._on_report: Callable[[], object] = lambda: None
        self._reader = threading.Thread(target=self._read, name="fake-apns", daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._far_pipe.close()
        if not self._pipe.poll(_START_SECONDS):
            self._process.kill()
            raise TimeoutError("the stand-in for Apple's push service did not start")
        self._take(self._pipe.recv())
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # it may have ended
            self._pipe.send(None)
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reader.join()
        self._pipe.close()
        self.collect()

    def play(self, script: Script) -> None:
        """From now on another script."""
        self._pipe.send(_Play(script))

    def add_token(self, token: str, topic: str) -> None:
        """A device has this token for one topic alone."""
        self._pipe.send(_Add(token, topic))

    def retire_token(self, token: str, at: datetime) -> None:
        """The token ended at `at` (aware)."""
        self._pipe.send(_Retire(token, at))

    def go_away_all(self, answer: GoAway) -> None:
        """Say GOAWAY on every connection."""
        self._pipe.send(_GoAwayAll(answer))

    def disconnect_all(self, *, abort: bool) -> None:
        """End every connection."""
        self._pipe.send(_DisconnectAll(abort=abort))

    def collect(self) -> None:
        """Take in what was reported, without waiting for more."""
        while not self._reports.empty():
            self._take(self._reports.get())

    @asynccontextmanager
    async def collecting(self) -> AsyncIterator[None]:
        """Take reports in as they come, in this loop."""
        loop = asyncio.get_running_loop()
        self._on_report = lambda: loop.call_soon_threadsafe(self.collect)
        self.collect()
        try:
            yield
        finally:
            self._on_report = lambda: None

    def _take(self, report: _Report) -> None:
        self.port = report.port
        self.log.extend(report.records)
        self.log.protocol_errors = report.protocol_errors
        self.log.connections = report.connections
        for record in report.records:
            self.post.bring(record)

    def _read(self) -> None:
        # A thread: a loop would make the pipe non-blocking, and messages are read whole.
        while True:
            try:
                self._reports.put(self._pipe.recv())
            except (EOFError, OSError):  # it has ended
                return
            self._on_report()


def _run(
    pipe: Pipe, certificates: FakeApnsCertificates, script: Script, is_strict: bool, port: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the other process' matter
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(pipe, certificates, script, is_strict, port))


async def _serve(
    pipe: Pipe, certificates: FakeApnsCertificates, script: Script, is_strict: bool, port: int
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    waiting: list[PushRecord] = []
    reports: queue.SimpleQueue[_Report | None] = queue.SimpleQueue()
    server = FakeApns(
        certificates,
        script,
        tokens=Tokens(is_strict=is_strict),
        port=port,
        on_record=waiting.append,
        keeps_log=False,
    )

    def obey() -> None:
        try:
            while (command := pipe.recv()) is not None:
                loop.call_soon_threadsafe(command, server)
        except (EOFError, OSError):  # the other process is no more
            pass
        loop.call_soon_threadsafe(ended.set)

    def report() -> None:
        # Not from the loop: a reader who is busy shall not hold up the answers.
        while (each := reports.get()) is not None:
            try:
                pipe.send(each)
            except OSError:  # nobody reads any more
                return

    async with server:
        reports.put(_Report(server.port, [], server.log))
        threads = [threading.Thread(target=each, daemon=True) for each in (obey, report)]
        for thread in threads:
            thread.start()
        told = 0
        while not ended.is_set():
            if waiting or server.log.connections != told:
                told = server.log.connections
                reports.put(_Report(server.port, waiting.copy(), server.log))
                waiting.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _REPORT_SECONDS)
    reports.put(_Report(server.port, waiting, server.log))
    reports.put(None)
    await asyncio.to_thread(threads[1].join)
