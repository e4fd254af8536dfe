//! `manifest.json`: every file's SHA-1, as one line of compact JSON with sorted keys.
//!
//! The digests are SHA-1 because the format knows no other; what protects the pass is the CMS
//! signature over the manifest (SHA-256). One line without a line break, because a reader that
//! canonicalises text before hashing would else see another file. [Apple: Building a Pass, manifest
//! file]

use aws_lc_rs::digest;

use crate::error::{Error, Reason, Result};
use crate::names::PASS_JSON;

/// A SHA-1 digest.
pub type Sha1 = [u8; 20];
/// A SHA-256 digest.
pub type Sha256 = [u8; 32];

/// SHA-1 of a file.
pub fn sha1(data: &[u8]) -> Result<Sha1> {
    sized(&digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data))
}

/// SHA-256 of the manifest, of a certificate.
pub fn sha256(data: &[u8]) -> Result<Sha256> {
    sized(&digest::digest(&digest::SHA256, data))
}

fn sized<const N: usize>(digest: &digest::Digest) -> Result<[u8; N]> {
    digest.as_ref().try_into().map_err(|_| {
        Error::new(Reason::Cryptography, "a digest has another length than its algorithm")
    })
}

/// The manifest of a template revision with a hole where the digest of `pass.json` goes.
///
/// A digest always takes 40 characters, so all manifests of a revision have one length.
#[derive(Debug)]
pub struct ManifestFrame {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl ManifestFrame {
    /// Prepares the manifest for the named files and `pass.json`. Names must be unique.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, Sha1)>) -> Self {
        let mut entries: Vec<(&str, Option<Sha1>)> =
            files.into_iter().map(|(name, sha1)| (name, Some(sha1))).collect();
        entries.push((PASS_JSON, None));
        entries.sort_unstable_by_key(|(name, _)| *name);
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        let mut out = &mut head;
        for (position, (name, sha1)) in entries.into_iter().enumerate() {
            out.push(if position == 0 { b'{' } else { b',' });
            write_json_string(out, name);
            out.extend_from_slice(b":\"");
            match sha1 {
                Some(sha1) => out.extend_from_slice(hex(&sha1).as_bytes()),
                None => out = &mut tail,
            }
            out.push(b'"');
        }
        out.push(b'}');
        Self { head, tail }
    }

    /// The manifest for a pass whose `pass.json` has this digest.
    #[must_use]
    pub fn fill(&self, pass_json: Sha1) -> Vec<u8> {
        [self.head.as_slice(), hex(&pass_json).as_bytes(), &self.tail].concat()
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Writes a JSON string. [RFC 8259, section 7]
fn write_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut utf8 = [0; 4];
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\0'..='\x1f' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    /// Golden: sorted by bytes with `pass.json` in its place, compact, lower-case, no line break at
    /// the end.
    #[test]
    fn is_sorted_compact_and_one_line() {
        let empty = sha1(b"").unwrap();
        let frame = ManifestFrame::new([
            ("strip.png", empty),
            ("icon@2x.png", empty),
            ("icon.png", empty),
            ("en.lproj/pass.strings", empty),
        ]);
        let manifest = String::from_utf8(frame.fill(sha1(b"{}").unwrap())).unwrap();
        let pass_json = "bf21a9e8fbc5a3846fb05b4fa0859e0917b2202f";
        let expected = format!(
            r#"{{"en.lproj/pass.strings":"{EMPTY}","icon.png":"{EMPTY}","icon@2x.png":"{EMPTY}""#
        ) + &format!(r#","pass.json":"{pass_json}","strip.png":"{EMPTY}"}}"#);
        assert_eq!(manifest, expected);
    }

    /// `pass.json` may come first, last, or alone.
    #[test]
    fn pass_json_takes_its_place() {
        let empty = sha1(b"").unwrap();
        let alone = ManifestFrame::new([]).fill(empty);
        assert_eq!(alone, format!(r#"{{"pass.json":"{EMPTY}"}}"#).into_bytes());
        let first = ManifestFrame::new([("z", empty)]).fill(empty);
        assert_eq!(first, format!(r#"{{"pass.json":"{EMPTY}","z":"{EMPTY}"}}"#).into_bytes());
        let last = ManifestFrame::new([("a", empty)]).fill(empty);
        assert_eq!(last, format!(r#"{{"a":"{EMPTY}","pass.json":"{EMPTY}"}}"#).into_bytes());
    }

    /// Names are escaped as JSON asks, so no name can add an entry.
    #[test]
    fn names_are_escaped() {
        let name = "a\"\\\u{1}\n\u{7f}é/😀";
        let manifest = ManifestFrame::new([(name, [0; 20])]).fill([255; 20]);
        let read: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(&manifest).unwrap();
        assert_eq!(read.keys().map(String::as_str).collect::<Vec<_>>(), [name, "pass.json"]);
        assert_eq!(read["pass.json"], "f".repeat(40));
    }
}
