"""What the signer refuses besides identities: files, images, batches, foreign bundles."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill import _signer
from passmill._signer import (
    DigestMismatch,
    IdentityExpired,
    InvalidBundle,
    InvalidIdentity,
    PreparedRevision,
    SignerError,
    SigningFailed,
    assemble,
    inspect_png,
    pack_passes,
    read_bundle,
    render,
    seal,
    sign_batch,
)
from passmill.dev.authority import ThrowawayAuthority
from passmill.signing.freshness import signer_source_digest
from tests.signer.documents import EMPTY_DOCUMENT, EMPTY_LINE, line
from tests.signer.documents import document as card
from tests.signer.images import png, png_header
from tests.signer.signers import NOW, SIGNING_TIME, Signer

WORKSPACE = Path(__file__).parents[2] / "signer_ext"
ICON = {"icon.png": png(1, 1)}


def refusal(act: Callable[[], object]) -> tuple[str, str]:
    """Reason and message of an InvalidBundle."""
    with pytest.raises(InvalidBundle) as caught:
        act()
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize(
    ("files", "reason", "named"),
    [
        ({**ICON, "../evil.png": b""}, "FILE_NAME", "../evil.png"),
        ({**ICON, "/etc/passwd": b""}, "FILE_NAME", "/etc/passwd"),
        ({**ICON, "a/b/c": b""}, "FILE_NAME", "a/b/c"),
        ({**ICON, "a\\b": b""}, "FILE_NAME", "a"),
        ({**ICON, "icon\0.png": b""}, "FILE_NAME", "icon"),
        ({**ICON, ".DS_Store": b""}, "FILE_NAME", ".DS_Store"),
        ({**ICON, "": b""}, "FILE_NAME", ""),
        ({**ICON, "pass.json": b"{}"}, "RESERVED_NAME", "pass.json"),
        ({**ICON, "Manifest.json": b"{}"}, "RESERVED_NAME", "Manifest.json"),
        ({**ICON, "signature": b""}, "RESERVED_NAME", "signature"),
        ({**ICON, "ICON.png": png(1, 1)}, "DUPLICATE_NAME", "icon.png"),
        ({"logo.png": png(1, 1)}, "MISSING_ICON", "icon.png"),
        ({}, "MISSING_ICON", "icon.png"),
        ({**ICON, "logo.png": b"\xff\xd8\xff"}, "NOT_A_PNG", "logo.png"),
        ({**ICON, "logo.png": png_header(4000, 4000)}, "IMAGE_TOO_LARGE", "logo.png"),
        ({**ICON, "logo.png": png(1, 1, padding=bytes(2**21))}, "IMAGE_TOO_LARGE", "logo.png"),
        ({**ICON, "data.bin": bytes(2**22 + 1)}, "FILE_TOO_LARGE", "data.bin"),
        ({**ICON, **{f"{n}.bin": bytes(2**22) for n in range(5)}}, "BUNDLE_TOO_LARGE", "20971520"),
        ({**ICON, **{f"{n}.txt": b"" for n in range(64)}}, "TOO_MANY_FILES", "65"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_are_refused_by_name(files: Mapping[str, bytes], reason: str, named: str) -> None:
    """Each file that may not be in a bundle is refused with its reason, and the message names
    it.
    """
    found, message = refusal(lambda: PreparedRevision(files, EMPTY_DOCUMENT))
    assert found == reason
    assert named in message


def test_a_revision_tells_what_it_holds() -> None:
    """Names come sorted, bytes are counted, and any mapping will do."""
    revision = PreparedRevision(
        {"b.txt": b"12", "icon.png": png(1, 1), "a.txt": b""}, EMPTY_DOCUMENT
    )
    assert revision.names == ["a.txt", "b.txt", "icon.png"]
    assert revision.content_bytes == 2 + len(png(1, 1))


@given(st.text(max_size=40))
def test_no_name_can_escape(name: str) -> None:
    """Any text as a file name is either refused or stays inside the folder."""
    folder, _, file = name.rpartition("/")
    is_inside = folder == "" or (folder.endswith(".lproj") and "/" not in folder)
    is_plain = name.isascii() and ".." not in name and not file.startswith(".")
    if not is_inside or not is_plain:
        assert (
            refusal(lambda: PreparedRevision({**ICON, name: b""}, EMPTY_DOCUMENT))[0] == "FILE_NAME"
        )
        return
    with contextlib.suppress(InvalidBundle):
        assert name in PreparedRevision({**ICON, name: b""}, EMPTY_DOCUMENT).names


def test_images_are_judged_by_their_header() -> None:
    """Size is read without decoding; too large and not an image are told apart."""
    assert inspect_png(png(320, 100)) == (320, 100)
    assert inspect_png(png(2000, 2000)) == (2000, 2000)
    assert refusal(lambda: inspect_png(png_header(2000, 2001)))[0] == "IMAGE_TOO_LARGE"
    assert refusal(lambda: inspect_png(png_header(2**31 - 1, 2**31 - 1)))[0] == "IMAGE_TOO_LARGE"
    assert refusal(lambda: inspect_png(png_header(1, 1) + bytes(2**21)))[0] == "IMAGE_TOO_LARGE"
    assert refusal(lambda: inspect_png(png_header(0, 1)))[0] == "NOT_A_PNG"
    assert refusal(lambda: inspect_png(b""))[0] == "NOT_A_PNG"


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (png_header(1, 1), "cut off"),
        (png(9, 9)[:-1], "cut off"),
        (png(9, 9)[:60], "cut off"),
        (png(9, 9) + b"\n", "follows its end"),
        (png(9, 9)[:45] + b"!" + png(9, 9)[46:], "checksum"),
        (png_header(1, 1) + png(1, 1)[-12:], "no image data"),
        (png_header(1, 1) + png(1, 1)[8:], "two headers"),
    ],
    ids=["header alone", "cut in the end", "cut in the data", "more", "changed", "empty", "twice"],
)
def test_an_image_must_be_whole(file: bytes, what: str) -> None:
    """A PNG that was cut, changed or added to is refused, alone and in a revision, and the message
    says what is wrong."""
    reason, message = refusal(lambda: inspect_png(file))
    assert reason == "DAMAGED_PNG"
    assert what in message
    reason, message = refusal(lambda: PreparedRevision({"icon.png": file}, EMPTY_DOCUMENT))
    assert reason == "DAMAGED_PNG"
    assert message.startswith("icon.png: ")


def test_documents_are_refused() -> None:
    """What is no document, or has a hole that nothing fills, is refused; the message says why."""
    for document, what in (
        ("", "EOF"),
        ("[]", "object"),
        (EMPTY_DOCUMENT.replace('"slots":[],', ""), "slots"),
        (card("pass.example", "TEAM").replace('"name": "note"', '"name": "not"'), '"note"'),
        (card("pass.example", "TEAM").replace('"form": "text"', '"form": "date"'), '"date"'),
        (" " * (2**24 + 1), "16777217"),
    ):
        reason, message = refusal(functools.partial(PreparedRevision, ICON, document))
        assert reason == "UNREADABLE_DOCUMENT"
        assert what in message


def test_a_bad_pass_stops_the_batch_and_is_numbered(
    revision: PreparedRevision, rsa: Signer
) -> None:
    """Whatever is wrong with a pass, its line, values, size or signing time, nothing is signed; the
    exception's `item` says which pass it is, and no message quotes a value.
    """
    late = rsa.identity.certificate.not_after + 1
    good = line(1)
    for bad, reason in (
        (b'{"serial":"4711"}\n', "UNREADABLE_PASS_DATA"),
        (b"\n", "UNREADABLE_PASS_DATA"),
        (b"[4711,{}]\n", "WRONG_VALUE"),
        (b'["1",{"note":4711}]\n', "WRONG_VALUE"),
        (b'["1",{"nobody":"4711"}]\n', "UNKNOWN_SLOT"),
        (b'[null,{"note":"4711"}]\n', "MISSING_VALUE"),
        (line(1, "4711" * 2**19), "PASS_JSON_SIZE"),
    ):
        lines, times = good * 20 + bad + good + bad, [SIGNING_TIME] * 23
        acts: list[Callable[[], object]] = [
            functools.partial(sign_batch, revision, lines, rsa.identity, times),
            functools.partial(seal, revision, lines, rsa.identity, times),
            functools.partial(render, revision, lines),
        ]
        for act in acts:
            with pytest.raises(InvalidBundle) as caught:
                act()
            assert (caught.value.reason, caught.value.item) == (reason, 20)
            assert "4711" not in str(caught.value)
    for sign in (sign_batch, seal):
        with pytest.raises(IdentityExpired) as expired:
            sign(revision, good * 2, rsa.identity, [SIGNING_TIME, late])
        assert (expired.value.reason, expired.value.item) == ("EXPIRED", 1)


def test_wrong_calls_are_python_errors(revision: PreparedRevision, rsa: Signer) -> None:
    """Lines and times of different number, no thread, and wrong types are the caller's mistakes,
    not refusals.
    """
    own, identity = line(1), rsa.identity
    for act in (sign_batch, seal):
        with pytest.raises(ValueError, match="2 lines of pass_data, but 1 signing_times"):
            act(revision, own * 2, identity, [SIGNING_TIME])
        with pytest.raises(ValueError, match="at least 1"):
            act(revision, own, identity, [SIGNING_TIME], threads=0)
    for lines in (b"", own * 2):
        with pytest.raises(ValueError, match="one line"):
            assemble(
                revision,
                lines,
                identity.certificate,
                signing_time=SIGNING_TIME,
                digest=bytes(20),
                signature=bytes(256),
            )
    with pytest.raises(TypeError):
        PreparedRevision({"icon.png": "text"}, EMPTY_DOCUMENT)  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        type(identity)()
    assert sign_batch(revision, b"", identity, []) == ([], [])
    assert seal(revision, b"", identity, []) == []
    assert render(revision, b"") == []
    assert render(revision, own.rstrip()) == render(revision, own)


def test_assembling_needs_the_own_certificate(
    revision: PreparedRevision, authority: ThrowawayAuthority, rsa: Signer
) -> None:
    """A recipe does not assemble under a certificate with another key, nor with a signature of odd
    length.
    """
    [digest], [signature] = sign_batch(revision, line(1), rsa.identity, [SIGNING_TIME])
    issued = authority.issue_pass_certificate(now=NOW)
    other = _signer.SigningCertificate.from_der(issued.certificate_der, issued.wwdr_der)
    own = rsa.identity.certificate
    for certificate, candidate in (
        (other, signature),
        (own, b""),
        (own, signature[:-1]),
        (own, signature + b"\0"),
        (own, bytes(256)),
    ):
        with pytest.raises(DigestMismatch) as caught:
            assemble(
                revision,
                line(1),
                certificate,
                signing_time=SIGNING_TIME,
                digest=digest,
                signature=candidate,
            )
        assert caught.value.reason == "SIGNATURE"


def test_packing_has_limits() -> None:
    """A `.pkpasses` takes one to ten bundles and nothing else."""
    assert refusal(lambda: pack_passes([]))[0] == "PASS_COUNT"
    assert refusal(lambda: pack_passes([b"PK\x03\x04"] * 11))[0] == "PASS_COUNT"
    assert refusal(lambda: pack_passes([b"<html>"]))[0] == "UNREADABLE_ARCHIVE"
    assert (
        refusal(lambda: pack_passes([b"PK\x03\x04" + bytes(75_000_000)] * 2))[0]
        == "BUNDLE_TOO_LARGE"
    )


def test_foreign_bundles_are_refused_by_reason(
    revision: PreparedRevision, authority: ThrowawayAuthority, rsa: Signer
) -> None:
    """The strict reader tells junk, cuts, a foreign root and a foreign pass type apart."""
    root = authority.root_der
    [good] = seal(revision, line(1), rsa.identity, [SIGNING_TIME])
    assert refusal(lambda: read_bundle(b"", root=root))[0] == "UNREADABLE_ARCHIVE"
    for length in range(0, len(good), 97):
        cut = functools.partial(read_bundle, good[:length], root=root)
        assert refusal(cut)[0] == "UNREADABLE_ARCHIVE"
    empty = PreparedRevision(ICON, EMPTY_DOCUMENT)
    [unnamed] = seal(empty, EMPTY_LINE, rsa.identity, [SIGNING_TIME])
    assert refusal(lambda: read_bundle(unnamed, root=root))[0] == "PASS_JSON_IDENTITY"
    with pytest.raises(InvalidIdentity) as untrusted:
        read_bundle(good, root=ThrowawayAuthority(now=NOW).root_der)
    assert untrusted.value.reason == "UNTRUSTED_ROOT"


@given(st.binary(max_size=300))
def test_no_input_breaks_the_readers(data: bytes) -> None:
    """Bytes of any kind are refused, never a crash: as a bundle, a certificate, a key, a PKCS#12,
    an image, a document, a pass.
    """
    empty = PreparedRevision(ICON, EMPTY_DOCUMENT)
    acts: list[Callable[[], object]] = [
        lambda: read_bundle(data, root=data),
        lambda: _signer.SigningCertificate.from_der(data, data),
        lambda: _signer.SigningIdentity.from_pkcs12(data, password="", intermediates=[data], now=0),
        lambda: _signer.SigningIdentity.from_pem(
            data, data, password="", intermediates=[data], now=0
        ),
        lambda: inspect_png(data),
        lambda: PreparedRevision(ICON, data.decode("latin-1")),
        lambda: render(empty, data + b"\n"),
    ]
    for act in acts:
        with pytest.raises(SignerError) as caught:
            act()
        assert not isinstance(caught.value, SigningFailed)


def test_exceptions_make_one_small_tree() -> None:
    """All are SignerError; each has a reason and an item, even when made by hand."""
    for kind in (InvalidIdentity, InvalidBundle, DigestMismatch, SigningFailed):
        assert kind.__bases__ == (SignerError,)
        assert kind.__module__ == "passmill._signer"
    assert IdentityExpired.__bases__ == (InvalidIdentity,)
    assert SignerError.__bases__ == (Exception,)
    by_hand = SignerError("made by hand")
    assert (by_hand.reason, by_hand.item) == ("", None)


def test_the_extension_is_fresh() -> None:
    """The extension under test was built from the sources beside it."""
    assert signer_source_digest(WORKSPACE) == _signer.source_digest


def test_freshness_notices_every_change(tmp_path: Path) -> None:
    """Content, name and number of sources count; builds, hidden folders and other files do not."""
    (tmp_path / "crates").mkdir()
    (tmp_path / "Cargo.toml").write_text("[workspace]")
    (tmp_path / "crates" / "lib.rs").write_text("// one")
    seen = {signer_source_digest(tmp_path)}
    for folder in ("target", ".git", "crates/target"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.rs").write_text("// built")
    (tmp_path / "README.md").write_text("text")
    assert {signer_source_digest(tmp_path)} == seen
    (tmp_path / "crates" / "lib.rs").write_text("// two")
    seen.add(signer_source_digest(tmp_path))
    (tmp_path / "crates" / "lib.rs").rename(tmp_path / "crates" / "main.rs")
    seen.add(signer_source_digest(tmp_path))
    (tmp_path / "Cargo.lock").write_text("")
    seen.add(signer_source_digest(tmp_path))
    assert len(seen) == 4
