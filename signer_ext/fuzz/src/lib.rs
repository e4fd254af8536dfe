//! What the fuzz targets share: inputs of several parts, and mutations that keep checksums right, so
//! that the fuzzer comes past them.
//!
//! A target that takes several things (a bundle and its root, say) gets them as one input: each part
//! behind its length in two bytes, little-endian. `tests/signer/fuzz_seeds.py` writes the same.

use std::collections::BTreeMap;

use libfuzzer_sys::fuzzer_mutate;
use pkpass::archive::ArchiveWriter;
use pkpass::manifest::{hex, sha1};
use pkpass::names::{MANIFEST, SIGNATURE};
use pkpass::reader::read_archive;

/// 2026-03-01 12:00:00 UTC: when the seeds' certificates are valid.
pub const NOW: i64 = 1_772_366_400;
/// Opens the seeds' encrypted keys.
pub const PASSWORD: &str = "open sesame";

const LENGTH_BYTES: usize = 2;

/// Cuts an input into its parts. Every input can be cut: a length beyond the end takes what is left.
pub fn parts(mut input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (part, rest) = rest.split_at(length);
        parts.push(part);
        input = rest;
    }
    parts
}

/// Exactly so many parts, else nothing.
pub fn exactly<const N: usize>(input: &[u8]) -> Option<[&[u8]; N]> {
    parts(input).try_into().ok()
}

/// Puts parts together again; `None` if one is too long for its length.
fn join(parts: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut input = Vec::new();
    for part in parts {
        input.extend(u16::try_from(part.len()).ok()?.to_le_bytes());
        input.extend(part);
    }
    Some(input)
}

/// Mutates one part, by a rule, and puts the input together anew; one time in eight, the input as it
/// lies, so that lengths go wrong too. Gives the new size, as libFuzzer wants it.
pub fn mutate_parts(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    mutate: impl Fn(&mut Vec<u8>, u32),
) -> usize {
    let mut owned: Vec<Vec<u8>> = parts(&data[..size]).into_iter().map(<[u8]>::to_vec).collect();
    if owned.is_empty() || seed % 8 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let seed = seed / 8;
    let count = owned.len();
    mutate(&mut owned[seed as usize % count], seed / count as u32);
    match join(&owned) {
        Some(input) if input.len() <= max_size => {
            data[..input.len()].copy_from_slice(&input);
            input.len()
        }
        _ => size,
    }
}

/// libFuzzer's own mutation of some bytes.
pub fn mutate_bytes(bytes: &mut Vec<u8>, _seed: u32) {
    const ROOM: usize = 256;
    let size = bytes.len();
    bytes.resize(size + ROOM, 0);
    let size = fuzzer_mutate(bytes, size, size + ROOM);
    bytes.truncate(size);
}

/// Mutates a PNG and, mostly, writes the checksums of its chunks anew.
pub fn mutate_png(png: &mut Vec<u8>, seed: u32) {
    mutate_bytes(png, seed);
    if seed % 4 == 0 {
        return;
    }
    let mut start = 8;
    while let Some(length) = png.get(start..start + 4) {
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let Some(checked) = png.get(start + 4..(start + 8).saturating_add(length)) else { break };
        let crc = crc32fast::hash(checked).to_be_bytes();
        let Some(place) = png.get_mut(start + 8 + length..start + 12 + length) else { break };
        place.copy_from_slice(&crc);
        start += 12 + length;
    }
}

/// Mutates a zip and, mostly, writes its entries' CRC-32 anew, in both headers.
pub fn mutate_zip(zip: &mut Vec<u8>, seed: u32) {
    mutate_bytes(zip, seed);
    if seed % 4 == 0 {
        return;
    }
    let number = |zip: &[u8], place: usize, bytes: usize| {
        let field = zip.get(place..place + bytes)?;
        Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let Some(end) = zip.len().checked_sub(22) else { return };
    let Some(mut central) = number(zip, end + 16, 4) else { return };
    let mut local = 0;
    while zip.get(local..local + 4) == Some(b"PK\x03\x04") {
        let (Some(size), Some(name)) = (number(zip, local + 18, 4), number(zip, local + 26, 2))
        else {
            return;
        };
        let start = local + 30 + name;
        let Some(content) = zip.get(start..start.saturating_add(size)) else { return };
        let crc = crc32fast::hash(content).to_le_bytes();
        for place in [local + 14, central.saturating_add(16)] {
            if let Some(field) = zip.get_mut(place..place.saturating_add(4)) {
                field.copy_from_slice(&crc);
            }
        }
        let Some(central_name) = number(zip, central.saturating_add(28), 2) else { return };
        local = start + size;
        central = central.saturating_add(46 + central_name);
    }
}

/// Mutates one file of a bundle and, mostly, writes the manifest anew; or the zip itself.
pub fn mutate_bundle(bundle: &mut Vec<u8>, seed: u32) {
    let unpacked = read_archive(bundle).map(|files| {
        let owned = |(name, data): (&str, &[u8])| (name.to_owned(), data.to_vec());
        files.into_iter().map(owned).collect::<BTreeMap<String, Vec<u8>>>()
    });
    let Ok(mut files) = unpacked else { return mutate_zip(bundle, seed) };
    if files.is_empty() || seed % 4 == 0 {
        return mutate_zip(bundle, seed / 4);
    }
    let seed = seed / 4;
    let count = files.len();
    if let Some((_, content)) = files.iter_mut().nth(seed as usize % count) {
        mutate_bytes(content, seed);
    }
    if seed % 3 == 0 {
        files.insert(MANIFEST.to_owned(), manifest(&files));
    }
    let mut archive = ArchiveWriter::default();
    for (name, content) in &files {
        if archive.add(name, content).is_err() {
            return;
        }
    }
    if let Ok(written) = archive.finish() {
        *bundle = written;
    }
}

/// The manifest that fits the files. Their names need no escapes, as the reader has let them pass.
fn manifest(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let listed = files.iter().filter(|(name, _)| *name != MANIFEST && *name != SIGNATURE);
    let entries: Vec<String> = listed
        .filter_map(|(name, content)| Some(format!("\"{name}\":\"{}\"", hex(&sha1(content).ok()?))))
        .collect();
    format!("{{{}}}", entries.join(",")).into_bytes()
}
