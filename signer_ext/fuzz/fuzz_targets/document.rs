//! A template's document and passes to render with it: what is rendered is JSON, always the same, and
//! an error says which pass.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pkpass::render::{Document, lines, render};
use serde_json::Value;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    signer_fuzz::mutate_parts(data, size, max_size, seed, signer_fuzz::mutate_bytes)
});

fuzz_target!(|data: &[u8]| {
    let Some([json, batch]) = signer_fuzz::exactly(data) else { return };
    let Ok(document) = Document::from_json(json) else { return };
    match render(&document, batch) {
        Ok(rendered) => {
            assert_eq!(rendered.len(), lines(batch).len());
            assert_eq!(render(&document, batch).as_ref(), Ok(&rendered));
            for pass_json in rendered {
                serde_json::from_slice::<Value>(&pass_json).expect("JSON");
            }
        }
        Err(error) => assert!(error.item.is_some_and(|item| item < lines(batch).len())),
    }
});
