"""One edge process: started by the supervisor, reads PASSMILL_* settings, serves until told to
stop."""

from __future__ import annotations

import argparse
import asyncio

from passmill.compose_edge import run_edge
from passmill.process import run_process
from passmill.settings import Settings


def main() -> None:
    """Runs the process; exits with EX_CONFIG when it could not keep its promises here."""
    parser = argparse.ArgumentParser(prog="passmill.edge_process")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()

    async def serve(settings: Settings, stop: asyncio.Event) -> None:
        await run_edge(settings, port=arguments.port, stop=stop)

    run_process(serve)


if __name__ == "__main__":
    main()
