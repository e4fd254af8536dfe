//! The public half of a signing identity: what a pass certificate says, and the proof that it says
//! it consistently.

use der::asn1::ObjectIdentifier;

use crate::cms::{CmsFrame, SignatureAlgorithm, SignedAttributes};
use crate::error::{Error, Reason, Result};
use crate::manifest::{Sha256, hex, sha256};
use crate::proof;
use crate::x509::{ParsedCertificate, PublicKey};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
/// Apple's common name begins with this when the pass type may carry NFC payloads.
const NFC_COMMON_NAME: &str = "Pass Type ID with NFC:";

/// A pass certificate with the intermediate that issued it; enough to assemble and to verify, not
/// to sign.
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

    /// Proves that the leaf (DER) is a pass certificate and finds its issuer among the candidates
    /// (DER).
    pub fn issued_by_one_of<D: AsRef<[u8]>>(leaf: &[u8], candidates: &[D]) -> Result<Self> {
        let leaf = ParsedCertificate::from_der(leaf, Reason::UnreadableCertificate)?;
        let pass_type_identifier = proof::pass_type_identifier(&leaf)?;
        let team_identifier = proof::team_identifier(&leaf)?;
        proof::usage(&leaf)?;
        let key = PublicKey::of(&leaf)?;
        let intermediate = proof::issuer(&leaf, candidates)?;
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
                        "the {name} expired at {until}: renew it in Apple's developer account and \
                         upload the new one"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Proves that the intermediate was issued by this root (DER), and that the root is valid at a
    /// time.
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

#[cfg(test)]
mod tests;
