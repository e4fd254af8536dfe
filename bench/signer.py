"""How many passes a second the signer makes: by itself, and beside what others sign passes with.

Run by `make bench`, or `python bench/signer.py [--json]`; bench/README.md says how each number
comes about. All make the same card in one run; what they make is verified before it is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contenders import bare_rsa
from contenders.card import Member, write_card, write_certificates
from contenders.node import Node, install
from contenders.plot import Series, draw_plot
from contenders.report import CARD, NAMES, SIZES, Found, facts, shown_rate, table
from contenders.worker import Workers
from passmill.demo.console import DemoFailed
from passmill.demo.verifying import Verifier, find_reader
from passmill.signing.freshness import require_fresh_signer

HERE: Final = Path(__file__).resolve().parent
BUILD: Final = HERE.parent / "build"
WARM_UP_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to make passes. `command`: what its worker is started with, before the folders that all
    take, and `arguments` after them; `pinned`: each process keeps to a core of its own."""

    key: str
    command: Sequence[str]
    arguments: Sequence[str] = ()
    processes: int = 1
    pinned: bool = False
    sizes: Sequence[int] = tuple(SIZES)


def contenders(node: Node | None, cores: int) -> Iterator[Contender]:
    """All that can run here."""
    python = [sys.executable, "-m"]
    ours = [*python, "contenders.ours"]
    for key, work in (("sign_core", "sign"), ("portable", "portable"), ("assemble", "assemble")):
        yield Contender(key=key, command=ours, arguments=[work, "1"], pinned=True)
    for key, work in (("sign_all", "sign"), ("seal_all", "seal")):
        yield Contender(key=key, command=ours, arguments=[work, "0"])
    for key, kind, processes, sizes in (
        ("python_stored", "stored", 1, tuple(SIZES)),
        ("python_stored_all", "stored", cores, (CARD,)),
        ("python_deflated", "deflated", 1, tuple(SIZES)),
    ):
        yield Contender(
            key=key,
            command=[*python, "contenders.script"],
            arguments=[kind],
            processes=processes,
            pinned=True,
            sizes=sizes,
        )
    if node is None:
        return
    for key, script, processes, sizes in (
        ("passkit_generator", "passkit_generator.mjs", 1, tuple(SIZES)),
        ("passkit_generator_all", "passkit_generator.mjs", cores, (CARD,)),
        ("walletpass", "walletpass.mjs", 1, tuple(SIZES)),
    ):
        yield Contender(
            key=key,
            command=[node.program, str(HERE / "contenders" / script), str(node.packages)],
            processes=processes,
            sizes=sizes,
        )


def run(options: argparse.Namespace) -> tuple[Found, dict[str, object]]:
    """Measures everything. All take turns in each round, so that what the machine does besides
    meets all of them."""
    require_fresh_signer()
    say("building the RSA example")
    rsa = bare_rsa.build()
    node = install(BUILD / "bench-peers", say)
    cores = own_cores()
    found = Found()
    with tempfile.TemporaryDirectory(prefix="passmill-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        say("drawing the cards")
        write_certificates(folder)
        members = {size: write_card(folder / str(size), image_bytes=size) for size in SIZES}
        line_up = [(each, size) for each in contenders(node, len(cores)) for size in each.sizes]
        workers = {
            (each.key, size): stack.enter_context(start(each, folder, size, cores))
            for each, size in line_up
        }
        for each, size in line_up:
            workers[each.key, size].wait()
            for sample in samples(each, folder, size):
                verify(folder, members[size], sample, folder / str(size) / "model.pass")
        say(f"openssl has verified a bundle of each of {len(line_up)} kinds; warming up")
        for group in workers.values():
            group.turn(WARM_UP_SECONDS)
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            found.rsa.append(bare_rsa.measure(rsa, seconds=options.seconds, core=cores[0]))
            for place, group in workers.items():
                found.turns[place].append(group.turn(options.seconds))
    plot(options.plot, found, cores=len(cores))
    versions = node.versions if node else None
    return found, facts(found, cores=len(cores)) | {"versions": versions}


def own_cores() -> list[int]:
    """The cores that this process may use, the last first: the first has most interrupts."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0), reverse=True)
    return list(range(os.cpu_count() or 1))


def start(contender: Contender, folder: Path, size: int, cores: Sequence[int]) -> Workers:
    """Its workers for one size of images."""
    commands = [
        [*contender.command, str(folder), str(folder / str(size)), str(path), *contender.arguments]
        for path in samples(contender, folder, size)
    ]
    return Workers(commands, cores=cores if contender.pinned else ())


def samples(contender: Contender, folder: Path, size: int) -> list[Path]:
    """Where its processes leave the first bundle they make."""
    return [
        folder / f"{contender.key}-{size}-{number}.pkpass" for number in range(contender.processes)
    ]


def verify(folder: Path, member: Member, sample: Path, model: Path) -> None:
    """DemoFailed unless a zip reader opens the bundle and openssl verifies its signature, the
    manifest is right about each file, the card is the member's, and no file or image of the model
    is missing."""
    verifier = Verifier(openssl="openssl", reader=find_reader(), root=folder / "root.pem")
    files = verifier.verify(
        sample.read_bytes(), serial_number=member.serial_number, holder_name=member.name
    )
    for path in filter(Path.is_file, model.rglob("*")):
        name = path.relative_to(model).as_posix()
        # Only images must be the same: some write texts in another form.
        if name not in files or (path.suffix == ".png" and files[name] != path.read_bytes()):
            raise DemoFailed(f"{sample.name} lacks {name}")


# Of the plot: who, in which colour, dashed when it is one core of ours.
LINES: Final = (
    ("assemble", "#12a150", True),
    ("sign_all", "#0b6e4f", False),
    ("seal_all", "#12a150", False),
    ("sign_core", "#0b6e4f", True),
    ("portable", "#7a8f2a", True),
    ("python_stored", "#2b5fb8", False),
    ("python_deflated", "#7d4fc4", False),
    ("walletpass", "#d0781a", False),
    ("passkit_generator", "#c2303a", False),
)


def plot(path: Path, found: Found, *, cores: int) -> None:
    """Draws what was found, and says where."""
    series = [
        Series(
            label=NAMES[key],
            color=color,
            points=[(size, shown_rate(found, (key, size))) for size in SIZES],
            dashed=dashed,
        )
        for key, color, dashed in LINES
        if found.turns[key, CARD]
    ]
    openssl = statistics.median(each.openssl for each in found.rsa)
    series.append(
        Series(
            label="openssl speed rsa2048, 1 core",
            color="#8a93a3",
            points=[(size, openssl) for size in SIZES],
            dashed=True,
        )
    )
    draw_plot(
        path,
        series,
        subtitle=f"One card made by all in one run on {cores} cores. The numbers: at 1 MB.",
        sizes=list(SIZES.items()),
    )
    say(f"the plot: {path}")


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures the signer beside others.")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--seconds", type=float, default=3.0, help="a turn takes")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each gets")
    parser.add_argument("--plot", type=Path, default=BUILD / "signer.png", help="where it goes")
    options = parser.parse_args()
    found, told = run(options)
    print(table(found, told))
    if options.json:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
