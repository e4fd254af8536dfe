//! What the tests share.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;

use crate::Rsa2048Key;

/// A new key in PKCS#8.
pub(crate) fn new_key_der() -> Vec<u8> {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    der.as_ref().to_vec()
}

/// A new key.
pub(crate) fn new_key() -> Rsa2048Key {
    Rsa2048Key::from_der(&new_key_der()).unwrap()
}

/// The signature aws-lc makes.
pub(crate) fn signed_by_library(key: &Rsa2048Key, digest: &[u8; 32]) -> [u8; 256] {
    let digest = Digest::import_less_safe(digest, &SHA256).unwrap();
    let mut signature = [0; 256];
    key.library.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).unwrap();
    signature
}

/// Digests of nothing in particular.
pub(crate) fn random_digests(count: usize) -> Vec<[u8; 32]> {
    let mut digests = vec![[0; 32]; count];
    SystemRandom::new().fill(digests.as_flattened_mut()).unwrap();
    digests
}

/// Numbers of nothing in particular.
#[cfg(feature = "fault-injection")]
pub(crate) fn random_number<const N: usize>() -> [usize; N] {
    let mut bytes = [[0; 8]; N];
    SystemRandom::new().fill(bytes.as_flattened_mut()).unwrap();
    bytes.map(usize::from_le_bytes)
}
