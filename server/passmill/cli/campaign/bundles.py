"""Signed passes into a folder or an object store, named by what they hold."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from passmill.cli.campaign.errors import CommandFailed

if TYPE_CHECKING:  # an extra
    from obstore.store import ObjectStore

_AWS: Final = (
    (
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_SKIP_SIGNATURE",
    ),
    "the role of this machine is asked for at 169.254.169.254, which machines at AWS alone have,"
    " and files of `aws configure` are not read",
)
_GOOGLE: Final = (
    (
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SKIP_SIGNATURE",
    ),
    "what `gcloud auth application-default login` left is taken, else the account of this machine,"
    " which machines at Google alone have",
)
_AZURE: Final = (
    (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_SKIP_SIGNATURE",
    ),
    "the identity of this machine is asked for at 169.254.169.254, which machines at Azure alone"
    " have",
)
_CREDENTIALS: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    "s3": _AWS,
    "s3a": _AWS,
    "gs": _GOOGLE,
    "az": _AZURE,
    "azure": _AZURE,
    "abfs": _AZURE,
    "abfss": _AZURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBundle:
    """A .pkpass, and what it is called in the store."""

    name: str
    content: bytes


def credentials_note(url: str, variables: Collection[str]) -> str:
    """Which way credentials are looked for when no variable has them; empty when one does, or the
    store needs none. Without a word of it, a machine outside of the cloud waits in vain."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in _CREDENTIALS:
        return ""
    needed, otherwise = _CREDENTIALS[scheme]
    if any(name in variables for name in needed):
        return ""
    return (
        f"None of {', '.join(needed)} is set: {otherwise}. If it takes long, or is refused, set"
        " one of them."
    )


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

    @property
    def note(self) -> str:
        """What its user should know before anything is sent; mostly nothing."""
        return credentials_note(self._url, os.environ)

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
