//! The zip container: stored entries only, sizes known before the data, and nothing optional.
//!
//! No data descriptors, extra fields, comments, directory entries or zip64, ASCII names, one fixed
//! time: the form that every reader takes, and equal input gives equal bytes. [PKWARE APPNOTE
//! 6.3.10, section 4.3]

use crate::error::{Error, Reason, Result};

/// Most passes in a `.pkpasses`. [Apple: Distributing and updating a pass]
pub const MAX_PASSES: usize = 10;
/// Most bytes in a `.pkpasses`: 150 MB.
pub const MAX_PASSES_BYTES: usize = 150_000_000;

pub(crate) const LOCAL_MAGIC: [u8; 4] = *b"PK\x03\x04";
pub(crate) const CENTRAL_MAGIC: [u8; 4] = *b"PK\x01\x02";
pub(crate) const END_MAGIC: [u8; 4] = *b"PK\x05\x06";
pub(crate) const LOCAL_BYTES: usize = 30;
pub(crate) const CENTRAL_BYTES: usize = 46;
pub(crate) const END_BYTES: usize = 22;

/// "Version needed to extract" 1.0: stored entries.
const VERSION_NEEDED: u16 = 10;
/// "Version made by": the same, with Unix attributes, so that unpacked files are `-rw-r--r--`.
const VERSION_MADE_BY: u16 = 3 << 8 | VERSION_NEEDED;
const UNIX_REGULAR_FILE_0644: u32 = 0o100_644 << 16;
/// 1980-01-01 00:00:00, the zero of DOS time: signing time is in the CMS, not here.
const DOS_TIME: u16 = 0;
const DOS_DATE: u16 = 1 << 5 | 1;

/// Writes entries one after the other; local headers with data and the central directory side by
/// side.
#[derive(Debug, Default)]
pub struct ArchiveWriter {
    /// Offset of `local` in the finished archive.
    base: usize,
    local: Vec<u8>,
    central: Vec<u8>,
    entries: u16,
}

impl ArchiveWriter {
    /// A writer that goes on behind entries written before: `base` bytes of them, with this central
    /// directory.
    #[must_use]
    pub fn after(base: usize, central: &[u8], entries: u16) -> Self {
        Self { base, local: Vec::new(), central: central.to_vec(), entries }
    }

    /// Makes room for so many bytes of headers and data, and of central directory.
    pub fn reserve(&mut self, local: usize, central: usize) {
        self.local.reserve_exact(local);
        self.central.reserve_exact(central);
    }

    /// Appends a stored entry. The name must be ASCII and unique: see [`crate::names`].
    pub fn add(&mut self, name: &str, data: &[u8]) -> Result<()> {
        self.add_known(name, data, crc32fast::hash(data))
    }

    /// Appends a stored entry whose CRC-32 is known.
    fn add_known(&mut self, name: &str, data: &[u8], crc32: u32) -> Result<()> {
        let offset = u32::try_from(self.base + self.local.len()).map_err(|_| too_large())?;
        let size = u32::try_from(data.len()).map_err(|_| too_large())?;
        let name_length = u16::try_from(name.len()).map_err(|_| too_large())?;
        self.entries = self.entries.checked_add(1).ok_or_else(too_large)?;

        // What both headers have in common: from "version needed" to "extra field length".
        let mut common = [0_u8; 26];
        write_fields(
            &mut common,
            &[
                &VERSION_NEEDED.to_le_bytes(),
                &[0, 0], // flags: none
                &[0, 0], // method: stored
                &DOS_TIME.to_le_bytes(),
                &DOS_DATE.to_le_bytes(),
                &crc32.to_le_bytes(),
                &size.to_le_bytes(), // compressed
                &size.to_le_bytes(), // uncompressed
                &name_length.to_le_bytes(),
                &[0, 0], // extra field length
            ],
        );
        for part in [&LOCAL_MAGIC, common.as_slice(), name.as_bytes(), data] {
            self.local.extend_from_slice(part);
        }
        for part in [
            &CENTRAL_MAGIC,
            VERSION_MADE_BY.to_le_bytes().as_slice(),
            &common,
            &[0; 6], // comment length, disk number, internal attributes
            &UNIX_REGULAR_FILE_0644.to_le_bytes(),
            &offset.to_le_bytes(),
            name.as_bytes(),
        ] {
            self.central.extend_from_slice(part);
        }
        Ok(())
    }

    /// The finished archive; without the first `base` bytes if it was begun by [`Self::after`].
    pub fn finish(self) -> Result<Vec<u8>> {
        let central_offset =
            u32::try_from(self.base + self.local.len()).map_err(|_| too_large())?;
        let central_size = u32::try_from(self.central.len()).map_err(|_| too_large())?;
        let mut out = self.local;
        out.reserve_exact(self.central.len() + END_BYTES);
        out.extend_from_slice(&self.central);
        for part in [
            &END_MAGIC,
            [0_u8; 4].as_slice(), // this disk, disk of the central directory
            &self.entries.to_le_bytes(),
            &self.entries.to_le_bytes(),
            &central_size.to_le_bytes(),
            &central_offset.to_le_bytes(),
            &[0; 2], // comment length
        ] {
            out.extend_from_slice(part);
        }
        Ok(out)
    }

    /// What was written so far: local headers with data, central directory, number of entries.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<u8>, u16) {
        (self.local, self.central, self.entries)
    }
}

fn write_fields(out: &mut [u8], fields: &[&[u8]]) {
    for (place, byte) in out.iter_mut().zip(fields.iter().copied().flatten()) {
        *place = *byte;
    }
}

fn too_large() -> Error {
    Error::new(
        Reason::BundleTooLarge,
        "the archive would exceed what a zip without zip64 can hold: leave out files",
    )
}

/// A `.pkpasses`: 1 to 10 finished `.pkpass` files as `pass-1.pkpass`, `pass-2.pkpass`, …
pub fn pack_passes(bundles: &[impl AsRef<[u8]>]) -> Result<Vec<u8>> {
    if bundles.is_empty() || bundles.len() > MAX_PASSES {
        return Err(Error::new(
            Reason::PassCount,
            format!(
                "a .pkpasses holds 1 to {MAX_PASSES} passes, not {}: split the list",
                bundles.len()
            ),
        ));
    }
    let names: Vec<String> =
        (1..=bundles.len()).map(|number| format!("pass-{number}.pkpass")).collect();
    let data: usize = bundles.iter().map(|bundle| bundle.as_ref().len()).sum();
    let name_bytes: usize = names.iter().map(String::len).sum();
    let local = data + names.len() * LOCAL_BYTES + name_bytes;
    let central = names.len() * CENTRAL_BYTES + name_bytes;
    let whole = local + central + END_BYTES;
    if whole > MAX_PASSES_BYTES {
        return Err(Error::new(
            Reason::BundleTooLarge,
            format!("the passes make more than {MAX_PASSES_BYTES} bytes together: pack fewer"),
        ));
    }
    let mut archive = ArchiveWriter::default();
    archive.reserve(whole, central);
    for (position, (name, bundle)) in names.iter().zip(bundles).enumerate() {
        if !bundle.as_ref().starts_with(&LOCAL_MAGIC) {
            return Err(Error::new(
                Reason::UnreadableArchive,
                format!("pass {} is not a .pkpass", position + 1),
            )
            .of_item(position));
        }
        archive.add(name, bundle.as_ref())?;
    }
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: an archive of one entry, byte by byte.
    #[test]
    fn writes_the_plain_form() {
        let mut archive = ArchiveWriter::default();
        archive.add("a.txt", b"abc").unwrap();
        let expected: Vec<u8> = [
            b"PK\x03\x04\x0a\0\0\0\0\0\0\0\x21\0\xc2\x41\x24\x35".as_slice(),
            b"\x03\0\0\0\x03\0\0\0\x05\0\0\0a.txtabc",
            b"PK\x01\x02\x0a\x03\x0a\0\0\0\0\0\0\0\x21\0\xc2\x41\x24\x35",
            b"\x03\0\0\0\x03\0\0\0\x05\0\0\0",
            b"\0\0\0\0\0\0\0\0\xa4\x81\0\0\0\0a.txt",
            b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x33\0\0\0\x26\0\0\0\0\0",
        ]
        .concat();
        assert_eq!(archive.finish().unwrap(), expected);
    }

    /// Writing in two goes gives the same bytes as in one.
    #[test]
    fn goes_on_behind_prepared_entries() {
        let mut whole = ArchiveWriter::default();
        for (name, data) in [("a", b"1".as_slice()), ("b", b""), ("c", b"333")] {
            whole.add(name, data).unwrap();
        }
        let mut first = ArchiveWriter::default();
        first.add("a", b"1").unwrap();
        first.add("b", b"").unwrap();
        let (local, central, entries) = first.into_parts();
        let mut second = ArchiveWriter::after(local.len(), &central, entries);
        second.add("c", b"333").unwrap();
        assert_eq!([local, second.finish().unwrap()].concat(), whole.finish().unwrap());
    }

    /// One to ten passes, no more than the byte limit, and only what begins like a bundle.
    #[test]
    fn packs_one_to_ten() {
        let bundle = [LOCAL_MAGIC.as_slice(), b"rest"].concat();
        let reason =
            |count: usize| pack_passes(&vec![bundle.clone(); count]).map_err(|error| error.reason);
        assert_eq!(reason(0), Err(Reason::PassCount));
        assert!(reason(1).is_ok() && reason(10).is_ok());
        assert_eq!(reason(11), Err(Reason::PassCount));
        let error = pack_passes(&[bundle.as_slice(), b"other"]).unwrap_err();
        assert_eq!((error.reason, error.item), (Reason::UnreadableArchive, Some(1)));
    }

    /// The byte limit holds exactly, for the packed file as a whole; its memory is taken once.
    #[test]
    fn packs_up_to_the_limit() {
        let bundle = |bytes| {
            let mut bundle = LOCAL_MAGIC.to_vec();
            bundle.resize(bytes, 0);
            bundle
        };
        let small = vec![bundle(10); MAX_PASSES - 1];
        let around = pack_passes(&small).unwrap().len() + (30 + 46 + 2 * "pass-10.pkpass".len());
        let mut passes = small;
        passes.push(bundle(MAX_PASSES_BYTES - around));
        let packed = pack_passes(&passes).unwrap();
        assert_eq!((packed.len(), packed.capacity()), (MAX_PASSES_BYTES, MAX_PASSES_BYTES));
        passes[9].push(0);
        assert_eq!(pack_passes(&passes).unwrap_err().reason, Reason::BundleTooLarge);
    }
}
