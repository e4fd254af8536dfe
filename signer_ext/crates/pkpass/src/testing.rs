//! A certificate authority for the unit tests, writing DER by hand: every field can be made wrong.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use der::Encode;
use der::asn1::ObjectIdentifier;

use crate::cms::tlv;
use crate::manifest::sha1;
use crate::{Document, PreparedRevision, SigningCertificate, SigningIdentity};

/// 2026-02-01 00:00:00 UTC, within the validity of all default certificates.
pub(crate) const NOW: i64 = 1_769_904_000;

const ECDSA_WITH_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

/// Root and intermediate with P-256 keys.
pub(crate) struct Authority {
    root_key: EcdsaKeyPair,
    intermediate_key: EcdsaKeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let generate = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { root_key: generate(), intermediate_key: generate() }
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        let extensions = [("2.5.29.19", b"\x30\x03\x01\x01\xff".to_vec())];
        let (name, key) = (name(&[("2.5.4.3", "root")]), spki(&self.root_key));
        certificate(
            &name,
            &name,
            1,
            ("200101000000Z", "400101000000Z"),
            &key,
            &extensions,
            &self.root_key,
        )
    }

    pub(crate) fn intermediate(&self) -> Vec<u8> {
        self.intermediate_with(true, "300101000000Z")
    }

    pub(crate) fn intermediate_with(&self, is_authority: bool, until: &str) -> Vec<u8> {
        let constraints: &[u8] = if is_authority { b"\x30\x03\x01\x01\xff" } else { b"\x30\x00" };
        let identifier = tlv(0x04, &[&key_identifier(&self.intermediate_key)]);
        let extensions = [("2.5.29.19", constraints.to_vec()), ("2.5.29.14", identifier)];
        let issuer = name(&[("2.5.4.3", "root")]);
        let key = spki(&self.intermediate_key);
        certificate(
            &issuer,
            &intermediate_name(),
            2,
            ("200101000000Z", until),
            &key,
            &extensions,
            &self.root_key,
        )
    }

    /// The leaf, and its private key as PKCS#8.
    pub(crate) fn issue(&self, issue: &Issue) -> (Vec<u8>, Vec<u8>) {
        let (key, pkcs8) = issue.key_type.generate();
        (self.issue_for(issue, &key), pkcs8)
    }

    /// A leaf for a given public key (SPKI).
    pub(crate) fn issue_for(&self, issue: &Issue, key: &[u8]) -> Vec<u8> {
        let mut extensions = issue.extensions.clone();
        if issue.names_issuer_key {
            let identifier = tlv(0x80, &[&key_identifier(&self.intermediate_key)]);
            extensions.push(("2.5.29.35", tlv(0x30, &[&identifier])));
        }
        let subject = name(&issue.subject);
        let validity = (issue.from, issue.until);
        certificate(
            &intermediate_name(),
            &subject,
            issue.serial,
            validity,
            key,
            &extensions,
            &self.intermediate_key,
        )
    }

    /// A usable identity.
    pub(crate) fn identity(&self, issue: &Issue) -> SigningIdentity {
        let (leaf, key) = self.issue(issue);
        SigningIdentity::from_pem(&leaf, &key, None, &[self.intermediate()], NOW).unwrap()
    }

    pub(crate) fn signing_certificate(&self, issue: &Issue) -> Arc<SigningCertificate> {
        Arc::clone(self.identity(issue).certificate())
    }
}

#[derive(Clone, Copy)]
pub(crate) enum KeyType {
    P256,
    Rsa(rsa::KeySize),
}

impl KeyType {
    /// SPKI and PKCS#8.
    pub(crate) fn generate(self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::P256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
                (spki(&key), key.to_pkcs8v1().unwrap().as_ref().to_vec())
            }
            Self::Rsa(size) => {
                let key = rsa::KeyPair::generate(size).unwrap();
                let pkcs8: Pkcs8V1Der<'_> = key.as_der().unwrap();
                let spki: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
                (spki.as_ref().to_vec(), pkcs8.as_ref().to_vec())
            }
        }
    }
}

type Extension = (&'static str, Vec<u8>);

/// What a pass certificate says. The default is a good one.
#[derive(Clone)]
pub(crate) struct Issue {
    pub(crate) subject: Vec<(&'static str, &'static str)>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) names_issuer_key: bool,
    pub(crate) from: &'static str,
    pub(crate) until: &'static str,
    pub(crate) serial: u8,
    pub(crate) key_type: KeyType,
}

pub(crate) const PASS_TYPE: &str = "pass.example.test";
pub(crate) const PASS_TYPE_EXTENSION: &str = "1.2.840.113635.100.6.1.16";
pub(crate) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
pub(crate) const KEY_USAGE: &str = "2.5.29.15";
pub(crate) const UID: &str = "0.9.2342.19200300.100.1.1";
pub(crate) const COMMON_NAME: &str = "2.5.4.3";
pub(crate) const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
pub(crate) const ORGANIZATION: &str = "2.5.4.10";

impl Default for Issue {
    fn default() -> Self {
        let usages = [oid("1.3.6.1.5.5.7.3.2"), oid("1.2.840.113635.100.4.14")].concat();
        Self {
            subject: vec![
                (UID, PASS_TYPE),
                (COMMON_NAME, "Pass Type ID: pass.example.test"),
                (ORGANIZATIONAL_UNIT, "TEAM123456"),
                (ORGANIZATION, "Example"),
            ],
            extensions: vec![
                (EXTENDED_KEY_USAGE, tlv(0x30, &[&usages])),
                (KEY_USAGE, b"\x03\x02\x07\x80".to_vec()),
                (PASS_TYPE_EXTENSION, tlv(0x0c, &[PASS_TYPE.as_bytes()])),
            ],
            names_issuer_key: true,
            from: "260101000000Z",
            until: "270201000000Z",
            serial: 0x2a,
            key_type: KeyType::P256,
        }
    }
}

impl Issue {
    pub(crate) fn without_subject(mut self, attribute: &str) -> Self {
        self.subject.retain(|(name, _)| *name != attribute);
        self
    }

    pub(crate) fn with_extension(mut self, oid: &'static str, value: Option<Vec<u8>>) -> Self {
        self.extensions.retain(|(name, _)| *name != oid);
        self.extensions.extend(value.map(|value| (oid, value)));
        self
    }

    /// A certificate that is only to be carried.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        Authority::new().issue(self).0
    }
}

/// A PNG of one clear pixel.
pub(crate) fn png() -> Vec<u8> {
    // zlib of a filter byte and four channels, stored.
    let pixel = b"\x78\x01\x01\x05\0\xfa\xff\0\0\0\0\0\0\x05\0\x01";
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [
        (b"IHDR", b"\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0".as_slice()),
        (b"IDAT", pixel),
        (b"IEND", b""),
    ] {
        let checked = [kind.as_slice(), content].concat();
        file.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        file.extend(&checked);
        file.extend(crc32fast::hash(&checked).to_be_bytes());
    }
    file
}

/// A revision of an icon and a translation.
pub(crate) fn revision() -> PreparedRevision {
    let png = png();
    let files = [("icon.png", png.as_slice()), ("en.lproj/pass.strings", b"\xff\xfea\0")];
    PreparedRevision::new(files, document()).unwrap()
}

/// A document for the default certificate: a serial number, and a note that may be absent.
pub(crate) fn document() -> Document {
    Document::from_json(
        format!(
            r#"{{
            "built_ins":[{{"name":"serial","type":"text","required":true,"default":null}}],
            "slots":[{{"name":"note","type":"text","required":false,"default":null}}],
            "decimals":{{}},
            "document":{{"object":[
                ["passTypeIdentifier",{{"constant":"\"{PASS_TYPE}\""}}],
                ["teamIdentifier",{{"constant":"\"TEAM123456\""}}],
                ["serialNumber",{{"text":[{{"sources":["serial"],"form":"text"}}]}}],
                ["note",{{"text":[{{"sources":["note"],"form":"text"}}]}}]
            ],"whole":[],"keep":true}}}}"#
        )
        .as_bytes(),
    )
    .unwrap()
}

/// The line of a pass of that document.
pub(crate) fn line(serial_number: usize) -> Vec<u8> {
    format!(r#"["{serial_number}",{{}}]"#).into_bytes()
}

/// What the document makes of that line.
pub(crate) fn pass_json(serial_number: usize) -> Vec<u8> {
    let identity = format!(r#""passTypeIdentifier":"{PASS_TYPE}","teamIdentifier":"TEAM123456""#);
    format!(r#"{{{identity},"serialNumber":"{serial_number}"}}"#).into_bytes()
}

pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    ObjectIdentifier::new(dotted).unwrap().to_der().unwrap()
}

fn intermediate_name() -> Vec<u8> {
    name(&[("2.5.4.3", "intermediate")])
}

fn name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let attributes: Vec<u8> = attributes
        .iter()
        .flat_map(|(name, value)| {
            tlv(0x31, &[&tlv(0x30, &[&oid(name), &tlv(0x0c, &[value.as_bytes()])])])
        })
        .collect();
    tlv(0x30, &[&attributes])
}

fn spki(key: &EcdsaKeyPair) -> Vec<u8> {
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    spki.as_ref().to_vec()
}

fn key_identifier(key: &EcdsaKeyPair) -> [u8; 20] {
    sha1(key.public_key().as_ref()).unwrap()
}

fn certificate(
    issuer: &[u8],
    subject: &[u8],
    serial: u8,
    (from, until): (&str, &str),
    key: &[u8],
    extensions: &[Extension],
    issuer_key: &EcdsaKeyPair,
) -> Vec<u8> {
    let validity = tlv(0x30, &[&tlv(0x17, &[from.as_bytes()]), &tlv(0x17, &[until.as_bytes()])]);
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(name, value)| tlv(0x30, &[&oid(name), &tlv(0x04, &[value])]))
        .collect();
    let content = tlv(
        0x30,
        &[
            b"\xa0\x03\x02\x01\x02",
            &tlv(0x02, &[&[serial]]),
            ECDSA_WITH_SHA256,
            issuer,
            &validity,
            subject,
            key,
            &tlv(0xa3, &[&tlv(0x30, &[&extensions])]),
        ],
    );
    let signature = issuer_key.sign(&SystemRandom::new(), &content).unwrap();
    tlv(0x30, &[&content, ECDSA_WITH_SHA256, &tlv(0x03, &[&[0], signature.as_ref()])])
}
