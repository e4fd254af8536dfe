//! Signing identities: a pass certificate, the intermediate that issued it, and the private key,
//! proven to belong together before the first signature. The key stays in the memory of aws-lc and
//! of `rsa_mb`, which wipe it when it is freed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as Pkcs12Error;
use rsa_mb::{Backend, SignError};

use crate::certificate::SigningCertificate;
use crate::cms::SignedAttributes;
use crate::error::{Error, Reason, Result};
use crate::manifest::sha256;
use crate::pem;
use crate::private_key::{PrivateKey, could_not_sign, unreadable_key};
use crate::x509::ParsedCertificate;

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
        Err(withheld())
    }

    /// The same for several passes, in their order; an error says which one where it can.
    ///
    /// RSA-2048 goes through `rsa_mb`, which checks each signature itself; a wrong one that it made
    /// again is added to `repaired`. All other keys, and a lone pass, go straight to aws-lc.
    pub(crate) fn sign_many(
        &self,
        attributes: &[SignedAttributes],
        backend: Backend,
        repaired: &AtomicU64,
    ) -> Result<Vec<Vec<u8>>> {
        let (Some(key), [_, _, ..]) = (self.key.batch(), attributes) else {
            let one = |(item, attributes)| {
                self.sign(attributes).map_err(|error: Error| error.of_item(item))
            };
            return attributes.iter().enumerate().map(one).collect();
        };
        let digests: Vec<_> =
            attributes.iter().map(|one| sha256(one.as_der())).collect::<Result<_>>()?;
        let mut signatures = Vec::new();
        let stats =
            key.sign_many_with(backend, &digests, &mut signatures).map_err(
                |error| match error {
                    SignError::Check => withheld(),
                    _ => could_not_sign(),
                },
            )?;
        repaired.fetch_add(u64::try_from(stats.repaired).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(signatures.iter().map(|signature| signature.to_vec()).collect())
    }
}

fn withheld() -> Error {
    Error::new(
        Reason::SignatureCheck,
        "a fresh signature did not verify with its own public key and was withheld: retry; if it \
         comes back, take this machine out of service",
    )
}

fn read_intermediates<D: AsRef<[u8]>>(intermediates: &[D]) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for intermediate in intermediates {
        found.extend(pem::certificates(intermediate.as_ref(), Reason::UnreadableIntermediate)?);
    }
    Ok(found)
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
