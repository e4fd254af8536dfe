"""`python -m passmill` and the `passmill` command."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Runs one command, and ends the process with its status."""
    try:
        # Not above: what it needs takes a while to load, and Ctrl-C may come meanwhile.
        from passmill.cli import main as command  # noqa: PLC0415

        command.main()
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
