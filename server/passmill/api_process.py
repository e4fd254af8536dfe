"""One API process: started by the supervisor, reads PASSMILL_* settings, serves until told to
stop."""

from __future__ import annotations

import argparse
import asyncio

from passmill.compose import run_api
from passmill.process import run_process
from passmill.settings import Settings


def main() -> None:
    """Runs the process; exits with EX_CONFIG when it could not keep its promises here."""
    parser = argparse.ArgumentParser(prog="passmill.api_process")
    parser.add_argument("--api-port", type=int, required=True)
    parser.add_argument("--admin-port", type=int)
    arguments = parser.parse_args()

    async def serve(settings: Settings, stop: asyncio.Event) -> None:
        await run_api(
            settings, api_port=arguments.api_port, admin_port=arguments.admin_port, stop=stop
        )

    run_process(serve)


if __name__ == "__main__":
    main()
