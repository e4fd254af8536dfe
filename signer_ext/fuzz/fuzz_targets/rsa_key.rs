//! RSA keys for the kernel: one that is taken signs as aws-lc does, or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rsa_mb::{Backend, Rsa2048Key};

fuzz_target!(|data: &[u8]| {
    let Ok(key) = Rsa2048Key::from_der(data) else { return };
    let digests = [[1; 32], [2; 32], [3; 32]];
    let signed = [Backend::Auto, Backend::Portable].map(|backend| {
        let mut signatures = Vec::new();
        key.sign_many_with(backend, &digests, &mut signatures).map(|_| signatures)
    });
    if let [Ok(vector), Ok(portable)] = signed {
        assert_eq!(vector, portable);
    }
});
