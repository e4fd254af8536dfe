"""Our push engine as a contender: one connection, one thread, a call of some thousand pushes after
another. Started by `bench/push.py`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from contenders.push_sink import TOPIC, Sink
from contenders.turns import answer_turns
from passmill._signer import PushEngine, PushPool, SigningIdentity

CALL = 20_000


def main(folder: Path, port: int) -> None:
    """Takes turns. Any push that is not accepted ends it."""
    sink = Sink.at(folder, port)
    identity = SigningIdentity.from_pem(
        sink.certificate.read_bytes(),
        sink.key.read_bytes(),
        password=None,
        intermediates=[sink.intermediate.read_bytes()],
        now=int(time.time()),
    )
    roots = sink.root.read_bytes()
    pool = PushPool(PushEngine(), identity, host="localhost", port=port, roots=roots)
    known = sink.tokens()
    tokens = known * (CALL // len(known))

    def work() -> int:
        outcomes = pool.push_many(tokens, topic=TOPIC, expiration=0, deadline_seconds=15)
        if any(outcomes.statuses):
            raise SystemExit(f"not accepted: {outcomes.details[0]}")
        return len(tokens)

    work()
    answer_turns(work)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
