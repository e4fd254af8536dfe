//! PKCS#12 files: an identity that loads can sign.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pkpass::SigningIdentity;
use pkpass::cms::SignedAttributes;
use signer_fuzz::{NOW, PASSWORD};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    signer_fuzz::mutate_parts(data, size, max_size, seed, signer_fuzz::mutate_bytes)
});

fuzz_target!(|data: &[u8]| {
    let Some([file, intermediate]) = signer_fuzz::exactly(data) else { return };
    if let Ok(identity) = SigningIdentity::from_pkcs12(file, PASSWORD, &[intermediate], NOW) {
        let attributes = SignedAttributes::new(NOW, &[7; 32]).expect("a time that exists");
        identity.sign(&attributes).expect("key and certificate belong together");
    }
});
