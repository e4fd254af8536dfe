//! Signatures of TLS handshakes: Apple's push service knows a pass type by its certificate.
//!
//! The key does what it must and stays where it is; nothing hands it to the TLS library.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};

use crate::error::Result;
use crate::identity::SigningIdentity;
use crate::private_key::{PrivateKey, could_not_sign};

/// How a client signs a handshake: the schemes of RFC 8446 section 4.2.3 that pass certificates'
/// keys can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeScheme {
    /// `rsa_pss_rsae_sha256`
    RsaPssSha256,
    /// `rsa_pss_rsae_sha384`
    RsaPssSha384,
    /// `rsa_pss_rsae_sha512`
    RsaPssSha512,
    /// `rsa_pkcs1_sha256`, in TLS 1.2 alone
    RsaPkcs1Sha256,
    /// `ecdsa_secp256r1_sha256`
    EcdsaP256Sha256,
}

impl HandshakeScheme {
    fn rsa_encoding(self) -> Option<&'static dyn RsaEncoding> {
        match self {
            Self::RsaPssSha256 => Some(&RSA_PSS_SHA256),
            Self::RsaPssSha384 => Some(&RSA_PSS_SHA384),
            Self::RsaPssSha512 => Some(&RSA_PSS_SHA512),
            Self::RsaPkcs1Sha256 => Some(&RSA_PKCS1_SHA256),
            Self::EcdsaP256Sha256 => None,
        }
    }
}

impl SigningIdentity {
    /// The schemes that this identity's key can make, the best first.
    #[must_use]
    pub fn handshake_schemes(&self) -> &'static [HandshakeScheme] {
        match self.key() {
            PrivateKey::Rsa(_) => &[
                HandshakeScheme::RsaPssSha256,
                HandshakeScheme::RsaPssSha384,
                HandshakeScheme::RsaPssSha512,
                HandshakeScheme::RsaPkcs1Sha256,
            ],
            PrivateKey::EcdsaP256(_) => &[HandshakeScheme::EcdsaP256Sha256],
        }
    }

    /// Signs a TLS handshake's transcript (`message`, as RFC 8446 section 4.4.3 lays it out) as the
    /// client. [`Reason::Cryptography`](crate::Reason::Cryptography) when the key cannot make the
    /// scheme.
    pub fn sign_handshake(&self, scheme: HandshakeScheme, message: &[u8]) -> Result<Vec<u8>> {
        match (self.key(), scheme.rsa_encoding()) {
            (PrivateKey::Rsa(key), Some(encoding)) => sign_rsa(key.library(), encoding, message),
            (PrivateKey::EcdsaP256(_), None) => self.key().sign(message),
            _ => Err(could_not_sign()),
        }
    }
}

fn sign_rsa(key: &KeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .map_err(|_| could_not_sign())?;
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
        VerificationAlgorithm,
    };

    use super::*;
    use crate::Reason;
    use crate::testing::{Authority, Issue, KeyType};

    fn verifier(scheme: HandshakeScheme) -> &'static dyn VerificationAlgorithm {
        match scheme {
            HandshakeScheme::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
            HandshakeScheme::RsaPssSha384 => &RSA_PSS_2048_8192_SHA384,
            HandshakeScheme::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
            HandshakeScheme::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
            HandshakeScheme::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
        }
    }

    /// Every scheme that a key offers verifies with the certificate's public key, and no other can
    /// be made.
    #[test]
    fn offered_schemes_verify() {
        for (key_type, other) in [
            (KeyType::Rsa(KeySize::Rsa2048), HandshakeScheme::EcdsaP256Sha256),
            (KeyType::P256, HandshakeScheme::RsaPssSha256),
        ] {
            let issue = Issue { key_type, ..Issue::default() };
            let identity = Authority::new().identity(&issue);
            let bits = identity.certificate().public_key_bits();
            for scheme in identity.handshake_schemes() {
                let signature = identity.sign_handshake(*scheme, b"transcript").unwrap();
                let key = UnparsedPublicKey::new(verifier(*scheme), bits);
                assert!(key.verify(b"transcript", &signature).is_ok(), "{scheme:?}");
                assert!(key.verify(b"another", &signature).is_err(), "{scheme:?}");
            }
            let refused = identity.sign_handshake(other, b"transcript").unwrap_err();
            assert_eq!(refused.reason, Reason::Cryptography);
        }
    }
}
