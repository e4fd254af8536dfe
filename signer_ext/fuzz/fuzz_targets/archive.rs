//! The zip layer alone: whatever is read says the same when it is written and read again.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pkpass::archive::ArchiveWriter;
use pkpass::names;
use pkpass::reader::read_archive;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut zip = data[..size].to_vec();
    signer_fuzz::mutate_zip(&mut zip, seed);
    let size = zip.len().min(max_size);
    data[..size].copy_from_slice(&zip[..size]);
    size
});

fuzz_target!(|data: &[u8]| {
    let Ok(files) = read_archive(data) else { return };
    let mut archive = ArchiveWriter::default();
    for (name, content) in &files {
        names::check(name).expect("a name was read that is not allowed");
        archive.add(name, content).expect("what fitted once fits again");
    }
    let written = archive.finish().expect("what fitted once fits again");
    assert_eq!(written.len(), data.len(), "bytes were read that belong to no entry");
    assert_eq!(read_archive(&written).expect("the signer's own form"), files);
});
