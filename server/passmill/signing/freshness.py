"""Whether the native signer was built from the Rust sources that lie beside it.

An editable install keeps an old extension when the sources change; starting with it would run other
code than the one in view. An installed wheel has no sources beside it and nothing to compare.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from passmill import _signer


class StaleSigner(Exception):
    """The extension was built from other sources than those beside it."""


def require_fresh_signer() -> None:
    """StaleSigner when the extension is older or newer than the sources of this checkout."""
    sources = Path(__file__).parents[3] / "signer_ext"
    if (sources / "Cargo.toml").is_file() and signer_source_digest(
        sources
    ) != _signer.source_digest:
        raise StaleSigner("The native signer was built from other sources: run `make` to build it.")


def signer_source_digest(root: Path) -> str:
    """Compute the digest of the Cargo workspace at `root`, as `signer_ext/py/build.rs` compiles it
    in.

    SHA-256 (hex) over all `*.rs`, `Cargo.toml` and `Cargo.lock` below `root`, sorted by their
    relative POSIX path in UTF-8; of each: path, NUL, length in decimal, NUL, content. Folders named
    `target` or beginning with a dot are left out. Equal to `passmill._signer.source_digest` if the
    extension is fresh. Raises `OSError` if `root` cannot be read.
    """
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in _sources(root)):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir() and path.name != "target" and not path.name.startswith("."):
            yield from _sources(path)
        elif path.is_file() and (path.suffix == ".rs" or path.name in {"Cargo.toml", "Cargo.lock"}):
            yield path
