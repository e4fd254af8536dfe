//! A template revision's fixed files, checked, hashed and zip-framed once, for any number of
//! passes; with the document that their `pass.json` is rendered from.

use crate::archive::{ArchiveWriter, CENTRAL_BYTES, END_BYTES, LOCAL_BYTES};
use crate::error::{Error, Reason, Result};
use crate::manifest::{ManifestFrame, Sha1, sha1};
use crate::render::Document;
use crate::{names, png};

/// Most files of a revision.
pub const MAX_FILES: usize = 64;
/// Most bytes of one file that is not an image (images: [`png::MAX_PNG_BYTES`]).
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of all files together.
pub const MAX_CONTENT_BYTES: usize = 20 * 1024 * 1024;
/// Most bytes of `pass.json`.
pub const MAX_PASS_JSON_BYTES: usize = 2 * 1024 * 1024;

/// Everything of a bundle that does not differ between two passes of one template revision.
#[derive(Debug)]
pub struct PreparedRevision {
    names: Vec<String>,
    content_bytes: usize,
    /// Local headers and data, sorted by name: the beginning of each bundle.
    entries: Vec<u8>,
    central: Vec<u8>,
    manifest: ManifestFrame,
    document: Document,
}

impl PreparedRevision {
    /// Checks and prepares all files of a bundle but `pass.json`, `manifest.json` and `signature`.
    ///
    /// Refuses with a reason of kind `InvalidBundle` and names the file.
    pub fn new<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        document: Document,
    ) -> Result<Self> {
        let mut files: Vec<(&str, &[u8])> = files.into_iter().collect();
        files.sort_unstable_by_key(|(name, _)| *name);
        check_set(&files)?;
        let mut archive = ArchiveWriter::default();
        let name_bytes: usize = files.iter().map(|(name, _)| name.len()).sum();
        let content_bytes: usize = files.iter().map(|(_, data)| data.len()).sum();
        archive.reserve(
            content_bytes + name_bytes + files.len() * LOCAL_BYTES,
            name_bytes + files.len() * CENTRAL_BYTES,
        );
        let mut digests = Vec::with_capacity(files.len());
        for (name, data) in &files {
            check_file(name, data)?;
            digests.push((*name, sha1(data)?));
            archive.add(name, data)?;
        }
        if !files.iter().any(|(name, _)| names::is_icon(name)) {
            return Err(Error::new(
                Reason::MissingIcon,
                "there is no icon: Wallet does not open such a pass; add icon.png, icon@2x.png \
                 and icon@3x.png",
            ));
        }
        let manifest = ManifestFrame::new(digests);
        let (entries, central, _) = archive.into_parts();
        let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        Ok(Self { names, content_bytes, entries, central, manifest, document })
    }

    /// The file names, sorted by their bytes.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        self.content_bytes
    }

    /// What `pass.json` is rendered from.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The manifest of a pass whose `pass.json` has this digest.
    #[must_use]
    pub fn manifest(&self, pass_json: Sha1) -> Vec<u8> {
        self.manifest.fill(pass_json)
    }

    /// The bundle: the prepared files, then `manifest.json`, `pass.json` and `signature`.
    pub fn bundle<'a>(
        &'a self,
        manifest: &[u8],
        pass_json: &[u8],
        signature: &[u8],
    ) -> Result<Bundle<'a>> {
        let own = [
            (names::MANIFEST, manifest),
            (names::PASS_JSON, pass_json),
            (names::SIGNATURE, signature),
        ];
        let name_bytes: usize = own.iter().map(|(name, _)| name.len()).sum();
        let data: usize = own.iter().map(|(_, data)| data.len()).sum();
        let central = name_bytes + own.len() * CENTRAL_BYTES;
        let entries = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        let mut archive = ArchiveWriter::after(self.entries.len(), &self.central, entries);
        let local = data + name_bytes + own.len() * LOCAL_BYTES;
        archive.reserve(local + self.central.len() + central + END_BYTES, central);
        for (name, data) in own {
            archive.add(name, data)?;
        }
        Ok(Bundle { prepared: &self.entries, own: archive.finish()? })
    }
}

/// A finished `.pkpass` in two pieces, so that the large one is copied only once, to where it is
/// wanted.
#[derive(Debug)]
pub struct Bundle<'a> {
    prepared: &'a [u8],
    own: Vec<u8>,
}

impl Bundle<'_> {
    /// Bytes of the `.pkpass`.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // it never is
    pub fn len(&self) -> usize {
        self.prepared.len() + self.own.len()
    }

    /// Copies the `.pkpass` into a buffer of exactly [`Self::len`] bytes; a shorter one is filled.
    pub fn copy_to(&self, out: &mut [u8]) {
        let (prepared, own) = out.split_at_mut(self.prepared.len().min(out.len()));
        for (to, from) in [(prepared, self.prepared), (own, self.own.as_slice())] {
            let length = to.len().min(from.len());
            if let (Some(to), Some(from)) = (to.get_mut(..length), from.get(..length)) {
                to.copy_from_slice(from);
            }
        }
    }

    /// The `.pkpass`.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [self.prepared, &self.own].concat()
    }
}

/// Accepts a `pass.json` by its size, else [`Reason::PassJsonSize`].
pub fn check_pass_json(pass_json: &[u8]) -> Result<()> {
    if (1..=MAX_PASS_JSON_BYTES).contains(&pass_json.len()) {
        return Ok(());
    }
    Err(Error::new(
        Reason::PassJsonSize,
        format!(
            "pass.json has {} bytes or more; 1 to {MAX_PASS_JSON_BYTES} are allowed: shorten the \
             pass's values",
            pass_json.len()
        ),
    ))
}

/// What concerns the files as a set. They are sorted by name.
fn check_set(files: &[(&str, &[u8])]) -> Result<()> {
    if files.len() > MAX_FILES {
        return Err(Error::new(
            Reason::TooManyFiles,
            format!(
                "the revision has {} files; at most {MAX_FILES} are allowed: leave some out",
                files.len()
            ),
        ));
    }
    let content: usize = files.iter().map(|(_, data)| data.len()).sum();
    if content > MAX_CONTENT_BYTES {
        return Err(Error::new(
            Reason::BundleTooLarge,
            format!(
                "the files have {content} bytes together; at most {MAX_CONTENT_BYTES} are \
                 allowed: scale the images down"
            ),
        ));
    }
    let mut folded: Vec<String> = files.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    folded.sort_unstable();
    if let Some([name, _]) = folded.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(Error::new(
            Reason::DuplicateName,
            format!("two files are called {name:?} when letter case is ignored: rename one"),
        ));
    }
    Ok(())
}

fn check_file(name: &str, data: &[u8]) -> Result<()> {
    names::check(name)?;
    if names::is_reserved(name) {
        return Err(Error::new(
            Reason::ReservedName,
            format!("{name} is written by the signer itself: leave it out"),
        ));
    }
    if names::is_png(name) {
        png::inspect(data)
            .map_err(|error| Error::new(error.reason, format!("{name}: {}", error.message)))?;
    } else if data.len() > MAX_FILE_BYTES {
        return Err(Error::new(
            Reason::FileTooLarge,
            format!("{name} has {} bytes; at most {MAX_FILE_BYTES} are allowed", data.len()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn reason(files: &[(&str, &[u8])]) -> Result<()> {
        PreparedRevision::new(files.iter().copied(), testing::document()).map(|_| ())
    }

    fn refusal(files: &[(&str, &[u8])]) -> Reason {
        reason(files).unwrap_err().reason
    }

    /// Names are sorted, sizes added up, and the order in which files are given does not matter.
    #[test]
    fn is_independent_of_order() {
        let icon = testing::png();
        let files = [("logo.png", icon.as_slice()), ("a.txt", b"text"), ("icon.png", &icon)];
        let one = PreparedRevision::new(files, testing::document()).unwrap();
        let other = PreparedRevision::new(files.into_iter().rev(), testing::document()).unwrap();
        assert_eq!(one.names(), ["a.txt", "icon.png", "logo.png"]);
        assert_eq!(one.content_bytes(), 4 + 2 * icon.len());
        let bundle =
            |revision: &PreparedRevision| revision.bundle(b"m", b"p", b"s").unwrap().to_vec();
        assert_eq!(bundle(&one), bundle(&other));
    }

    /// What copying gives is what `to_vec` gives, and `len` is its length.
    #[test]
    fn copies_all_of_it() {
        let revision = testing::revision();
        let bundle = revision.bundle(b"{}", b"{}", b"signature").unwrap();
        let mut out = vec![0; bundle.len()];
        bundle.copy_to(&mut out);
        assert_eq!(out, bundle.to_vec());
        bundle.copy_to(&mut out[..10]);
    }

    /// Every refusal of a set of files, by name.
    #[test]
    fn refuses_by_name() {
        let icon = testing::png();
        let icon = ("icon.png", icon.as_slice());
        assert_eq!(refusal(&[("logo.png", icon.1)]), Reason::MissingIcon);
        assert_eq!(refusal(&[]), Reason::MissingIcon);
        for scale in ["icon@2x.png", "icon@3x.png"] {
            assert_eq!(reason(&[(scale, icon.1)]), Ok(()));
        }
        for name in ["pass.json", "manifest.json", "signature", "SIGNATURE"] {
            assert_eq!(refusal(&[icon, (name, b"{}")]), Reason::ReservedName);
        }
        assert_eq!(refusal(&[icon, ("../evil", b"")]), Reason::FileName);
        assert_eq!(refusal(&[icon, ("a.txt", b""), ("A.TXT", b"")]), Reason::DuplicateName);
        assert_eq!(refusal(&[icon, icon]), Reason::DuplicateName);
        assert_eq!(refusal(&[icon, ("logo.png", b"GIF89a")]), Reason::NotAPng);
        let message = reason(&[icon, ("logo.png", b"GIF89a")]).unwrap_err().message;
        assert!(message.starts_with("logo.png: "), "{message}");
    }

    /// Limits hold exactly: the last allowed passes, one more does not.
    #[test]
    fn limits_are_exact() {
        let png = testing::png();
        let names: Vec<String> = (0..MAX_FILES).map(|number| format!("f{number}")).collect();
        let mut files: Vec<(&str, &[u8])> =
            names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
        files[0] = ("icon.png", &png);
        assert_eq!(reason(&files), Ok(()));
        files.push(("one-more", b""));
        assert_eq!(refusal(&files), Reason::TooManyFiles);

        let large = vec![0; MAX_FILE_BYTES + 1];
        let whole = &large[..MAX_FILE_BYTES];
        assert_eq!(reason(&[("icon.png", &png), ("a", whole)]), Ok(()));
        assert_eq!(refusal(&[("icon.png", &png), ("a", &large)]), Reason::FileTooLarge);
        let four =
            [("a", whole), ("b", whole), ("c", whole), ("d", whole), ("icon.png", png.as_slice())];
        let rest = &whole[..MAX_CONTENT_BYTES - 4 * MAX_FILE_BYTES - png.len()];
        assert_eq!(reason(&[four.as_slice(), &[("e", rest)]].concat()), Ok(()));
        assert_eq!(
            refusal(&[four.as_slice(), &[("e", rest), ("f", b"1")]].concat()),
            Reason::BundleTooLarge
        );
    }
}
