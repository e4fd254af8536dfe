//! Private keys: read from what people have, held by aws-lc and `rsa_mb`, and used.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use der::Decode;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2;
use rsa_mb::Rsa2048Key;
use zeroize::Zeroizing;

use crate::error::{Error, Reason, Result};
use crate::pem;

/// Most PBKDF2 iterations tried for an encrypted key; more would be a way to stop the process.
const MAX_ITERATIONS: u32 = 2_000_000;
/// Most memory scrypt may take for an encrypted key, in bytes.
const MAX_SCRYPT_BYTES: u64 = 1 << 28;
/// Bytes of the modulus of RSA-2048.
const RSA_2048_BYTES: usize = 256;

/// A private key, in memory that wipes itself.
pub(crate) enum PrivateKey {
    Rsa(RsaKey),
    EcdsaP256(Box<EcdsaKeyPair>),
}

/// An RSA key as aws-lc holds it, and as several signatures at once need it.
pub(crate) struct RsaKey {
    library: Box<rsa::KeyPair>,
    /// Only of RSA-2048 with two primes of 1024 bits, as every known tool makes it.
    batch: Option<Box<Rsa2048Key>>,
}

impl RsaKey {
    fn new(library: rsa::KeyPair) -> Result<Self> {
        let batch = match library.public_modulus_len() {
            // From aws-lc's own encoding, not from the file: so both hold the same key.
            RSA_2048_BYTES => Rsa2048Key::from_der(&rsa_der(&library)?).ok().map(Box::new),
            _ => None,
        };
        Ok(Self { library: Box::new(library), batch })
    }

    pub(crate) fn library(&self) -> &rsa::KeyPair {
        &self.library
    }
}

fn rsa_der(key: &rsa::KeyPair) -> Result<Zeroizing<Vec<u8>>> {
    // The library's own buffer wipes itself too.
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().map_err(could_not_encode)?;
    Ok(Zeroizing::new(der.as_ref().to_vec()))
}

fn could_not_encode(_: Unspecified) -> Error {
    Error::new(Reason::Cryptography, "the crypto library could not encode the key")
}

impl PrivateKey {
    /// Reads PEM or DER, decrypting PKCS#8 if need be.
    pub(crate) fn read(data: &[u8], password: Option<&str>) -> Result<Self> {
        if !pem::is_pem(data) {
            return match Self::from_der(data) {
                Err(_) if EncryptedPrivateKeyInfoRef::from_der(data).is_ok() => {
                    decrypt(data, password)
                }
                read => read,
            };
        }
        let blocks = pem::blocks(data, Reason::UnreadablePrivateKey)?;
        let block =
            blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or_else(|| {
                Error::new(
                    Reason::NoPrivateKey,
                    "there is no PRIVATE KEY block in the PEM: give the key the signing request \
                     was made with",
                )
            })?;
        match block.label.as_str() {
            "ENCRYPTED PRIVATE KEY" => decrypt(&block.der, password),
            _ => Self::from_der(&block.der),
        }
    }

    /// Reads an unencrypted key: PKCS#8, PKCS#1 or SEC1.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self> {
        if der.len() > pem::MAX_INPUT_BYTES {
            return Err(unreadable_key());
        }
        if let Ok(key) = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der)) {
            return Ok(Self::Rsa(RsaKey::new(key)?));
        }
        if let Ok(key) = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
            return Ok(Self::EcdsaP256(Box::new(key)));
        }
        if pkcs8::PrivateKeyInfoRef::from_der(der).is_ok() {
            return Err(Error::new(
                Reason::UnsupportedKey,
                "the private key is neither RSA of at least 2048 bits nor P-256: make a new \
                 signing request",
            ));
        }
        Err(unreadable_key())
    }

    /// The public key as a certificate's bit string has it.
    pub(crate) fn public_bits(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.library.public_key().as_ref(),
            Self::EcdsaP256(key) => key.public_key().as_ref(),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| could_not_sign();
        let random = SystemRandom::new();
        match self {
            Self::Rsa(RsaKey { library: key, .. }) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::EcdsaP256(key) => {
                Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
        }
    }

    /// The key as several signatures at once need it, if it is one that can.
    pub(crate) fn batch(&self) -> Option<&Rsa2048Key> {
        match self {
            Self::Rsa(key) => key.batch.as_deref(),
            Self::EcdsaP256(_) => None,
        }
    }

    /// The key as DER, for wrapping only: PKCS#8 of an RSA key, SEC1 of a P-256 key.
    pub(crate) fn to_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Rsa(key) => rsa_der(&key.library),
            Self::EcdsaP256(key) => {
                let der: aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_> =
                    key.private_key().as_der().map_err(could_not_encode)?;
                Ok(Zeroizing::new(der.as_ref().to_vec()))
            }
        }
    }
}

fn decrypt(der: &[u8], password: Option<&str>) -> Result<PrivateKey> {
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| unreadable_key())?;
    let unsupported = || {
        Error::new(
            Reason::UnsupportedEncryption,
            "the private key's encryption is not supported; convert it with: openssl pkcs8 -topk8 \
             -v2 aes-256-cbc -in old.pem -out key.pem",
        )
    };
    let parameters = encrypted.encryption_algorithm.pbes2().ok_or_else(unsupported)?;
    let is_bearable = match &parameters.kdf {
        pbes2::Kdf::Pbkdf2(kdf) => kdf.iteration_count <= MAX_ITERATIONS,
        pbes2::Kdf::Scrypt(kdf) => 128_u64
            .checked_mul(kdf.cost_parameter)
            .and_then(|bytes| bytes.checked_mul(u64::from(kdf.block_size)))
            .and_then(|bytes| bytes.checked_mul(u64::from(kdf.parallelization)))
            .is_some_and(|bytes| bytes <= MAX_SCRYPT_BYTES),
        _ => false,
    };
    if !is_bearable {
        return Err(unsupported());
    }
    let password = password.ok_or_else(|| {
        Error::new(Reason::PasswordRequired, "the private key is encrypted: give its password")
    })?;
    let wrong = || {
        Error::new(
            Reason::WrongPassword,
            "the password does not open the private key: give the one it was encrypted with",
        )
    };
    let document = encrypted.decrypt(password).map_err(|_| wrong())?;
    // One wrong password in 256 leaves plausible padding; what comes out is then no key.
    PrivateKey::from_der(document.as_bytes()).map_err(|error| match error.reason {
        Reason::UnreadablePrivateKey => wrong(),
        _ => error,
    })
}

pub(crate) fn unreadable_key() -> Error {
    Error::new(
        Reason::UnreadablePrivateKey,
        "the private key cannot be read: give PKCS#8, PKCS#1 or SEC1 as PEM or DER, complete and \
         unchanged",
    )
}

pub(crate) fn could_not_sign() -> Error {
    Error::new(Reason::Cryptography, "the crypto library could not sign: retry")
}
