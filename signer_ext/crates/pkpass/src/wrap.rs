//! Private keys as the database stores them: encrypted under a wrapping key, bound to their
//! certificate.
//!
//! Layout: one version byte, a random 12 byte nonce, AES-256-GCM ciphertext with its 16 byte tag.
//! The associated data are a fixed text, the version, and the certificate's fingerprint: a wrapped
//! key opens for its own certificate alone.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::certificate::SigningCertificate;
use crate::error::{Error, Reason, Result};
use crate::identity::SigningIdentity;
use crate::private_key::PrivateKey;

/// Bytes of a wrapping key.
pub const WRAPPING_KEY_BYTES: usize = 32;

const VERSION: u8 = 1;
const PURPOSE: &[u8] = b"passmill signing key";

impl SigningIdentity {
    /// The private key, encrypted under a wrapping key of 32 bytes.
    pub fn wrap(&self, wrapping_key: &[u8]) -> Result<Vec<u8>> {
        let cipher = cipher(wrapping_key)?;
        let mut text = self.key().to_der()?;
        let nonce_and_tag = cipher
            .seal_in_place_separate_tag(associated_data(self.certificate()), &mut text)
            .map_err(|_| {
                Error::new(Reason::Cryptography, "the crypto library could not wrap the key: retry")
            })?;
        let (nonce, tag) = nonce_and_tag;
        Ok([&[VERSION], nonce.as_ref().as_slice(), &text, tag.as_ref()].concat())
    }

    /// The identity of a certificate whose key was [wrapped](Self::wrap); dates are checked against
    /// `now`.
    pub fn unwrap_key(
        wrapped: &[u8],
        wrapping_key: &[u8],
        certificate: Arc<SigningCertificate>,
        now: i64,
    ) -> Result<Self> {
        let refused = || {
            Error::new(
                Reason::WrappedKeyRefused,
                "the stored private key does not open: it was changed, or belongs to another \
                 wrapping key or certificate; check the wrapping key in the settings, else upload \
                 the identity again",
            )
        };
        let cipher = cipher(wrapping_key)?;
        let (nonce, text) = match wrapped {
            [VERSION, rest @ ..] => rest.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?,
            _ => return Err(refused()),
        };
        let mut text = Zeroizing::new(text.to_vec());
        let key = cipher
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                associated_data(&certificate),
                &mut text,
            )
            .map_err(|_| refused())?;
        let key = PrivateKey::from_der(key)?;
        Self::with_key(certificate, key, now)
    }
}

fn cipher(wrapping_key: &[u8]) -> Result<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, wrapping_key).map_err(|_| {
        Error::new(
            Reason::WrappingKeyLength,
            format!(
                "a wrapping key has {WRAPPING_KEY_BYTES} bytes, not {}: make one with: openssl \
                 rand -hex 32",
                wrapping_key.len()
            ),
        )
    })
}

fn associated_data(certificate: &SigningCertificate) -> Aad<Vec<u8>> {
    Aad::from([PURPOSE, &[VERSION], certificate.fingerprint()].concat())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;

    use super::*;
    use crate::cms::SignedAttributes;
    use crate::testing::{Authority, Issue, KeyType, NOW};

    const KEY: [u8; 32] = [7; 32];

    fn reason(
        wrapped: &[u8],
        key: &[u8],
        certificate: &Arc<SigningCertificate>,
        now: i64,
    ) -> Reason {
        SigningIdentity::unwrap_key(wrapped, key, Arc::clone(certificate), now).unwrap_err().reason
    }

    /// What was wrapped signs again, for both kinds of key; no two wrappings are equal.
    #[test]
    fn opens_again() {
        let authority = Authority::new();
        for key_type in [KeyType::P256, KeyType::Rsa(KeySize::Rsa2048)] {
            let identity = authority.identity(&Issue { key_type, ..Issue::default() });
            let wrapped = identity.wrap(&KEY).unwrap();
            assert_ne!(wrapped, identity.wrap(&KEY).unwrap());
            let certificate = Arc::clone(identity.certificate());
            let opened = SigningIdentity::unwrap_key(&wrapped, &KEY, certificate, NOW).unwrap();
            let attributes = SignedAttributes::new(NOW, &[1; 32]).unwrap();
            assert!(
                identity.certificate().verifies(&attributes, &opened.sign(&attributes).unwrap())
            );
        }
    }

    /// Each flipped bit, each cut, another key and another certificate are refused.
    #[test]
    fn refuses_everything_else() {
        let authority = Authority::new();
        let (identity, other) =
            (authority.identity(&Issue::default()), authority.identity(&Issue::default()));
        let wrapped = identity.wrap(&KEY).unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                reason(&changed, &KEY, identity.certificate(), NOW),
                Reason::WrappedKeyRefused
            );
        }
        for length in 0..wrapped.len() {
            assert_eq!(
                reason(&wrapped[..length], &KEY, identity.certificate(), NOW),
                Reason::WrappedKeyRefused
            );
        }
        assert_eq!(
            reason(&wrapped, &[8; 32], identity.certificate(), NOW),
            Reason::WrappedKeyRefused
        );
        assert_eq!(reason(&wrapped, &KEY, other.certificate(), NOW), Reason::WrappedKeyRefused);
        assert_eq!(
            reason(&wrapped, &KEY[..31], identity.certificate(), NOW),
            Reason::WrappingKeyLength
        );
        assert_eq!(identity.wrap(&[0; 16]).unwrap_err().reason, Reason::WrappingKeyLength);
    }

    /// Dates are checked when a stored key is opened, not only when it came.
    #[test]
    fn checks_dates() {
        let identity = Authority::new().identity(&Issue::default());
        let wrapped = identity.wrap(&KEY).unwrap();
        let end = identity.certificate().not_after();
        assert_eq!(reason(&wrapped, &KEY, identity.certificate(), end + 1), Reason::Expired);
    }
}
