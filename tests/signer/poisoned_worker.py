"""A worker whose signer panics on passes that hold a mark: the process that `passmill serve --role
worker` starts, with the one call before it that no setting leads to.

    python -m tests.signer.poisoned_worker MARK
"""

import sys

from passmill import _signer, worker_process


def main() -> None:
    """Sets the mark, then works as any worker."""
    _signer.panic_on(sys.argv[1].encode())
    worker_process.main()


if __name__ == "__main__":
    main()
