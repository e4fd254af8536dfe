"""How many pushes a second the engine sends, beside aioapns, to the same sink.

Run by `make bench`, or `python bench/push.py [--json]`; bench/README.md says how each number comes
about. The sink is nghttpd with TLS; every push must be answered 200.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from contenders.push_sink import Sink, serving
from contenders.worker import Turn, Workers
from passmill.signing.freshness import require_fresh_signer

HERE: Final = Path(__file__).resolve().parent
BUILD: Final = HERE.parent / "build"
AIOAPNS: Final = ("aioapns==4.0", "uvloop==0.22.1")
INSTALL_SECONDS: Final = 300
MIB: Final = 1 << 20
RATIO_TARGET, RATE_TARGET = 25, 50_000
FACTS = dict[str, float | int | str | None]


def run(options: argparse.Namespace) -> FACTS:
    """Measures both in turns, then pushes on until the volume is reached."""
    program = shutil.which("nghttpd")
    if program is None:
        say("there is no nghttpd here (apt install nghttp2-server): nothing is measured")
        return {"vs_aioapns": None, "pushes_per_s": None}
    own, sinks = cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="passmill-bench-")))
        sink = stack.enter_context(serving(program, folder, core=sinks))
        ours = start(stack, [sys.executable, "-m", "contenders.push_ours"], sink, core=own)
        python = aioapns_python(BUILD / "bench-aioapns")
        theirs = None
        if python is not None:
            # Isolated: it shall see none of our packages.
            script = str(HERE / "contenders" / "push_aioapns.py")
            theirs = start(stack, [str(python), "-I", script], sink, core=own)
        rounds: list[tuple[Turn, Turn | None]] = []
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            turn = ours.turn(options.seconds)
            rounds.append((turn, theirs.turn(options.seconds) if theirs else None))
        say(f"{options.volume:,} pushes more, for the memory")
        before, pushed = rounds[-1][0].peak_bytes, 0.0
        after = before
        while pushed < options.volume:
            turn = ours.turn(options.seconds)
            pushed += turn.rate * options.seconds
            after = turn.peak_bytes
    return facts(rounds) | {
        "rss_before_mib": mib(before),
        "rss_after_mib": mib(after),
        "volume": round(pushed),
        "seconds": options.seconds,
        "cores": os.cpu_count() or 1,
    }


def start(stack: ExitStack, command: Sequence[str], sink: Sink, *, core: int | None) -> Workers:
    """A contender's process, on one core, whose first pushes were accepted."""
    commands = [[*command, str(sink.folder), str(sink.port)]]
    workers = stack.enter_context(Workers(commands, cores=() if core is None else (core,)))
    workers.wait()
    return workers


def cores() -> tuple[int | None, int | None]:
    """A core for the contenders, who work in turns, and another one for the sink."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    return allowed[0], allowed[1] if len(allowed) > 1 else allowed[0]


def aioapns_python(folder: Path) -> Path | None:
    """The Python of an environment with aioapns, made unless it is there. None, and the reason
    said, when it cannot be had."""
    python = folder / "bin" / "python"
    done = folder / "ready"
    if done.is_file() and done.read_text() == str(AIOAPNS):
        return python
    say(f"installing aioapns into {folder.name}/")
    try:
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *AIOAPNS]
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        told = (error.stderr or b"").decode(errors="replace").strip()
        say(f"aioapns cannot be installed, it is left out: {told or error}")
        return None
    done.write_text(str(AIOAPNS))
    return python


def facts(rounds: Sequence[tuple[Turn, Turn | None]]) -> FACTS:
    """Medians over the rounds; a ratio is that of each round."""
    ours = [one for one, _ in rounds]
    pairs = [(one, other) for one, other in rounds if other is not None]
    theirs = [other for _, other in pairs]
    return {
        "vs_aioapns": median([one.cpu_rate / other.cpu_rate for one, other in pairs]),
        "pushes_per_s": median([turn.rate for turn in ours]),
        "pushes_per_cpu_s": median([turn.cpu_rate for turn in ours]),
        "busy_cores": median([turn.busy_cores for turn in ours]),
        "aioapns_per_s": median([turn.rate for turn in theirs]),
        "aioapns_per_cpu_s": median([turn.cpu_rate for turn in theirs]),
        "aioapns_rss_mib": mib(theirs[-1].peak_bytes if theirs else None),
    }


def median(values: Sequence[float]) -> float | None:
    """To four digits; None of nothing."""
    return float(f"{statistics.median(values):.4g}") if values else None


def mib(size: int | None) -> float | None:
    """Bytes in MiB."""
    return None if size is None else round(size / MIB, 1)


def table(found: FACTS) -> str:
    """The numbers for people."""
    rows = [
        ("", "pushes/s", "per CPU second", "peak MiB"),
        ("Passmill", "pushes_per_s", "pushes_per_cpu_s", "rss_after_mib"),
        ("aioapns", "aioapns_per_s", "aioapns_per_cpu_s", "aioapns_rss_mib"),
    ]
    lines = [f"{rows[0][0]:<12}{rows[0][1]:>12}{rows[0][2]:>18}{rows[0][3]:>12}"]
    for name, *keys in rows[1:]:
        rate, cpu_rate, memory = (shown(found.get(key)) for key in keys)
        lines.append(f"{name:<12}{rate:>12}{cpu_rate:>18}{memory:>12}")
    lines += [
        "",
        f"Passmill / aioapns, per core   {shown(found.get('vs_aioapns'))} (wanted: {RATIO_TARGET})",
        f"pushes/s on one core           {shown(found.get('pushes_per_s'))}"
        f" (wanted: {RATE_TARGET:,})",
        f"memory over {shown(found.get('volume'))} pushes"
        f"   {shown(found.get('rss_before_mib'))} -> {shown(found.get('rss_after_mib'))} MiB",
    ]
    return "\n".join(["", *lines, ""])


def shown(value: float | int | str | None) -> str:
    """A number with its thousands set apart."""
    return "-" if value is None else f"{value:,.10g}" if isinstance(value, float | int) else value


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures the push engine against a local sink.")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--seconds", type=float, default=3.0, help="a turn takes")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--volume", type=int, default=2_000_000, help="pushes for the memory")
    options = parser.parse_args()
    require_fresh_signer()
    found = run(options)
    print(table(found))
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
