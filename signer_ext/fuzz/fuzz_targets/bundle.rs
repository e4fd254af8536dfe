//! A whole bundle and the root it is judged by: zip, manifest, digests, CMS, chain, `pass.json`.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pkpass::manifest::{hex, sha1};
use pkpass::read_bundle;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    signer_fuzz::mutate_parts(data, size, max_size, seed, signer_fuzz::mutate_bundle)
});

fuzz_target!(|data: &[u8]| {
    let Some([bundle, root]) = signer_fuzz::exactly(data) else { return };
    let Ok(report) = read_bundle(bundle, root) else { return };
    report.certificate.check_validity(report.signing_time).expect("valid when it was signed");
    let manifest = String::from_utf8_lossy(report.manifest);
    for content in report.files.values().copied().chain([report.pass_json]) {
        assert!(manifest.contains(&hex(&sha1(content).expect("SHA-1 of bytes"))));
    }
});
