"""The native signer's face (Rust: `signer_ext/`). Checked against the extension by stubtest.

Every call does its work without the GIL, which it takes to copy results out, and may be made from
any thread. Inputs are copied or held, never changed; private keys do not become Python objects.
Times are Unix seconds (UTC), given by the caller: the signer reads no clock, but for the deadlines
of pushes. A defect inside raises `SigningFailed`; it cannot take the process down.
"""

from collections.abc import Mapping, Sequence
from typing import final

__all__ = [
    "BundleReport",
    "DigestMismatch",
    "IdentityExpired",
    "InvalidBundle",
    "InvalidIdentity",
    "InvalidToken",
    "PreparedRevision",
    "PushEngine",
    "PushOutcomes",
    "PushPool",
    "SignerError",
    "SigningCertificate",
    "SigningFailed",
    "SigningIdentity",
    "assemble",
    "inspect_png",
    "pack_passes",
    "panic_on",
    "read_bundle",
    "render",
    "repaired_signatures",
    "seal",
    "sign_batch",
    "sign_token",
    "source_digest",
]

source_digest: str
"""SHA-256 (hex) of the Rust sources the extension was built from: see
`passmill.signing.freshness`.
"""

class SignerError(Exception):
    """A refusal. The message says what happened and what to do, and never contains secrets."""

    reason: str
    """Stable machine token, for example `WRONG_PASSWORD`; all of them: `signer_ext/README.md`."""
    item: int | None
    """Which pass of a batch it was, counted from 0; `None` if it concerns the whole call."""

class InvalidIdentity(SignerError):
    """Certificate, key and intermediate do not make a signing identity, or cannot be read."""

class IdentityExpired(InvalidIdentity):
    """The identity is sound but not valid at the time asked for: expired, or not yet valid."""

class InvalidBundle(SignerError):
    """Files that may not be in a bundle, or a finished bundle that is not one of ours."""

class DigestMismatch(SignerError):
    """A digest or signature does not belong to what was rendered."""

class InvalidToken(SignerError):
    """A sign-up token that is empty, too long, or could be taken for a manifest."""

class SigningFailed(SignerError):
    """A fresh signature did not verify with its public key, or the signer has a defect."""

@final
class SigningCertificate:
    """The public half of an identity: enough to assemble and to verify, safe on the edge."""

    @staticmethod
    def from_der(leaf: bytes, intermediate: bytes) -> SigningCertificate:
        """Prove that the leaf is a pass certificate and that the intermediate issued it.

        Checks UID = extension 1.2.840.113635.100.6.1.16, OU, extended key usage, key type, and the
        issuer by name, authority key identifier and signature; not the dates. Raises
        `InvalidIdentity`.
        """

    @property
    def pass_type_identifier(self) -> str: ...
    @property
    def team_identifier(self) -> str: ...
    @property
    def organization(self) -> str:
        """The subject's O, or an empty string."""

    @property
    def common_name(self) -> str:
        """The subject's CN, or an empty string."""

    @property
    def not_before(self) -> int:
        """First Unix second at which leaf and intermediate are both valid."""

    @property
    def not_after(self) -> int:
        """Last Unix second at which leaf and intermediate are both valid."""

    @property
    def serial_number(self) -> str:
        """Lower-case hex."""

    @property
    def fingerprint_sha256(self) -> bytes:
        """SHA-256 of the leaf's DER, 32 bytes."""

    @property
    def key_algorithm(self) -> str:
        """`RSA-2048`, `RSA-3072`, `RSA-4096` or `P-256`."""

    @property
    def nfc_capable(self) -> bool:
        """Whether passes may have an `nfc` dictionary (CN begins with `Pass Type ID with NFC:`)."""

    @property
    def leaf_der(self) -> bytes: ...
    @property
    def intermediate_der(self) -> bytes: ...

@final
class SigningIdentity:
    """A certificate with its private key: opaque, and no way to get the key out but wrapped."""

    @staticmethod
    def from_pkcs12(
        data: bytes, *, password: str, intermediates: Sequence[bytes], now: int
    ) -> SigningIdentity:
        """Load a `.p12` as Keychain Access and OpenSSL (also `-legacy`) export it.

        The WWDR intermediate is looked for in the file and among `intermediates` (each PEM or DER).
        Raises `InvalidIdentity`, or `IdentityExpired` if leaf or intermediate is not valid at
        `now`.
        """

    @staticmethod
    def from_pem(
        certificate: bytes,
        private_key: bytes,
        *,
        password: str | None,
        intermediates: Sequence[bytes],
        now: int,
    ) -> SigningIdentity:
        """Load a certificate and a key (each PEM or DER; key as PKCS#8, encrypted PKCS#8, PKCS#1 or
        SEC1).

        Further certificates in the PEM are candidates for the intermediate. Raises as
        `from_pkcs12`.
        """

    @staticmethod
    def unwrap(
        wrapped: bytes, *, wrapping_key: bytes, certificate: SigningCertificate, now: int
    ) -> SigningIdentity:
        """Open what `wrap` gave, for the same certificate. Raises as `from_pkcs12`."""

    def wrap(self, *, wrapping_key: bytes) -> bytes:
        """Encrypt the private key under a 32 byte key (AES-256-GCM, bound to the certificate's
        fingerprint).

        What the database stores. Each call gives other bytes. Raises `InvalidIdentity`.
        """

    @property
    def certificate(self) -> SigningCertificate: ...

@final
class PreparedRevision:
    """A published template revision: its fixed files checked, hashed and zip-framed once, and the
    document that each pass's `pass.json` is rendered from."""

    def __new__(cls, files: Mapping[str, bytes], document: str) -> PreparedRevision:
        """Prepare all files of a bundle but `pass.json`, `manifest.json` and `signature`.

        At most 64 files, 20 MiB together, 2 MiB and 4 megapixels a PNG, 4 MiB any other; names
        `file` or `<language>.lproj/file`; one of `icon.png`, `icon@2x.png`, `icon@3x.png` must be
        there. `document` is what `domain.apple.write_document` gives, at most 16 MiB. Raises
        `InvalidBundle` naming the file; `UNREADABLE_DOCUMENT` says what is wrong with it.
        """

    @property
    def names(self) -> list[str]:
        """The file names, sorted by their bytes."""

    @property
    def content_bytes(self) -> int:
        """Bytes of all files together."""

    @property
    def kept_bytes(self) -> int:
        """About how much memory it takes now: files, document, and the layouts that rendering has
        made until now, at most 8 MiB of them."""

@final
class BundleReport:
    """A verified bundle, taken apart."""

    @property
    def pass_json(self) -> bytes: ...
    @property
    def files(self) -> dict[str, bytes]:
        """Every file but `pass.json`, `manifest.json` and `signature`."""

    @property
    def manifest(self) -> bytes: ...
    @property
    def cms(self) -> bytes:
        """The file `signature`."""

    @property
    def certificate(self) -> SigningCertificate:
        """The signer's, proven against the root."""

    @property
    def signing_time(self) -> int: ...

def render(revision: PreparedRevision, pass_data: bytes) -> list[bytes]:
    """Render the `pass.json` of each pass of a batch, in order: at most 2 MiB each.

    `pass_data` has a line a pass, each as `domain.apple.encode_pass_data` gives it. Raises
    `InvalidBundle` with `item` set: `UNREADABLE_PASS_DATA`, `UNKNOWN_SLOT`, `WRONG_VALUE` or
    `MISSING_VALUE` naming the source, never its value; `PASS_JSON_SIZE`.
    """

def sign_batch(
    revision: PreparedRevision,
    pass_data: bytes,
    identity: SigningIdentity,
    signing_times: Sequence[int],
    *,
    threads: int | None = None,
    portable: bool = False,
) -> tuple[list[bytes], list[bytes]]:
    """Render and sign passes of one revision; the SHA-1 of each `pass.json`, and each signature,
    both in the order of the passes.

    `pass_data` as for `render`. A signature has 256 bytes for RSA-2048, up to 72 for P-256. At most
    `threads` threads work, by default one per core; fewer when the batch is small. RSA-2048 is
    signed eight at a time where the processor can; not if `portable`, which gives the same bytes
    and is for tests and measurements. All or nothing: the error is that of the first bad pass, and
    its `item` says which one. Raises as `render`, and `IdentityExpired` (signing time outside the
    certificate's validity), `SigningFailed`; `ValueError` if there are not as many lines as times
    or `threads` is below 1.
    """

def panic_on(mark: bytes) -> None:
    """For tests of what a defect of the signer would cost: from now on, each batch of this process
    that holds `mark` in a line panics, deep inside.

    Once a process, else `ValueError`. Nothing in the service calls it, and no setting leads here.
    """

def repaired_signatures() -> int:
    """How many signatures this process computed wrongly, withheld, and made again another way.

    Any is a reason for alarm: the machine computes wrongly.
    """

def assemble(
    revision: PreparedRevision,
    pass_data: bytes,
    certificate: SigningCertificate,
    *,
    signing_time: int,
    digest: bytes,
    signature: bytes,
) -> bytes:
    """Make the `.pkpass` of a stored recipe: no private key, and equal input gives equal bytes.

    Proves that the digest is that of the `pass.json` which the one line of `pass_data` renders to,
    and that the signature verifies over this revision, certificate and signing time, else raises
    `DigestMismatch`. Raises as `render`; `ValueError` if there is not one line.
    """

def seal(
    revision: PreparedRevision,
    pass_data: bytes,
    identity: SigningIdentity,
    signing_times: Sequence[int],
    *,
    threads: int | None = None,
    portable: bool = False,
) -> list[bytes]:
    """Render, sign and assemble passes of one revision; each `.pkpass`, in order.

    Takes, shares out and refuses as `sign_batch`. With P-256 each call gives other signatures.
    """

def sign_token(identity: SigningIdentity, token: bytes, *, signing_time: int) -> bytes:
    """Sign a device's sign-up token: the detached CMS (DER) over its bytes, with the certificates.

    1 to 4096 visible ASCII characters without quotes, brackets, backslash and semicolon, else
    `InvalidToken`: whoever could have a manifest signed as a token would have forged a pass. Raises
    `IdentityExpired` (signing time outside the certificate's validity), `SigningFailed`.
    """

def pack_passes(bundles: Sequence[bytes]) -> bytes:
    """Make a `.pkpasses` of 1 to 10 bundles and at most 150 MB, as `pass-1.pkpass`, … Raises
    `InvalidBundle`.
    """

def inspect_png(data: bytes) -> tuple[int, int]:
    """Read width and height in pixels from a PNG's header; its chunks are followed to the end, its
    pixels are not decoded.

    Raises `InvalidBundle`: `NOT_A_PNG`, `DAMAGED_PNG` when it is not whole, or `IMAGE_TOO_LARGE`
    above 2 MiB or 4 megapixels.
    """

def read_bundle(data: bytes, *, root: bytes) -> BundleReport:
    """Take a `.pkpass` apart and prove all of it, as strictly as the signer writes it.

    Zip by local headers and central directory, manifest, digests, CMS, chain to the root (DER) at
    the signing time, and pass type and team in `pass.json`. Raises `InvalidBundle`,
    `DigestMismatch`, `InvalidIdentity`.
    """

@final
class PushEngine:
    """Threads that drive the connections of any number of pools: one is enough for 100,000 pushes a
    second. They end when the engine and its pools are gone."""

    def __new__(cls, *, threads: int = 1) -> PushEngine:
        """Start 1 to 64 threads. Raises `ValueError`, or `OSError` when the system gives none."""

@final
class PushPool:
    """Connections to Apple's push service that show one identity's certificate, kept for hours."""

    def __new__(
        cls,
        engine: PushEngine,
        identity: SigningIdentity,
        *,
        host: str,
        port: int,
        roots: bytes | None = None,
        connections: int = 1,
        ping_seconds: float = 15.0,
        connect_seconds: float = 5.0,
    ) -> PushPool:
        """Prepare a pool; nothing is connected before there is something to push.

        `roots`: the certificates to trust as PEM, by default the public ones of Mozilla's list. At
        most `connections` (1 to 64) are opened. One that has been silent for `ping_seconds` (while
        pushes wait for answers: a third of that, at most 2) is pinged, and given up when no pong
        comes within `ping_seconds` (at most 5). Raises `ValueError`.
        """

    def push_many(
        self,
        tokens: Sequence[str],
        *,
        topic: str,
        expiration: int,
        deadline_seconds: float,
        attempts: int = 8,
    ) -> PushOutcomes:
        """Send one push a token and block until each has ended, at the latest by the deadline.

        At most 1,000,000 tokens; several calls share the connections and take turns. `topic`: the
        pass type identifier. `expiration`: the Unix second until which Apple keeps a push for a
        device that is off; 0 for not at all. What the service did not take, or what was lost, is
        sent again within the deadline; so is 429 and 5xx, after `Retry-After` or a second or more;
        at most `attempts` times in all. Raises `ValueError` for a call that cannot be made: a topic
        or token that is not a text, or a closed pool.
        """

    def close(self) -> None:
        """End what is being pushed as unreachable (`CLOSED`), and close the connections."""

    @property
    def requests(self) -> int:
        """Requests sent so far, repeated ones too."""

    @property
    def connections(self) -> int:
        """Connections opened so far."""

@final
class PushOutcomes:
    """What became of the pushes of a call."""

    @property
    def statuses(self) -> bytes:
        """One byte a token: 0 accepted, 1 rejected, 2 invalidated, 3 unreachable."""

    @property
    def details(self) -> list[tuple[int, int, str, int]]:
        """Of each push that was not accepted, by place: the place, the HTTP status (0 without an
        answer), the reason, and since when the token is dead (milliseconds since 1970, else 0).

        The reason is Apple's, or empty when the answer had none; of the unreachable it is `DNS`,
        `CONNECT`, `TLS`, `TIMEOUT`, `GOAWAY`, `RESET`, `PROTOCOL` or `CLOSED`. A token that cannot
        stand in a path is rejected here as Apple would, with 400 `BadDeviceToken`.
        """

    def __len__(self) -> int: ...
