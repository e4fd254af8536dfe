"""Ctrl-C, wherever it comes."""

from __future__ import annotations

import subprocess
import sys

# As if Ctrl-C came while the modules of a command are loaded.
WHILE_LOADING = """
import runpy, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "passmill.cli.serve":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
runpy.run_module("passmill", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_while_a_command_is_loaded_shows_no_traceback() -> None:
    """The first seconds of a command, in which Python loads it, can be interrupted like any."""
    done = subprocess.run(
        [sys.executable, "-c", WHILE_LOADING, "campaign", "list"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 130, done
    assert done.stderr.strip() == "Interrupted."
