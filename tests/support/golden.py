"""Files that hold the expected bytes; `pytest --update-golden` rewrites them for review."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True, slots=True)
class Golden:
    """Compares bytes with files below tests/golden."""

    is_updating: bool

    def check(self, name: str, found: bytes) -> None:
        """Fails when `found` is not what the golden file `name` holds."""
        path = FOLDER / name
        if self.is_updating:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found)
        assert path.is_file(), f"no golden file {name}: run pytest --update-golden and review it"
        assert found == path.read_bytes()
