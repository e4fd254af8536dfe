"""RSA-2048 by itself: our kernel, aws-lc, `openssl speed` and the multipliers' bound, taking turns
on one core (`signer_ext/crates/rsa_mb/examples/rate.rs`)."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contenders.worker import keep_to

_WORKSPACE: Final = Path(__file__).parents[2] / "signer_ext"
_BUILD_SECONDS: Final = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class BareRsa:
    """Signatures a second of one core's CPU time. `kernel` and `bound`: None on a CPU without
    AVX-512 IFMA."""

    openssl: float
    portable: float
    kernel: float | None
    bound: float | None

    @property
    def best(self) -> float:
        """What a batch is signed with on this CPU."""
        return self.kernel or self.portable


def build() -> Path:
    """Builds the example: the program. A minute when nothing is built yet."""
    command = ["cargo", "build", "--locked", "--release", "--quiet", "--message-format", "json"]
    command += ["--package", "rsa_mb", "--example", "rate"]
    done = subprocess.run(
        command, cwd=_WORKSPACE, check=True, timeout=_BUILD_SECONDS, stdout=subprocess.PIPE
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    [program] = [
        message["executable"]
        for message in messages
        if message.get("executable") and message["target"]["name"] == "rate"
    ]
    return Path(program)


def measure(program: Path, *, seconds: float, core: int | None) -> BareRsa:
    """One turn of each."""
    command = [*keep_to(core), str(program), "1", str(max(1, round(seconds))), "--json"]
    done = subprocess.run(
        command, check=True, timeout=60 + 10 * seconds, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return BareRsa(
        openssl=found["openssl_per_s"],
        portable=found["portable_per_s"],
        kernel=found["kernel_per_s"],
        bound=found["bound_per_s"],
    )
