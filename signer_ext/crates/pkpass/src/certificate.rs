//! The public half of a signing identity: what a pass certificate says, and the proof that it says it consistently.

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    VerificationAlgorithm,
};
use der::asn1::{ObjectIdentifier, Utf8StringRef};
use der::oid::AssociatedOid;
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};

use crate::cms::{CmsFrame, SignatureAlgorithm, SignedAttributes};
use crate::error::{Error, Reason, Result};
use crate::manifest::{Sha256, hex, sha256};

/// Subject attribute UID. [RFC 4519, section 2.39]
const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
/// Apple: the pass type identifier, as `UTF8String`.
const PASS_TYPE_EXTENSION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.1.16");
/// Apple: extended key usage "pass signing".
const PASS_SIGNING_USAGE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113635.100.4.14");
/// `clientAuth`. [RFC 5280, section 4.2.1.12]
const CLIENT_AUTH_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// Apple's common name begins with this when the pass type may carry NFC payloads.
const NFC_COMMON_NAME: &str = "Pass Type ID with NFC:";

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

/// A pass certificate with the intermediate that issued it; enough to assemble and to verify, not to sign.
#[derive(Debug)]
pub struct SigningCertificate {
    pass_type_identifier: String,
    team_identifier: String,
    organization: String,
    common_name: String,
    leaf: ParsedCertificate,
    intermediate: ParsedCertificate,
    key: PublicKey,
    frame: CmsFrame,
    fingerprint: Sha256,
}

impl SigningCertificate {
    /// Proves that the leaf (DER) is a pass certificate and that the intermediate (DER) issued it.
    pub fn from_der(leaf: &[u8], intermediate: &[u8]) -> Result<Self> {
        Self::issued_by_one_of(leaf, &[intermediate])
    }

    /// Proves that the leaf (DER) is a pass certificate and finds its issuer among the candidates (DER).
    pub fn issued_by_one_of<D: AsRef<[u8]>>(leaf: &[u8], candidates: &[D]) -> Result<Self> {
        let leaf = ParsedCertificate::from_der(leaf, Reason::UnreadableCertificate)?;
        let pass_type_identifier = prove_pass_type_identifier(&leaf)?;
        let team_identifier = leaf.subject(ORGANIZATIONAL_UNIT).ok_or_else(|| {
            Error::new(Reason::NoTeamIdentifier, "the certificate's subject has no OU (team identifier): it is not a pass certificate from Apple")
        })?;
        prove_usage(&leaf)?;
        let key = PublicKey::of(&leaf)?;
        let intermediate = find_issuer(&leaf, candidates)?;
        let frame = CmsFrame::new(
            &leaf.der,
            &intermediate.der,
            &leaf.issuer_der,
            &leaf.serial_der,
            key.signature_algorithm(),
        );
        Ok(Self {
            pass_type_identifier,
            team_identifier,
            organization: leaf.subject(ORGANIZATION).unwrap_or_default(),
            common_name: leaf.subject(COMMON_NAME).unwrap_or_default(),
            fingerprint: sha256(&leaf.der)?,
            leaf,
            intermediate,
            key,
            frame,
        })
    }

    /// The certificate's UID, proven equal to extension 1.2.840.113635.100.6.1.16.
    #[must_use]
    pub fn pass_type_identifier(&self) -> &str {
        &self.pass_type_identifier
    }

    /// The certificate's OU.
    #[must_use]
    pub fn team_identifier(&self) -> &str {
        &self.team_identifier
    }

    /// The certificate's O, or nothing.
    #[must_use]
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// The certificate's CN, or nothing.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// First second at which leaf and intermediate are both valid (Unix seconds).
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.leaf.not_before.max(self.intermediate.not_before)
    }

    /// Last second at which leaf and intermediate are both valid (Unix seconds).
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.leaf.not_after.min(self.intermediate.not_after)
    }

    /// The serial number as lower-case hex, without a sign octet.
    #[must_use]
    pub fn serial_number(&self) -> String {
        let serial = self.leaf.parsed.tbs_certificate().serial_number().as_bytes();
        let serial = match serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            whole => whole,
        };
        hex(serial)
    }

    /// SHA-256 of the leaf.
    #[must_use]
    pub fn fingerprint(&self) -> &Sha256 {
        &self.fingerprint
    }

    /// `RSA-2048`, `RSA-3072`, `RSA-4096` or `P-256`.
    #[must_use]
    pub fn key_algorithm(&self) -> String {
        match self.key.rsa_bits {
            Some(bits) => format!("RSA-{bits}"),
            None => "P-256".to_owned(),
        }
    }

    /// Whether passes of this certificate may have an `nfc` dictionary.
    #[must_use]
    pub fn is_nfc_capable(&self) -> bool {
        self.common_name.starts_with(NFC_COMMON_NAME)
    }

    /// The leaf.
    #[must_use]
    pub fn leaf_der(&self) -> &[u8] {
        &self.leaf.der
    }

    /// The intermediate that issued the leaf.
    #[must_use]
    pub fn intermediate_der(&self) -> &[u8] {
        &self.intermediate.der
    }

    /// Proves that leaf and intermediate are valid at a time (Unix seconds).
    pub fn check_validity(&self, time: i64) -> Result<()> {
        let checks = [
            (&self.leaf, "pass certificate", Reason::NotYetValid, Reason::Expired),
            (
                &self.intermediate,
                "WWDR intermediate",
                Reason::IntermediateNotYetValid,
                Reason::IntermediateExpired,
            ),
        ];
        for (certificate, name, early, late) in checks {
            if time < certificate.not_before {
                let from = certificate.validity_text().0;
                return Err(Error::new(
                    early,
                    format!("the {name} is not valid before {from}: check the clock, or wait"),
                ));
            }
            if time > certificate.not_after {
                let until = certificate.validity_text().1;
                return Err(Error::new(
                    late,
                    format!(
                        "the {name} expired at {until}: renew it in Apple's developer account and upload the new one"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Proves that the intermediate was issued by this root (DER), and that the root is valid at a time.
    pub fn check_root(&self, root: &[u8], time: i64) -> Result<()> {
        let untrusted = |why: &str| {
            Error::new(
                Reason::UntrustedRoot,
                format!("the WWDR intermediate does not lead to the given root: {why}"),
            )
        };
        let root = ParsedCertificate::from_der(root, Reason::UntrustedRoot)?;
        if root.subject_der != self.intermediate.issuer_der {
            return Err(untrusted("it names another issuer"));
        }
        if !root.is_authority() {
            return Err(untrusted("the root may not issue certificates"));
        }
        if !self.intermediate.is_signed_by(&root) {
            return Err(untrusted("its signature is not the root's"));
        }
        if !(root.not_before..=root.not_after).contains(&time) {
            return Err(untrusted("the root is not valid at the signing time"));
        }
        Ok(())
    }

    /// The CMS with these attributes and their signature.
    #[must_use]
    pub fn cms(&self, attributes: &SignedAttributes, signature: &[u8]) -> Vec<u8> {
        self.frame.fill(attributes, signature)
    }

    /// Whether the signature is the certificate's over these attributes.
    #[must_use]
    pub fn verifies(&self, attributes: &SignedAttributes, signature: &[u8]) -> bool {
        self.key.parsed.verify_sig(attributes.as_der(), signature).is_ok()
    }

    /// Which algorithm the certificate's key signs with.
    #[must_use]
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.key.signature_algorithm()
    }

    /// Bytes of a signature; the most there can be for P-256, whose signatures vary.
    #[must_use]
    pub fn signature_bytes(&self) -> usize {
        self.key.rsa_bits.map_or(72, |bits| bits / 8)
    }

    /// The subject public key as it stands in the certificate's bit string.
    #[must_use]
    pub fn public_key_bits(&self) -> &[u8] {
        self.leaf.public_key_bits()
    }
}

/// A certificate's key, ready to verify with.
#[derive(Debug)]
struct PublicKey {
    parsed: ParsedPublicKey,
    /// Bits of the modulus; `None` is P-256.
    rsa_bits: Option<usize>,
}

impl PublicKey {
    fn of(certificate: &ParsedCertificate) -> Result<Self> {
        let unsupported = |what: &str| {
            Error::new(
                Reason::UnsupportedKey,
                format!(
                    "the certificate has {what}; RSA of 2048, 3072 or 4096 bits and P-256 are supported: make a new signing request"
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

    fn signature_algorithm(&self) -> SignatureAlgorithm {
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

/// A certificate together with the pieces of its own bytes that must be used exactly as they stand in it.
#[derive(Debug)]
pub(crate) struct ParsedCertificate {
    der: Vec<u8>,
    parsed: Certificate,
    /// `TBSCertificate`: what the issuer signed.
    signed: Vec<u8>,
    serial_der: Vec<u8>,
    issuer_der: Vec<u8>,
    subject_der: Vec<u8>,
    not_before: i64,
    not_after: i64,
}

impl ParsedCertificate {
    pub(crate) fn from_der(der: &[u8], reason: Reason) -> Result<Self> {
        let unreadable = |_| {
            Error::new(
                reason,
                "a certificate cannot be read: give it as PEM or DER (.cer), as downloaded from Apple",
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

    fn subject(&self, attribute: ObjectIdentifier) -> Option<String> {
        let value =
            self.parsed.tbs_certificate().subject().by_oid::<DirectoryString>(attribute).ok()??;
        Some(value.value().into_owned()).filter(|text| !text.is_empty())
    }

    fn extension<'a, T: Decode<'a, Error = der::Error> + AssociatedOid>(&'a self) -> Option<T> {
        self.parsed.tbs_certificate().get_extension::<T>().ok().flatten().map(|(_, value)| value)
    }

    fn subject_key_identifier(&self) -> Option<Vec<u8>> {
        self.extension::<SubjectKeyIdentifier>().map(|identifier| identifier.0.as_bytes().to_vec())
    }

    fn authority_key_identifier(&self) -> Option<Vec<u8>> {
        Some(self.extension::<AuthorityKeyIdentifier>()?.key_identifier?.as_bytes().to_vec())
    }

    fn is_authority(&self) -> bool {
        self.extension::<BasicConstraints>().is_some_and(|constraints| constraints.ca)
            && self.extension::<KeyUsage>().is_none_or(|usage| usage.key_cert_sign())
    }

    pub(crate) fn public_key_bits(&self) -> &[u8] {
        self.parsed.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes()
    }

    /// Whether the issuer's key made this certificate's signature.
    fn is_signed_by(&self, issuer: &Self) -> bool {
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

    fn validity_text(&self) -> (String, String) {
        let validity = self.parsed.tbs_certificate().validity();
        (
            validity.not_before.to_date_time().to_string(),
            validity.not_after.to_date_time().to_string(),
        )
    }
}

/// `TBSCertificate` and `serialNumber` of a certificate, as they stand in it. [RFC 5280, section 4.1]
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

fn prove_pass_type_identifier(leaf: &ParsedCertificate) -> Result<String> {
    let identifier = leaf.subject(USER_ID).ok_or_else(|| {
        Error::new(
            Reason::NoPassTypeIdentifier,
            "the certificate's subject has no UID (pass type identifier): upload a Pass Type ID certificate, not another kind",
        )
    })?;
    let extensions = leaf.parsed.tbs_certificate().extensions();
    let extension = extensions
        .and_then(|extensions| extensions.iter().find(|extension| extension.extn_id == PASS_TYPE_EXTENSION))
        .and_then(|extension| Utf8StringRef::from_der(extension.extn_value.as_bytes()).ok())
        .ok_or_else(|| {
            Error::new(
                Reason::NoPassTypeExtension,
                format!("the certificate has no readable extension {PASS_TYPE_EXTENSION}, by which Wallet checks the pass type: upload a Pass Type ID certificate from Apple"),
            )
        })?;
    if extension.as_str() != identifier {
        return Err(Error::new(
            Reason::PassTypeIdentifierMismatch,
            format!(
                "the certificate names two pass types, {identifier:?} in its subject and {:?} in extension {PASS_TYPE_EXTENSION}: Wallet refuses its passes; get a new certificate",
                extension.as_str()
            ),
        ));
    }
    Ok(identifier)
}

fn prove_usage(leaf: &ParsedCertificate) -> Result<()> {
    let usages = leaf.extension::<ExtendedKeyUsage>().map(|usage| usage.0).unwrap_or_default();
    for (usage, name) in
        [(CLIENT_AUTH_USAGE, "client authentication"), (PASS_SIGNING_USAGE, "pass signing")]
    {
        if !usages.contains(&usage) {
            return Err(Error::new(
                Reason::ExtendedKeyUsageMissing,
                format!(
                    "the certificate's extended key usage lacks {name} ({usage}): upload a Pass Type ID certificate from Apple"
                ),
            ));
        }
    }
    if leaf.extension::<KeyUsage>().is_some_and(|usage| !usage.digital_signature()) {
        return Err(Error::new(
            Reason::KeyUsageMissing,
            "the certificate's key usage does not allow digital signatures: upload a Pass Type ID certificate from Apple",
        ));
    }
    Ok(())
}

/// The candidate that issued the leaf: same name, same key identifier, and its key made the signature.
///
/// Never "the newest": several generations of Apple's intermediate have one name.
fn find_issuer<D: AsRef<[u8]>>(
    leaf: &ParsedCertificate,
    candidates: &[D],
) -> Result<ParsedCertificate> {
    let wanted = leaf.authority_key_identifier().ok_or_else(|| {
        Error::new(Reason::NoAuthorityKeyIdentifier, "the certificate does not say which key issued it (no authority key identifier): it is not from Apple")
    })?;
    let mut found: Option<ParsedCertificate> = None;
    let mut closest = None;
    for candidate in candidates {
        let candidate =
            ParsedCertificate::from_der(candidate.as_ref(), Reason::UnreadableIntermediate)?;
        let is_named = candidate.subject_der == leaf.issuer_der
            && candidate.subject_key_identifier().as_deref() == Some(&wanted);
        if !is_named {
            continue;
        }
        if !candidate.is_authority() {
            closest = Some(Error::new(
                Reason::IssuerNotAnAuthority,
                "the intermediate may not issue certificates: download Apple's WWDR intermediate again",
            ));
        } else if !leaf.is_signed_by(&candidate) {
            closest = Some(Error::new(
                Reason::IssuerSignatureInvalid,
                "the intermediate has the right name and key identifier, but its key did not sign the certificate: download both again",
            ));
        } else if found.as_ref().is_none_or(|other| other.not_after < candidate.not_after) {
            found = Some(candidate); // one key may have several certificates: take the longest-lived
        }
    }
    if let Some(issuer) = found {
        return Ok(issuer);
    }
    Err(closest.unwrap_or_else(|| {
        let key: Vec<String> = wanted.iter().map(|byte| format!("{byte:02X}")).collect();
        Error::new(
            Reason::IssuerNotFound,
            format!(
                "none of the {} intermediates given issued the certificate: add the WWDR intermediate with subject key identifier {} (for certificates made since 2022-01-27 it is G4, from Apple's certificate authority page)",
                candidates.len(),
                key.join(":"),
            ),
        )
    }))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::*;
    use crate::cms::tlv;
    use crate::testing::{self, Authority, Issue, KeyType, NOW, oid};

    fn reason(leaf: &[u8], candidates: &[Vec<u8>]) -> Reason {
        SigningCertificate::issued_by_one_of(leaf, candidates).unwrap_err().reason
    }

    /// Everything a pass certificate says is read.
    #[test]
    fn reads_a_pass_certificate() {
        let authority = Authority::new();
        let (leaf, _) = authority.issue(&Issue::default());
        let certificate = SigningCertificate::from_der(&leaf, &authority.intermediate()).unwrap();
        assert_eq!(certificate.pass_type_identifier(), testing::PASS_TYPE);
        assert_eq!(certificate.team_identifier(), "TEAM123456");
        assert_eq!(certificate.organization(), "Example");
        assert_eq!(certificate.common_name(), "Pass Type ID: pass.example.test");
        assert_eq!(certificate.serial_number(), "2a");
        assert_eq!(certificate.key_algorithm(), "P-256");
        assert_eq!(
            (certificate.not_before(), certificate.not_after()),
            (1_767_225_600, 1_801_440_000)
        );
        assert_eq!(certificate.fingerprint(), &sha256(&leaf).unwrap());
        assert_eq!(certificate.leaf_der(), leaf);
        assert_eq!(certificate.signature_bytes(), 72);
        assert!(!certificate.is_nfc_capable());
    }

    /// Each thing that must be there is refused by its own reason when it is not.
    #[test]
    fn refuses_what_is_not_a_pass_certificate() {
        let good = Issue::default;
        let one_usage = |usage: &str| Some(tlv(0x30, &[&oid(usage)]));
        let cases = [
            (good().without_subject(testing::UID), Reason::NoPassTypeIdentifier),
            (good().without_subject(testing::ORGANIZATIONAL_UNIT), Reason::NoTeamIdentifier),
            (
                good().with_extension(testing::PASS_TYPE_EXTENSION, None),
                Reason::NoPassTypeExtension,
            ),
            (
                good().with_extension(
                    testing::PASS_TYPE_EXTENSION,
                    Some(tlv(0x16, &[b"pass.example.test"])),
                ),
                Reason::NoPassTypeExtension,
            ),
            (
                good().with_extension(
                    testing::PASS_TYPE_EXTENSION,
                    Some(tlv(0x0c, &[b"pass.example.other"])),
                ),
                Reason::PassTypeIdentifierMismatch,
            ),
            (
                good().with_extension(testing::EXTENDED_KEY_USAGE, None),
                Reason::ExtendedKeyUsageMissing,
            ),
            (
                good().with_extension(testing::EXTENDED_KEY_USAGE, one_usage("1.3.6.1.5.5.7.3.2")),
                Reason::ExtendedKeyUsageMissing,
            ),
            (
                good().with_extension(
                    testing::EXTENDED_KEY_USAGE,
                    one_usage("1.2.840.113635.100.4.14"),
                ),
                Reason::ExtendedKeyUsageMissing,
            ),
            (
                good().with_extension(testing::KEY_USAGE, Some(b"\x03\x02\x05\x20".to_vec())),
                Reason::KeyUsageMissing,
            ),
            (Issue { names_issuer_key: false, ..good() }, Reason::NoAuthorityKeyIdentifier),
        ];
        let authority = Authority::new();
        for (issue, expected) in cases {
            assert_eq!(reason(&authority.issue(&issue).0, &[authority.intermediate()]), expected);
        }
        let unrestricted = good().with_extension(testing::KEY_USAGE, None);
        assert_eq!(authority.signing_certificate(&unrestricted).team_identifier(), "TEAM123456");
    }

    /// The issuer is chosen by key, among others of the same name; a renewed one with the latest end wins.
    #[test]
    fn finds_the_issuer() {
        let (authority, other) = (Authority::new(), Authority::new());
        let (leaf, _) = authority.issue(&Issue::default());
        let renewed = authority.intermediate_with(true, "350101000000Z");
        let candidates = [other.intermediate(), authority.intermediate(), renewed.clone()];
        let found = SigningCertificate::issued_by_one_of(&leaf, &candidates).unwrap();
        assert_eq!(found.intermediate_der(), renewed);
        let reversed: Vec<_> = candidates.into_iter().rev().collect();
        assert_eq!(
            SigningCertificate::issued_by_one_of(&leaf, &reversed).unwrap().intermediate_der(),
            renewed
        );
    }

    /// Wrong issuers: none, another generation, one that may not issue, one with the same identifier but another key.
    #[test]
    fn refuses_wrong_issuers() {
        let (authority, other) = (Authority::new(), Authority::new());
        let (leaf, _) = authority.issue(&Issue::default());
        assert_eq!(reason(&leaf, &[]), Reason::IssuerNotFound);
        assert_eq!(reason(&leaf, &[other.intermediate()]), Reason::IssuerNotFound);
        let no_authority = authority.intermediate_with(false, "300101000000Z");
        assert_eq!(reason(&leaf, &[no_authority]), Reason::IssuerNotAnAuthority);
        let mut forged = leaf.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(reason(&forged, &[authority.intermediate()]), Reason::IssuerSignatureInvalid);
        assert_eq!(reason(&leaf, &[b"junk".to_vec()]), Reason::UnreadableIntermediate);
        assert_eq!(reason(b"junk", &[authority.intermediate()]), Reason::UnreadableCertificate);
        assert_eq!(
            reason(&vec![0x30; MAX_CERTIFICATE_BYTES + 1], &[]),
            Reason::UnreadableCertificate
        );
    }

    /// RSA of the sizes in use is told by its bits; other sizes are refused.
    #[test]
    fn knows_key_types() {
        let authority = Authority::new();
        for (size, name, bytes) in
            [(KeySize::Rsa2048, "RSA-2048", 256), (KeySize::Rsa3072, "RSA-3072", 384)]
        {
            let issue = Issue { key_type: KeyType::Rsa(size), ..Issue::default() };
            let certificate = authority.signing_certificate(&issue);
            assert_eq!(
                (certificate.key_algorithm().as_str(), certificate.signature_bytes()),
                (name, bytes)
            );
            assert_eq!(certificate.signature_algorithm(), SignatureAlgorithm::Rsa);
        }
        let modulus = [[0].as_slice(), &[0xc1; 2560 / 8]].concat();
        let public_key = tlv(0x30, &[&tlv(0x02, &[&modulus]), b"\x02\x03\x01\x00\x01"]);
        let rsa = tlv(0x30, &[&oid("1.2.840.113549.1.1.1"), b"\x05\x00"]);
        let key = tlv(0x30, &[&rsa, &tlv(0x03, &[&[0], &public_key])]);
        assert_eq!(
            reason(&authority.issue_for(&Issue::default(), &key), &[authority.intermediate()]),
            Reason::UnsupportedKey
        );
        let ed25519 = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"
            .iter()
            .copied()
            .chain([9; 32])
            .collect::<Vec<u8>>();
        assert_eq!(
            reason(&authority.issue_for(&Issue::default(), &ed25519), &[authority.intermediate()]),
            Reason::UnsupportedKey
        );
    }

    /// The NFC capability is read from the common name.
    #[test]
    fn knows_nfc() {
        let mut issue = Issue::default().without_subject(testing::COMMON_NAME);
        issue.subject.push((testing::COMMON_NAME, "Pass Type ID with NFC: pass.example.test"));
        assert!(Authority::new().signing_certificate(&issue).is_nfc_capable());
    }

    /// The first and the last second count; one further does not, and the reason says whose and which end.
    #[test]
    fn checks_dates_to_the_second() {
        let authority = Authority::new();
        let certificate = authority.signing_certificate(&Issue::default());
        let at = |time: i64| certificate.check_validity(time).map_err(|error| error.reason);
        assert_eq!(at(certificate.not_before()), Ok(()));
        assert_eq!(at(certificate.not_after()), Ok(()));
        assert_eq!(at(certificate.not_before() - 1), Err(Reason::NotYetValid));
        assert_eq!(at(certificate.not_after() + 1), Err(Reason::Expired));

        let (leaf, _) = authority.issue(&Issue {
            from: "100101000000Z",
            until: "490101000000Z",
            ..Issue::default()
        });
        let long = SigningCertificate::from_der(&leaf, &authority.intermediate()).unwrap();
        let at = |time: i64| long.check_validity(time).map_err(|error| error.reason);
        assert_eq!((long.not_before(), long.not_after()), (1_577_836_800, 1_893_456_000));
        assert_eq!(at(long.not_before() - 1), Err(Reason::IntermediateNotYetValid));
        assert_eq!(at(long.not_after() + 1), Err(Reason::IntermediateExpired));
    }

    /// Only the root that issued the intermediate, at a time within its validity, is accepted.
    #[test]
    fn checks_the_root() {
        let (authority, other) = (Authority::new(), Authority::new());
        let certificate = authority.signing_certificate(&Issue::default());
        let with = |root: &[u8], time: i64| {
            certificate.check_root(root, time).map_err(|error| error.reason)
        };
        assert_eq!(with(&authority.root(), NOW), Ok(()));
        for (root, time) in [
            (other.root(), NOW),
            (authority.intermediate(), NOW),
            (authority.root(), 2_208_988_801),
            (authority.root(), 1_577_836_799),
            (b"junk".to_vec(), NOW),
        ] {
            assert_eq!(with(&root, time), Err(Reason::UntrustedRoot));
        }
    }

    /// A certificate signs for nobody but itself.
    #[test]
    fn verifies_only_its_own_signatures() {
        let identity = Authority::new().identity(&Issue::default());
        let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let attributes = SignedAttributes::new(NOW, &[3; 32]).unwrap();
        let signature = identity.sign(&attributes).unwrap();
        assert!(identity.certificate().verifies(&attributes, &signature));
        assert!(
            !identity
                .certificate()
                .verifies(&SignedAttributes::new(NOW + 1, &[3; 32]).unwrap(), &signature)
        );
        let foreign =
            other.sign(&aws_lc_rs::rand::SystemRandom::new(), attributes.as_der()).unwrap();
        assert!(!identity.certificate().verifies(&attributes, foreign.as_ref()));
    }
}
