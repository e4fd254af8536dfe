"""mutmut, in the folder it works in. Run by `run.py`, never by hand.

It stands in a folder of its own (`tools`), looked in last: pytest and all the rest are the
project's locked ones.

    python -m tests.mutation.tool FOLDER_OF_MUTMUT generate CHILDREN
    python -m tests.mutation.tool FOLDER_OF_MUTMUT run CHILDREN < NAMES
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Makes the changes, or tries those whose names come in."""
    tools, command, children = sys.argv[1:]
    sys.path.append(tools)
    mutmut = importlib.import_module("mutmut.__main__")
    if command == "generate":
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.create_mutants(int(children))
        return
    names = sys.stdin.read().split()
    # In the order they came in, not the quickest first: what was tried when a run is ended early
    # is then still a sample by chance.
    places = {name: place for place, name in enumerate(names)}
    vars(mutmut)["estimated_worst_case_time"] = places.__getitem__
    mutmut.cli(["run", "--max-children", children, *names])


if __name__ == "__main__":
    main()
