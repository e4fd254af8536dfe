//! Signed sign-up tokens: the detached CMS by which a device knows that its sign-up was taken.
//! [Apple: Return a Personalized Pass]
//!
//! The token is what somebody sent who need not prove anything, and the key is the one that signs
//! passes: whoever got `{"pass.json":"…"}` signed as a token would have the `signature` of a pass of
//! his own making, for its `signature` file is just this, a CMS over the bytes of the manifest. So
//! only bytes are signed that no reader can take for a manifest. A manifest is a JSON object, and
//! that has a `{` in UTF-8 and zero bytes in UTF-16 and UTF-32; should a reader be lenient (an object
//! without its outer braces, JSON5, a property list as XML, text or binary), it needs a quote, a `<`,
//! a `;` or bytes beyond ASCII. A token has none of these: see [`check_token`]. The other way round, no
//! manifest passes for a token, as each begins with `{`.

use crate::cms::SignedAttributes;
use crate::error::{Error, Reason, Result};
use crate::identity::SigningIdentity;
use crate::manifest::sha256;

/// Most bytes of a token.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Visible ASCII that no token may hold: quotes, brackets of all kinds, semicolon, backslash.
const REFUSED: &[u8] = b"\"';<>[\\]`{}";

/// Accepts 1 to 4096 visible ASCII characters that no manifest could do without, else
/// [`Reason::Token`]. Base64, Base64url, hex, UUIDs and JWTs are such.
pub fn check_token(token: &[u8]) -> Result<()> {
    let is_harmless = |byte: &u8| byte.is_ascii_graphic() && !REFUSED.contains(byte);
    if (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.iter().all(is_harmless) {
        return Ok(());
    }
    Err(Error::new(
        Reason::Token,
        "the sign-up token was not signed, for it could be read as something else: a token has 1 \
         to 4096 visible ASCII characters, without quotes, brackets, backslash and semicolon",
    ))
}

/// The detached CMS over a token, signed at this time (Unix seconds), which must lie in the
/// certificate's validity.
pub fn sign_token(identity: &SigningIdentity, token: &[u8], signing_time: i64) -> Result<Vec<u8>> {
    check_token(token)?;
    identity.certificate().check_validity(signing_time)?;
    let attributes = SignedAttributes::new(signing_time, &sha256(token)?)?;
    let signature = identity.sign(&attributes)?;
    Ok(identity.certificate().cms(&attributes, &signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::manifest::ManifestFrame;
    use crate::testing::{Authority, Issue, NOW};
    use cms::content_info::ContentInfo;
    use cms::signed_data::SignedData;
    use der::Decode;

    /// The CMS is detached, over the token, by the identity's key; with another token it does not
    /// verify.
    #[test]
    fn signs_the_token() {
        let identity = Authority::new().identity(&Issue::default());
        let cms = sign_token(&identity, b"token", NOW).unwrap();
        let content = ContentInfo::from_der(&cms).unwrap().content;
        let data = content.decode_as::<SignedData>().unwrap();
        assert!(data.encap_content_info.econtent.is_none());
        let signature = data.signer_infos.0.iter().next().unwrap().signature.as_bytes().to_vec();
        let verifies = |token: &[u8]| {
            let attributes = SignedAttributes::new(NOW, &sha256(token).unwrap()).unwrap();
            identity.certificate().verifies(&attributes, &signature)
        };
        assert!(verifies(b"token") && !verifies(b"Token"));
    }

    /// An identity signs within its dates only, and what is refused is not signed by any path.
    #[test]
    fn refuses_to_sign() {
        let identity = Authority::new().identity(&Issue::default());
        let late = identity.certificate().not_after() + 1;
        assert_eq!(
            sign_token(&identity, b"token", late).unwrap_err().kind(),
            Kind::IdentityExpired
        );
        assert_eq!(sign_token(&identity, b"{}", NOW).unwrap_err().reason, Reason::Token);
    }

    /// What devices may send is taken.
    #[test]
    fn takes_tokens() {
        let longest = vec![b'a'; MAX_TOKEN_BYTES];
        for token in [
            b"a".as_slice(),
            b"5D7FBA0E-9F4D-4C2B-8A52-0F0E3F4C9D11",
            b"aGVsbG8+d29ybGQ/Zm9vYmFyCg==",
            b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-_~",
            b"!#$%&()*+,-./0:=?@A^_a|~",
            &longest,
        ] {
            assert_eq!(check_token(token), Ok(()));
        }
    }

    /// Nothing that a JSON or property list reader could make an object of is signed, in any
    /// encoding, nor what is empty or too long.
    #[test]
    fn refuses_what_could_be_a_manifest() {
        let manifest = ManifestFrame::new([]).fill([7; 20]);
        let text = String::from_utf8(manifest.clone()).unwrap();
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let too_long = vec![b'a'; MAX_TOKEN_BYTES + 1];
        for token in [
            manifest.as_slice(),
            text.trim_start_matches('{').trim_end_matches('}').as_bytes(),
            &[b"\xef\xbb\xbf", manifest.as_slice()].concat(),
            &[b" \n", manifest.as_slice()].concat(),
            &utf16,
            &utf16_big,
            &utf32,
            b"{}",
            b"{icon.png=da39}",
            b"'icon.png':'da39'",
            b"icon.png=da39;",
            b"<plist><dict/></plist>",
            b"bplist00\xd0\x08",
            b"[1]",
            b"",
            b"a b",
            b"a\n",
            b"a\0",
            b"\x7f",
            b"caf\xc3\xa9",
            &too_long,
        ] {
            assert_eq!(check_token(token).unwrap_err().reason, Reason::Token);
        }
    }

    /// No byte that JSON or a property list needs to begin or end an object is taken anywhere.
    #[test]
    fn refuses_byte_by_byte() {
        let taken: Vec<u8> = (0..=255).filter(|&byte| check_token(&[b'a', byte]).is_ok()).collect();
        assert_eq!(taken.len(), 94 - REFUSED.len());
        assert!(taken.iter().all(|byte| !b"{}<>\"';[]\\` \t\r\n\0".contains(byte)));
    }
}
