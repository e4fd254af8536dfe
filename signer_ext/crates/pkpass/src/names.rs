//! Which file names a bundle may have: an allow-list, so that no reader, on any system, can be led
//! outside the folder it unpacks to.
//!
//! A name is `file` or `<language>.lproj/file`; nothing else has a slash.

use crate::error::{Error, Reason, Result};

/// Names that the signer writes itself.
pub const RESERVED: [&str; 3] = [PASS_JSON, MANIFEST, SIGNATURE];
/// The pass's content.
pub const PASS_JSON: &str = "pass.json";
/// File name to SHA-1.
pub const MANIFEST: &str = "manifest.json";
/// The detached CMS over the manifest.
pub const SIGNATURE: &str = "signature";

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Accepts a name of the allow-list, else [`Reason::FileName`].
pub fn check(name: &str) -> Result<()> {
    let file = match name.split_once('/') {
        Some((folder, file)) if is_language_folder(folder) => file,
        Some(_) => "", // never a file name, so refused below
        None => name,
    };
    if name.len() <= MAX_NAME_BYTES && is_file_name(file) {
        return Ok(());
    }
    Err(Error::new(
        Reason::FileName,
        format!(
            "the file name {shown:?} is not allowed: use letters, digits, '.', '_', '-' and '@', \
             beginning with a letter or digit, at the top level or in one <language>.lproj folder",
            shown = name.chars().take(MAX_NAME_BYTES).collect::<String>(),
        ),
    ))
}

/// Whether this is one of the names the signer writes itself, in any letter case.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

/// Whether this is the top-level icon in any of its scales. Wallet needs one.
#[must_use]
pub fn is_icon(name: &str) -> bool {
    matches!(name, "icon.png" | "icon@2x.png" | "icon@3x.png")
}

/// Whether this is an image by its suffix.
#[must_use]
pub fn is_png(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("png"))
}

fn is_file_name(file: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    file.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && file.bytes().all(allowed)
        && !file.contains("..")
        && !file.ends_with('.')
        && !file.eq_ignore_ascii_case("thumbs.db")
}

/// `en.lproj`, `zh-Hans.lproj`, `pt_BR.lproj`, `Base.lproj`.
fn is_language_folder(folder: &str) -> bool {
    folder.strip_suffix(".lproj").is_some_and(|tag| {
        let mut subtags = tag.split(['-', '_']);
        subtags.next().is_some_and(|language| {
            (2..=8).contains(&language.len())
                && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        }) && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len())
                && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Apple's pages name is accepted.
    #[test]
    fn accepts_what_passes_have() {
        for name in [
            "icon.png",
            "icon@2x.png",
            "logo@3x.png",
            "personalizationLogo@2x.png",
            "en.lproj/pass.strings",
            "zh-Hans.lproj/logo.png",
            "pt_BR.lproj/pass.strings",
            "Base.lproj/pass.strings",
            "tooling.json",
            "a",
            "es-419.lproj/pass.strings",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    /// Everything that could leave the folder, hide, or confuse a reader is refused.
    #[test]
    fn refuses_what_could_escape() {
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in [
            "",
            ".",
            "..",
            "../icon.png",
            "/icon.png",
            "a/b",
            "a\\b",
            "icon\0.png",
            "en.lproj/",
            "en.lproj/../x",
            "en.lproj/a/b",
            ".DS_Store",
            "__MACOSX/x",
            "Thumbs.db",
            "en.lproj/thumbs.DB",
            "C:x",
            "a..b",
            "icon.png.",
            "é.png",
            "a b",
            "a\nb",
            "e.lproj/x",
            "en-.lproj/x",
            "en--GB.lproj/x",
            "x1.lproj/x",
            "toolonglang.lproj/x",
            ".lproj/x",
            "en.lprojx/x",
            "-a",
            "@2x.png",
            "en.lproj\\x",
            "\u{202e}gnp.noci",
            &long,
        ] {
            assert_eq!(check(name).unwrap_err().reason, Reason::FileName, "{name:?}");
        }
    }

    /// A name of exactly the longest length passes.
    #[test]
    fn accepts_the_longest_name() {
        assert_eq!(check(&"a".repeat(MAX_NAME_BYTES)), Ok(()));
    }

    /// Suffix and reserved names are compared without regard to case, icons with it.
    #[test]
    fn knows_special_names() {
        assert!(
            is_reserved("Pass.JSON")
                && is_reserved("signature")
                && !is_reserved("en.lproj/signature")
        );
        assert!(
            is_png("a.PNG") && is_png("en.lproj/a.png") && !is_png("png") && !is_png("a.png.txt")
        );
        assert!(is_icon("icon@3x.png") && !is_icon("Icon.png") && !is_icon("en.lproj/icon.png"));
    }
}
