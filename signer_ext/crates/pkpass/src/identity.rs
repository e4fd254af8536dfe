//! Signing identities: a pass certificate, the intermediate that issued it, and the private key,
//! proven to belong together before the first signature. The key stays in aws-lc's memory, which
//! wipes it when it is freed.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use der::Decode;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as Pkcs12Error;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2;
use zeroize::Zeroizing;

use crate::certificate::SigningCertificate;
use crate::cms::SignedAttributes;
use crate::error::{Error, Reason, Result};
use crate::pem;
use crate::x509::ParsedCertificate;

/// Most PBKDF2 iterations tried for an encrypted key; more would be a way to stop the process.
const MAX_ITERATIONS: u32 = 2_000_000;
/// Most memory scrypt may take for an encrypted key, in bytes.
const MAX_SCRYPT_BYTES: u64 = 1 << 28;

/// A certificate with its private key. There is no way to get the key out but
/// [wrapped](Self::wrap).
pub struct SigningIdentity {
    certificate: Arc<SigningCertificate>,
    key: PrivateKey,
}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningIdentity")
            .field("pass_type_identifier", &self.certificate.pass_type_identifier())
            .field("not_after", &self.certificate.not_after())
            .finish_non_exhaustive()
    }
}

impl SigningIdentity {
    /// Loads a PKCS#12 file as Keychain Access and OpenSSL (also with `-legacy`) export it.
    ///
    /// The intermediate is looked for in the file and in `intermediates` (each PEM or DER). `now`
    /// in Unix seconds.
    pub fn from_pkcs12<D: AsRef<[u8]>>(
        data: &[u8],
        password: &str,
        intermediates: &[D],
        now: i64,
    ) -> Result<Self> {
        if data.len() > pem::MAX_INPUT_BYTES {
            return Err(unreadable_pkcs12());
        }
        let archive =
            Pkcs12Archive::from_pkcs12(data, password).map_err(|error| pkcs12_refusal(&error))?;
        let [key] = archive.keys.as_slice() else {
            return Err(Error::new(
                Reason::NoPrivateKey,
                format!(
                    "the PKCS#12 file has {} private keys, and one is needed: in Keychain Access, \
                     export the certificate opened up with its key",
                    archive.keys.len()
                ),
            ));
        };
        let key = PrivateKey::from_der(key.key.as_der())?;
        let mut certificates: Vec<Vec<u8>> =
            archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect();
        if certificates.is_empty() {
            return Err(Error::new(
                Reason::NoCertificate,
                "the PKCS#12 file has no certificate: export certificate and key together",
            ));
        }
        // The leaf is the certificate of this key; if there is none, the first one tells the
        // mismatch.
        let position = certificates
            .iter()
            .position(|der| {
                ParsedCertificate::from_der(der, Reason::UnreadableCertificate)
                    .is_ok_and(|parsed| parsed.public_key_bits() == key.public_bits())
            })
            .unwrap_or(0);
        let leaf = certificates.swap_remove(position);
        certificates.extend(read_intermediates(intermediates)?);
        Self::prove(&leaf, &certificates, key, now)
    }

    /// Loads a certificate (PEM or DER) and a private key (PEM or DER; PKCS#8, encrypted PKCS#8,
    /// PKCS#1 or SEC1).
    ///
    /// Further certificates in the PEM are candidates for the intermediate too. `now` in Unix
    /// seconds.
    pub fn from_pem<D: AsRef<[u8]>>(
        certificate: &[u8],
        private_key: &[u8],
        password: Option<&str>,
        intermediates: &[D],
        now: i64,
    ) -> Result<Self> {
        let mut certificates = pem::certificates(certificate, Reason::UnreadableCertificate)?;
        if certificates.is_empty() {
            return Err(Error::new(
                Reason::NoCertificate,
                "there is no CERTIFICATE block in the PEM: give the pass certificate",
            ));
        }
        let leaf = certificates.remove(0);
        certificates.extend(read_intermediates(intermediates)?);
        let key = PrivateKey::read(private_key, password)?;
        Self::prove(&leaf, &certificates, key, now)
    }

    /// Everything that must hold before the first signature.
    fn prove(leaf: &[u8], candidates: &[Vec<u8>], key: PrivateKey, now: i64) -> Result<Self> {
        Self::with_key(Arc::new(SigningCertificate::issued_by_one_of(leaf, candidates)?), key, now)
    }

    pub(crate) fn with_key(
        certificate: Arc<SigningCertificate>,
        key: PrivateKey,
        now: i64,
    ) -> Result<Self> {
        if key.public_bits() != certificate.public_key_bits() {
            return Err(Error::new(
                Reason::KeyMismatch,
                "the private key does not belong to the certificate: use the key the signing \
                 request was made with",
            ));
        }
        certificate.check_validity(now)?;
        Ok(Self { certificate, key })
    }

    /// The public half.
    #[must_use]
    pub fn certificate(&self) -> &Arc<SigningCertificate> {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Signs the attributes, and lets the signature go only if it verifies with the public key.
    pub fn sign(&self, attributes: &SignedAttributes) -> Result<Vec<u8>> {
        let signature = self.key.sign(attributes.as_der())?;
        if self.certificate.verifies(attributes, &signature) {
            return Ok(signature);
        }
        Err(Error::new(
            Reason::SignatureCheck,
            "a fresh signature did not verify with its own public key and was withheld: retry; if \
             it comes back, take this machine out of service",
        ))
    }
}

fn read_intermediates<D: AsRef<[u8]>>(intermediates: &[D]) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for intermediate in intermediates {
        found.extend(pem::certificates(intermediate.as_ref(), Reason::UnreadableIntermediate)?);
    }
    Ok(found)
}

/// A private key in aws-lc's memory.
pub(crate) enum PrivateKey {
    Rsa(Box<rsa::KeyPair>),
    EcdsaP256(Box<EcdsaKeyPair>),
}

impl PrivateKey {
    /// Reads PEM or DER, decrypting PKCS#8 if need be.
    fn read(data: &[u8], password: Option<&str>) -> Result<Self> {
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
            return Ok(Self::Rsa(Box::new(key)));
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
    fn public_bits(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.public_key().as_ref(),
            Self::EcdsaP256(key) => key.public_key().as_ref(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed =
            |_| Error::new(Reason::Cryptography, "the crypto library could not sign: retry");
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::EcdsaP256(key) => {
                Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
        }
    }

    /// The key as DER, for wrapping only: PKCS#8 of an RSA key, SEC1 of a P-256 key.
    pub(crate) fn to_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        let failed =
            |_| Error::new(Reason::Cryptography, "the crypto library could not encode the key");
        // The library's own buffers wipe themselves too.
        Ok(match self {
            Self::Rsa(key) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
                Zeroizing::new(der.as_ref().to_vec())
            }
            Self::EcdsaP256(key) => {
                let der: aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_> =
                    key.private_key().as_der().map_err(failed)?;
                Zeroizing::new(der.as_ref().to_vec())
            }
        })
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

fn unreadable_key() -> Error {
    Error::new(
        Reason::UnreadablePrivateKey,
        "the private key cannot be read: give PKCS#8, PKCS#1 or SEC1 as PEM or DER, complete and \
         unchanged",
    )
}

fn unreadable_pkcs12() -> Error {
    Error::new(
        Reason::UnreadablePkcs12,
        "the PKCS#12 file cannot be read, or is cut short: export it again as .p12, and upload \
         the file itself",
    )
}

fn pkcs12_refusal(error: &Pkcs12Error) -> Error {
    match error {
        Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_) => {
            Error::new(
                Reason::WrongPassword,
                "the password does not open the PKCS#12 file: give the one it was exported with",
            )
        }
        Pkcs12Error::UnsupportedEncryptionScheme
        | Pkcs12Error::UnsupportedMacAlgorithm
        | Pkcs12Error::InvalidParameters => Error::new(
            Reason::UnsupportedEncryption,
            "the PKCS#12 file's encryption is not supported; convert it with: openssl pkcs12 \
             -legacy -in old.p12 -nodes -out all.pem && openssl pkcs12 -export -in all.pem -out \
             new.p12",
        ),
        Pkcs12Error::InvalidPrivateKey => unreadable_key(),
        _ => unreadable_pkcs12(),
    }
}
