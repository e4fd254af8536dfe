//! What a certificate must say to be a pass certificate, and which intermediate issued it.

use der::Decode;
use der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

use crate::error::{Error, Reason, Result};
use crate::x509::ParsedCertificate;

/// Subject attribute UID. [RFC 4519, section 2.39]
const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
/// Apple: the pass type identifier, as `UTF8String`.
const PASS_TYPE_EXTENSION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.1.16");
/// Apple: extended key usage "pass signing".
const PASS_SIGNING_USAGE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113635.100.4.14");
/// `clientAuth`. [RFC 5280, section 4.2.1.12]
const CLIENT_AUTH_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// The subject's UID, proven equal to Apple's extension.
pub(crate) fn pass_type_identifier(leaf: &ParsedCertificate) -> Result<String> {
    let identifier = leaf.subject(USER_ID).ok_or_else(|| {
        Error::new(
            Reason::NoPassTypeIdentifier,
            "the certificate's subject has no UID (pass type identifier): upload a Pass Type ID \
             certificate, not another kind",
        )
    })?;
    let extensions = leaf.parsed.tbs_certificate().extensions();
    let extension = extensions
        .and_then(|extensions| {
            extensions.iter().find(|extension| extension.extn_id == PASS_TYPE_EXTENSION)
        })
        .and_then(|extension| Utf8StringRef::from_der(extension.extn_value.as_bytes()).ok())
        .ok_or_else(|| {
            Error::new(
                Reason::NoPassTypeExtension,
                format!(
                    "the certificate has no readable extension {PASS_TYPE_EXTENSION}, by which \
                     Wallet checks the pass type: upload a Pass Type ID certificate from Apple"
                ),
            )
        })?;
    if extension.as_str() != identifier {
        return Err(Error::new(
            Reason::PassTypeIdentifierMismatch,
            format!(
                "the certificate names two pass types, {identifier:?} in its subject and {:?} in \
                 extension {PASS_TYPE_EXTENSION}: Wallet refuses its passes; get a new certificate",
                extension.as_str()
            ),
        ));
    }
    Ok(identifier)
}

/// The subject's OU.
pub(crate) fn team_identifier(leaf: &ParsedCertificate) -> Result<String> {
    leaf.subject(ORGANIZATIONAL_UNIT).ok_or_else(|| {
        Error::new(
            Reason::NoTeamIdentifier,
            "the certificate's subject has no OU (team identifier): it is not a pass certificate \
             from Apple",
        )
    })
}

/// Proves that the certificate may sign passes, and may sign at all.
pub(crate) fn usage(leaf: &ParsedCertificate) -> Result<()> {
    let usages = leaf.extension::<ExtendedKeyUsage>().map(|usage| usage.0).unwrap_or_default();
    for (usage, name) in
        [(CLIENT_AUTH_USAGE, "client authentication"), (PASS_SIGNING_USAGE, "pass signing")]
    {
        if !usages.contains(&usage) {
            return Err(Error::new(
                Reason::ExtendedKeyUsageMissing,
                format!(
                    "the certificate's extended key usage lacks {name} ({usage}): upload a Pass \
                     Type ID certificate from Apple"
                ),
            ));
        }
    }
    if leaf.extension::<KeyUsage>().is_some_and(|usage| !usage.digital_signature()) {
        return Err(Error::new(
            Reason::KeyUsageMissing,
            "the certificate's key usage does not allow digital signatures: upload a Pass Type ID \
             certificate from Apple",
        ));
    }
    Ok(())
}

/// The candidate that issued the leaf: same name, same key identifier, and its key made the
/// signature.
///
/// Never "the newest": several generations of Apple's intermediate have one name.
pub(crate) fn issuer<D: AsRef<[u8]>>(
    leaf: &ParsedCertificate,
    candidates: &[D],
) -> Result<ParsedCertificate> {
    let wanted = leaf.authority_key_identifier().ok_or_else(|| {
        Error::new(
            Reason::NoAuthorityKeyIdentifier,
            "the certificate does not say which key issued it (no authority key identifier): it \
             is not from Apple",
        )
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
                "the intermediate may not issue certificates: download Apple's WWDR intermediate \
                 again",
            ));
        } else if !leaf.is_signed_by(&candidate) {
            closest = Some(Error::new(
                Reason::IssuerSignatureInvalid,
                "the intermediate has the right name and key identifier, but its key did not sign \
                 the certificate: download both again",
            ));
        } else if found.as_ref().is_none_or(|other| other.not_after < candidate.not_after) {
            found = Some(candidate); // one key, several certificates: take the longest-lived
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
                "none of the {} intermediates given issued the certificate: add the WWDR \
                 intermediate with subject key identifier {} (for certificates made since \
                 2022-01-27 it is G4, from Apple's certificate authority page)",
                candidates.len(),
                key.join(":"),
            ),
        )
    }))
}
