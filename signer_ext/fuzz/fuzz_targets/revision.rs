//! Preparing a template revision from foreign files: what is taken comes out of the bundle unchanged.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pkpass::PreparedRevision;
use pkpass::reader::read_archive;
use pkpass::render::Document;

const EMPTY: &[u8] =
    br#"{"built_ins":[],"slots":[],"decimals":{},"document":{"object":[],"whole":[],"keep":true}}"#;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    signer_fuzz::mutate_parts(data, size, max_size, seed, signer_fuzz::mutate_png)
});

fuzz_target!(|data: &[u8]| {
    let parts = signer_fuzz::parts(data);
    let files: Vec<(&str, &[u8])> = parts
        .as_chunks()
        .0
        .iter()
        .filter_map(|[name, content]| Some((std::str::from_utf8(name).ok()?, *content)))
        .collect();
    let document = Document::from_json(EMPTY).expect("a document of nothing");
    let Ok(revision) = PreparedRevision::new(files.iter().copied(), document) else { return };
    let bundle = revision.bundle(b"m", b"p", b"s").expect("the revision was accepted").to_vec();
    let read = read_archive(&bundle).expect("the signer's own form");
    assert_eq!(read.len(), files.len() + 3);
    for (name, content) in files {
        assert_eq!(read.get(name), Some(&content));
    }
});
