"""Our signer: signing, assembling and sealing apart.

`python -m contenders.ours CERTIFICATES CARD SAMPLE sign|portable|assemble|seal THREADS`. The values
come as they are stored, one buffer a batch; `THREADS` 0 stands for one a core.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from contenders.turns import take_turns
from passmill._signer import PreparedRevision, SigningIdentity, assemble, seal, sign_batch

_SEALED_AT_ONCE: Final = 64
"""Enough for each thread to sign while another copies; their bundles are all held at the end."""


class Signer:
    """The card ready to sign. `threads`: None for one a core."""

    def __init__(self, *, certificates: Path, card: Path, threads: int | None) -> None:
        model = card / "model.pass"
        self._revision = PreparedRevision(
            {
                path.relative_to(model).as_posix(): path.read_bytes()
                for path in model.rglob("*")
                if path.is_file() and path.name != "pass.json"
            },
            (card / "document.json").read_text(),
        )
        self._time = int(time.time())
        self._identity = SigningIdentity.from_pem(
            (certificates / "leaf.pem").read_bytes(),
            (certificates / "key.pem").read_bytes(),
            password=None,
            intermediates=[(certificates / "wwdr.pem").read_bytes()],
            now=self._time,
        )
        self._threads = threads
        self._lines = (card / "values.jsonl").read_bytes().splitlines(keepends=True)

    def assemble_first(self, *, portable: bool) -> bytes:
        """The first member's bundle, signed among others as it will be timed, then assembled."""
        digests, signatures = self._sign(self._lines[:_SEALED_AT_ONCE], portable=portable)
        return self._assemble(self._lines[0], digests[0], signatures[0])

    def seal_first(self) -> bytes:
        """The first member's bundle, sealed among others as it will be timed."""
        lines = self._lines[:_SEALED_AT_ONCE]
        times = [self._time] * len(lines)
        return seal(self._revision, b"".join(lines), self._identity, times)[0]

    def signing(self, *, portable: bool) -> Callable[[], int]:
        """All members' signatures; `portable`: as a CPU without IFMA makes them."""

        def work() -> int:
            digests, _ = self._sign(self._lines, portable=portable)
            return len(digests)

        return work

    def assembling(self) -> Callable[[], int]:
        """One bundle after the other from signatures made before."""
        recipes = itertools.cycle(
            zip(self._lines, *self._sign(self._lines, portable=False), strict=True)
        )

        def work() -> int:
            self._assemble(*next(recipes))
            return 1

        return work

    def sealing(self) -> Callable[[], int]:
        """Batches of bundles from values."""
        lines = self._lines[:_SEALED_AT_ONCE]
        values, times = b"".join(lines), [self._time] * len(lines)

        def work() -> int:
            return len(seal(self._revision, values, self._identity, times, threads=self._threads))

        return work

    def _sign(self, lines: list[bytes], *, portable: bool) -> tuple[list[bytes], list[bytes]]:
        return sign_batch(
            self._revision,
            b"".join(lines),
            self._identity,
            [self._time] * len(lines),
            threads=self._threads,
            portable=portable,
        )

    def _assemble(self, line: bytes, digest: bytes, signature: bytes) -> bytes:
        return assemble(
            self._revision,
            line,
            self._identity.certificate,
            signing_time=self._time,
            digest=digest,
            signature=signature,
        )


def main() -> None:
    """A worker's whole life."""
    certificates, card, sample = map(Path, sys.argv[1:4])
    kind, threads = sys.argv[4], int(sys.argv[5]) or None
    signer = Signer(certificates=certificates, card=card, threads=threads)
    match kind:
        case "sign" | "portable":
            portable = kind == "portable"
            bundle = signer.assemble_first(portable=portable)
            work = signer.signing(portable=portable)
        case "assemble":
            bundle, work = signer.assemble_first(portable=False), signer.assembling()
        case "seal":
            bundle, work = signer.seal_first(), signer.sealing()
        case _:
            raise ValueError(f"{kind} is no work of the signer")
    take_turns(sample=sample, bundle=bundle, work=work)


if __name__ == "__main__":
    main()
