//! X.509 certificates as far as passes need them: fields, exact bytes, keys and signatures.

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    VerificationAlgorithm,
};
use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier,
};

use crate::cms::SignatureAlgorithm;
use crate::error::{Error, Reason, Result};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// Largest certificate read, in bytes. Real ones have about 1,600.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// A certificate's key, ready to verify with.
#[derive(Debug)]
pub(crate) struct PublicKey {
    pub(crate) parsed: ParsedPublicKey,
    /// Bits of the modulus; `None` is P-256.
    pub(crate) rsa_bits: Option<usize>,
}

impl PublicKey {
    pub(crate) fn of(certificate: &ParsedCertificate) -> Result<Self> {
        let unsupported = |what: &str| {
            Error::new(
                Reason::UnsupportedKey,
                format!(
                    "the certificate has {what}; RSA of 2048, 3072 or 4096 bits and P-256 are \
                     supported: make a new signing request"
                ),
            )
        };
        let spki = certificate.parsed.tbs_certificate().subject_public_key_info();
        let curve = spki
            .algorithm
            .parameters
            .as_ref()
            .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let (algorithm, is_rsa): (&'static dyn VerificationAlgorithm, bool) =
            match (spki.algorithm.oid, curve) {
                (RSA_ENCRYPTION, _) => (&RSA_PKCS1_2048_8192_SHA256, true),
                (EC_PUBLIC_KEY, Some(P256)) => (&ECDSA_P256_SHA256_ASN1, false),
                (other, _) => {
                    return Err(unsupported(&format!(
                        "a key of algorithm {other} that is none of these"
                    )));
                }
            };
        let parsed = ParsedPublicKey::new(algorithm, certificate.public_key_bits())
            .map_err(|_| unsupported("a key that cannot be used"))?;
        let rsa_bits = if is_rsa {
            Some(
                rsa_bits(certificate.public_key_bits())
                    .ok_or_else(|| unsupported("a damaged RSA key"))?,
            )
        } else {
            None
        };
        match rsa_bits {
            None | Some(2048 | 3072 | 4096) => Ok(Self { parsed, rsa_bits }),
            Some(bits) => Err(unsupported(&format!("an RSA key of {bits} bits"))),
        }
    }

    pub(crate) fn signature_algorithm(&self) -> SignatureAlgorithm {
        if self.rsa_bits.is_some() {
            SignatureAlgorithm::Rsa
        } else {
            SignatureAlgorithm::EcdsaP256
        }
    }
}

/// Bits of the modulus of an `RSAPublicKey`.
fn rsa_bits(public_key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(public_key).ok()?;
    let modulus = reader.sequence(|fields| {
        let modulus = fields.decode::<der::asn1::UintRef<'_>>()?;
        fields.tlv_bytes()?; // public exponent
        Ok::<_, der::Error>(modulus)
    });
    let modulus = modulus.ok()?.as_bytes();
    let first = modulus.first()?;
    Some(modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

/// A certificate together with the pieces of its own bytes that must be used exactly as they stand
/// in it.
#[derive(Debug)]
pub(crate) struct ParsedCertificate {
    pub(crate) der: Vec<u8>,
    pub(crate) parsed: Certificate,
    /// `TBSCertificate`: what the issuer signed.
    signed: Vec<u8>,
    pub(crate) serial_der: Vec<u8>,
    pub(crate) issuer_der: Vec<u8>,
    pub(crate) subject_der: Vec<u8>,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl ParsedCertificate {
    pub(crate) fn from_der(der: &[u8], reason: Reason) -> Result<Self> {
        let unreadable = |_| {
            Error::new(
                reason,
                "a certificate cannot be read: give it as PEM or DER (.cer), as downloaded from \
                 Apple",
            )
        };
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(unreadable(der::Error::incomplete(der::Length::ZERO)));
        }
        let parsed = Certificate::from_der(der).map_err(unreadable)?;
        let tbs = parsed.tbs_certificate();
        let seconds = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
        };
        let (not_before, not_after) =
            (seconds(tbs.validity().not_before), seconds(tbs.validity().not_after));
        let (signed, serial_der) = raw_pieces(der).map_err(unreadable)?;
        let issuer_der = tbs.issuer().to_der().map_err(unreadable)?;
        let subject_der = tbs.subject().to_der().map_err(unreadable)?;
        Ok(Self {
            der: der.to_vec(),
            signed: signed.to_vec(),
            serial_der: serial_der.to_vec(),
            issuer_der,
            subject_der,
            not_before,
            not_after,
            parsed,
        })
    }

    pub(crate) fn subject(&self, attribute: ObjectIdentifier) -> Option<String> {
        let value =
            self.parsed.tbs_certificate().subject().by_oid::<DirectoryString>(attribute).ok()??;
        Some(value.value().into_owned()).filter(|text| !text.is_empty())
    }

    pub(crate) fn extension<'a, T: Decode<'a, Error = der::Error> + AssociatedOid>(
        &'a self,
    ) -> Option<T> {
        self.parsed.tbs_certificate().get_extension::<T>().ok().flatten().map(|(_, value)| value)
    }

    pub(crate) fn subject_key_identifier(&self) -> Option<Vec<u8>> {
        self.extension::<SubjectKeyIdentifier>().map(|identifier| identifier.0.as_bytes().to_vec())
    }

    pub(crate) fn authority_key_identifier(&self) -> Option<Vec<u8>> {
        Some(self.extension::<AuthorityKeyIdentifier>()?.key_identifier?.as_bytes().to_vec())
    }

    pub(crate) fn is_authority(&self) -> bool {
        self.extension::<BasicConstraints>().is_some_and(|constraints| constraints.ca)
            && self.extension::<KeyUsage>().is_none_or(|usage| usage.key_cert_sign())
    }

    pub(crate) fn public_key_bits(&self) -> &[u8] {
        self.parsed.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes()
    }

    /// Whether the issuer's key made this certificate's signature.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm =
            match self.parsed.signature_algorithm().oid {
                SHA256_WITH_RSA => &RSA_PKCS1_2048_8192_SHA256,
                SHA384_WITH_RSA => &RSA_PKCS1_2048_8192_SHA384,
                SHA512_WITH_RSA => &RSA_PKCS1_2048_8192_SHA512,
                ECDSA_WITH_SHA256 => &ECDSA_P256_SHA256_ASN1,
                ECDSA_WITH_SHA384 => &ECDSA_P384_SHA384_ASN1,
                _ => return false,
            };
        signature::UnparsedPublicKey::new(algorithm, issuer.public_key_bits())
            .verify(&self.signed, self.parsed.signature().raw_bytes())
            .is_ok()
    }

    pub(crate) fn validity_text(&self) -> (String, String) {
        let validity = self.parsed.tbs_certificate().validity();
        (
            validity.not_before.to_date_time().to_string(),
            validity.not_after.to_date_time().to_string(),
        )
    }
}

/// `TBSCertificate` and `serialNumber` of a certificate, as they stand in it. [RFC 5280, section
/// 4.1]
fn raw_pieces(der: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let signed = reader.sequence(|certificate| {
        let signed = certificate.tlv_bytes()?;
        certificate.tlv_bytes()?; // signatureAlgorithm
        certificate.tlv_bytes()?; // signatureValue
        Ok::<_, der::Error>(signed)
    })?;
    let mut reader = SliceReader::new(signed)?;
    let serial_number = reader.sequence(|fields| {
        let version_or_serial = fields.tlv_bytes()?;
        let serial = if version_or_serial.first() == Some(&0xa0) {
            fields.tlv_bytes()?
        } else {
            version_or_serial
        };
        let rest = fields.remaining_len();
        fields.read_slice(rest)?;
        Ok::<_, der::Error>(serial)
    })?;
    Ok((signed, serial_number))
}
