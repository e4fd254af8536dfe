"""Signed passes into a folder or an object store, named by what they hold."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from passmill.cli.campaign.errors import CommandFailed

if TYPE_CHECKING:  # an extra
    from obstore.store import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBundle:
    """A .pkpass, and what it is called in the store."""

    name: str
    content: bytes


class BundleStore:
    """Where bundles go. The same bundle written twice is one object."""

    def __init__(self, url: str) -> None:
        """`url`: a folder, or s3://, gs://, az:// and what else obstore knows; credentials come
        from the environment, as the store's own tools take them. CommandFailed when obstore is not
        there, or does not take it."""
        try:
            import obstore  # noqa: PLC0415 - an extra, needed only here
            from obstore import store  # noqa: PLC0415
        except ModuleNotFoundError:
            raise CommandFailed(
                "--bundles needs obstore: pip install 'passmill[campaign]'."
            ) from None
        self._put = obstore.put_async
        self._error: type[Exception] = obstore.exceptions.BaseError
        self._url = url
        try:
            self._store: ObjectStore = (
                store.from_url(url)
                if "://" in url and not url.startswith("file://")
                else store.LocalStore(_folder(url), mkdir=True)
            )
        except (self._error, ValueError, OSError) as error:
            raise CommandFailed(f"--bundles {url}: {_first_line(error)}") from None

    async def put(self, bundle: NamedBundle) -> str:
        """Stores a bundle; gives its name. CommandFailed when the store refuses."""
        try:
            await self._put(self._store, bundle.name, bundle.content)
        except (self._error, OSError) as error:
            raise CommandFailed(
                f"{self._url} does not take {bundle.name}: {_first_line(error)}"
            ) from None
        return bundle.name


def name_bundle(content: bytes) -> NamedBundle:
    """A .pkpass with its name: its SHA-256, below a folder of the first two digits."""
    digest = hashlib.sha256(content).hexdigest()
    return NamedBundle(name=f"{digest[:2]}/{digest}.pkpass", content=content)


def unpack_passes(packed: bytes) -> list[NamedBundle]:
    """The .pkpass files of a .pkpasses, in the order in which they were asked for."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return [name_bundle(archive.read(name)) for name in archive.namelist()]


def _folder(url: str) -> Path:
    return Path(url.removeprefix("file://")).absolute()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
