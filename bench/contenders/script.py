"""What one writes by hand in Python: `cryptography` for the signature, `zipfile` for the bundle.

`python -m contenders.script CERTIFICATES CARD SAMPLE stored|deflated`. Tuned as far as that goes:
certificate and key are parsed once, the fixed files read and hashed once.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import sys
import zipfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import (
    PKCS7Options,
    PKCS7SignatureBuilder,
)

from contenders.turns import take_turns

_COMPRESSION = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}
_OPTIONS = [PKCS7Options.DetachedSignature, PKCS7Options.Binary, PKCS7Options.NoCapabilities]


class Maker:
    """Makes bundles from documents."""

    def __init__(self, *, certificates: Path, card: Path, compression: int) -> None:
        key = load_pem_private_key((certificates / "key.pem").read_bytes(), password=None)
        if not isinstance(key, RSAPrivateKey):
            raise TypeError("the card is signed with RSA")
        self._key = key
        self._leaf = _read_certificate(certificates / "leaf.pem")
        self._wwdr = _read_certificate(certificates / "wwdr.pem")
        self._compression = compression
        model = card / "model.pass"
        self._files = {
            path.relative_to(model).as_posix(): path.read_bytes()
            for path in model.rglob("*")
            if path.is_file() and path.name != "pass.json"
        }
        self._digests = {name: _sha1(file) for name, file in self._files.items()}

    def make(self, document: object) -> bytes:
        """The bundle of one document."""
        pass_json = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        manifest = json.dumps(self._digests | {"pass.json": _sha1(pass_json)}).encode()
        signature = (
            PKCS7SignatureBuilder()
            .set_data(manifest)
            .add_signer(self._leaf, self._key, hashes.SHA256())
            .add_certificate(self._wwdr)
            .sign(Encoding.DER, _OPTIONS)
        )
        bundle = io.BytesIO()
        with zipfile.ZipFile(bundle, "w", self._compression) as archive:
            archive.writestr("pass.json", pass_json)
            archive.writestr("manifest.json", manifest)
            archive.writestr("signature", signature)
            for name, file in self._files.items():
                archive.writestr(name, file)
        return bundle.getvalue()


def _read_certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def main() -> None:
    """A worker's whole life."""
    certificates, card, sample = map(Path, sys.argv[1:4])
    maker = Maker(certificates=certificates, card=card, compression=_COMPRESSION[sys.argv[4]])
    documents = json.loads((card / "passes.json").read_text())
    upcoming = itertools.cycle(documents)

    def work() -> int:
        maker.make(next(upcoming))
        return 1

    take_turns(sample=sample, bundle=maker.make(documents[0]), work=work)


if __name__ == "__main__":
    main()
