"""Sign-up tokens signed by the pass certificate: others verify them, and none is a manifest."""

import codecs
import json
import plistlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill._signer import IdentityExpired, InvalidToken, PreparedRevision, sign_token
from passmill.dev.authority import ThrowawayAuthority
from passmill.domain.personalizations import BadSignUp, parse_sign_up
from tests.signer.documents import line
from tests.signer.signers import SIGNING_TIME, Signer
from tests.signer.test_bundles import entries, seal_one
from tests.support.tools import run

_TOKEN = b"5D7FBA0E-9F4D-4C2B-8A52-0F0E3F4C9D11"
_CODECS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


def test_openssl_verifies_a_token(
    signer: Signer, authority: ThrowawayAuthority, tmp_path: Path
) -> None:
    """`openssl cms -verify` accepts the signature over the token up to the root, and over no other;
    the CMS is detached."""
    cms = sign_token(signer.identity, _TOKEN, signing_time=SIGNING_TIME)
    assert _TOKEN not in cms
    (tmp_path / "signature").write_bytes(cms)
    (tmp_path / "token").write_bytes(_TOKEN)
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    command = (
        *("cms", "-verify", "-binary", "-inform", "der", "-purpose", "any"),
        *("-in", tmp_path / "signature", "-content", tmp_path / "token"),
        *("-CAfile", tmp_path / "root.pem", "-attime", str(SIGNING_TIME)),
        *("-out", tmp_path / "verified"),
    )
    run("openssl", *command)
    assert (tmp_path / "verified").read_bytes() == _TOKEN
    (tmp_path / "token").write_bytes(_TOKEN + b"1")
    with pytest.raises(AssertionError, match="content verify error"):
        run("openssl", *command)


def test_a_manifest_is_not_signed_as_a_token(revision: PreparedRevision, rsa: Signer) -> None:
    """The manifest of a real bundle, in any encoding that a JSON reader knows, and as a property
    list, is refused: its signature would be that of a forged pass."""
    manifest = entries(seal_one(revision, line(1), rsa))["manifest.json"]
    files = json.loads(manifest)
    forms = [codecs.encode(manifest.decode(), name) for name in _CODECS]
    forms += [b" " + manifest, manifest[1:-1], manifest[1:], manifest.replace(b'"', b"'")]
    forms += [plistlib.dumps(files, fmt=each) for each in plistlib.PlistFormat]
    for form in forms:
        with pytest.raises(InvalidToken) as caught:
            sign_token(rsa.identity, form[:4096], signing_time=SIGNING_TIME)
        assert caught.value.reason == "TOKEN"


@given(
    token=st.text(st.characters(max_codepoint=0x17F), min_size=1, max_size=40) | st.text(min_size=1)
)
def test_signer_and_edge_take_the_same_tokens(rsa: Signer, token: str) -> None:
    """What the edge takes in is what the signer signs, so that nobody waits in vain; and no JSON
    reader makes an object of it, in any encoding."""
    body = {"personalizationToken": token, "requiredPersonalizationInfo": {}}
    try:
        parse_sign_up(json.dumps(body).encode())
    except BadSignUp:
        with pytest.raises(InvalidToken):
            sign_token(rsa.identity, token.encode(errors="replace"), signing_time=SIGNING_TIME)
        return
    assert sign_token(rsa.identity, token.encode(), signing_time=SIGNING_TIME)
    for name in _CODECS:
        try:
            read = json.loads(token.encode().decode(name))
        except ValueError:
            continue
        assert not isinstance(read, dict | list)


@pytest.mark.parametrize("byte", range(256))
def test_signer_and_edge_agree_byte_by_byte(rsa: Signer, byte: int) -> None:
    """For each byte there is, both take it or neither does; none that an object needs is taken."""
    token = bytes([byte]).decode("latin-1")
    body = json.dumps({"personalizationToken": token, "requiredPersonalizationInfo": {}}).encode()
    try:
        parse_sign_up(body)
    except BadSignUp:
        with pytest.raises(InvalidToken):
            sign_token(rsa.identity, bytes([byte]), signing_time=SIGNING_TIME)
    else:
        sign_token(rsa.identity, bytes([byte]), signing_time=SIGNING_TIME)
        assert token not in "{}[]<>\"';\\`"


def test_lengths_are_exact(rsa: Signer) -> None:
    """1 to 4096 bytes are signed, none and one more are not."""
    assert sign_token(rsa.identity, b"a" * 4096, signing_time=SIGNING_TIME)
    for token in (b"", b"a" * 4097):
        with pytest.raises(InvalidToken):
            sign_token(rsa.identity, token, signing_time=SIGNING_TIME)


def test_an_expired_identity_signs_no_token(rsa: Signer) -> None:
    """Outside the certificate's dates nothing is signed."""
    late = rsa.identity.certificate.not_after + 1
    with pytest.raises(IdentityExpired):
        sign_token(rsa.identity, _TOKEN, signing_time=late)
