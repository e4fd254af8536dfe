"""The signer beside other threads: it leaves the GIL alone, and handles are shared freely."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from passmill._signer import PreparedRevision, seal, sign_batch
from tests.signer.documents import line
from tests.signer.signers import SIGNING_TIME, Signer


@pytest.fixture
def no_forced_switch() -> Iterator[None]:
    """Lets a Python thread run only when another gives up the GIL by itself."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("no_forced_switch")
def test_python_goes_on_while_a_batch_is_signed(revision: PreparedRevision, rsa: Signer) -> None:
    """A Python thread counts on between the beginning and the end of one call of the signer."""
    lines = b"".join(line(number) for number in range(600))
    times = [SIGNING_TIME] * 600
    counted = 0
    is_done, is_counting = threading.Event(), threading.Event()

    def count() -> None:
        nonlocal counted
        while not is_done.is_set():
            counted += 1
            is_counting.set()
            time.sleep(0)  # gives up the GIL, so that the call can take it back

    thread = threading.Thread(target=count)
    thread.start()
    try:
        assert is_counting.wait(10)
        before = counted
        sign_batch(revision, lines, rsa.identity, times, threads=1)
        during = counted - before
    finally:
        is_done.set()
        thread.join()
    assert during > 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads by /proc")
def test_a_batch_uses_as_many_threads_as_told(revision: PreparedRevision, rsa: Signer) -> None:
    """With three threads two more than the caller's are seen at work, with one thread none."""
    lines = b"".join(line(number) for number in range(600))
    times = [SIGNING_TIME] * 600

    def most_threads(threads: int) -> int:
        done = threading.Event()
        seen = [0]

        def watch() -> None:
            while not done.is_set():
                seen.append(count_signer_threads())

        watcher = threading.Thread(target=watch)
        watcher.start()
        sign_batch(revision, lines, rsa.identity, times, threads=threads)
        done.set()
        watcher.join()
        return max(seen)

    assert most_threads(1) == 0
    assert most_threads(3) == 2


def count_signer_threads() -> int:
    """How many threads of this process are the signer's own."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            count += (task / "comm").read_text() == "signer\n"
    return count


def test_results_do_not_depend_on_threads(revision: PreparedRevision, rsa: Signer) -> None:
    """One, two or many threads sign the same, in the same order."""
    lines = b"".join(line(number) for number in range(100))
    times = [SIGNING_TIME + number for number in range(100)]
    results = [
        sign_batch(revision, lines, rsa.identity, times, threads=threads)
        for threads in (1, 2, 16, None)
    ]
    assert all(result == results[0] for result in results)


def test_handles_are_shared_between_threads(revision: PreparedRevision, signer: Signer) -> None:
    """Many Python threads seal with one identity and one revision at once, each its own pass."""

    def length(number: int) -> int:
        [bundle] = seal(revision, line(number), signer.identity, [SIGNING_TIME])
        assert f'"serialNumber":"{number}"'.encode() in bundle
        return len(bundle)

    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        assert len(list(pool.map(length, range(100)))) == 100
