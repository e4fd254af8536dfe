"""One worker process: started by the supervisor, reads PASSMILL_* settings, works until told to
stop."""

from __future__ import annotations

from passmill.compose_worker import run_worker
from passmill.process import run_process


def main() -> None:
    """Runs the process; exits with EX_CONFIG when it could not keep its promises here."""
    run_process(run_worker)


if __name__ == "__main__":
    main()
