use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::*;
use crate::cms::tlv;
use crate::testing::{self, Authority, Issue, KeyType, NOW, oid};
use crate::x509::MAX_CERTIFICATE_BYTES;

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
    assert_eq!((certificate.not_before(), certificate.not_after()), (1_767_225_600, 1_801_440_000));
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
        (good().with_extension(testing::PASS_TYPE_EXTENSION, None), Reason::NoPassTypeExtension),
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
        (good().with_extension(testing::EXTENDED_KEY_USAGE, None), Reason::ExtendedKeyUsageMissing),
        (
            good().with_extension(testing::EXTENDED_KEY_USAGE, one_usage("1.3.6.1.5.5.7.3.2")),
            Reason::ExtendedKeyUsageMissing,
        ),
        (
            good()
                .with_extension(testing::EXTENDED_KEY_USAGE, one_usage("1.2.840.113635.100.4.14")),
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

/// The issuer is chosen by key, among others of the same name; a renewed one with the latest
/// end wins.
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

/// Wrong issuers: none, another generation, one that may not issue, one with the same
/// identifier but another key.
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
    assert_eq!(reason(&vec![0x30; MAX_CERTIFICATE_BYTES + 1], &[]), Reason::UnreadableCertificate);
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

/// The first and the last second count; one further does not, and the reason says whose and
/// which end.
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
    let with =
        |root: &[u8], time: i64| certificate.check_root(root, time).map_err(|error| error.reason);
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
    let foreign = other.sign(&aws_lc_rs::rand::SystemRandom::new(), attributes.as_der()).unwrap();
    assert!(!identity.certificate().verifies(&attributes, foreign.as_ref()));
}
