use super::*;
use crate::SigningIdentity;
use crate::archive::ArchiveWriter;
use crate::cms::SignedAttributes;
use crate::manifest::{sha1, sha256};
use crate::testing::{self, Authority, Issue, NOW, pass_json, revision};

/// A bundle by hand, for the signer renders no `pass.json` that a certificate does not fit.
fn sealed(identity: &SigningIdentity, pass_json: &[u8]) -> Vec<u8> {
    let revision = revision();
    let manifest = revision.manifest(sha1(pass_json).unwrap());
    let attributes = SignedAttributes::new(NOW, &sha256(&manifest).unwrap()).unwrap();
    let cms = identity.certificate().cms(&attributes, &identity.sign(&attributes).unwrap());
    revision.bundle(&manifest, pass_json, &cms).unwrap().to_vec()
}

/// What is sealed is read back, whole.
#[test]
fn reads_what_is_sealed() {
    let authority = Authority::new();
    let identity = authority.identity(&Issue::default());
    let content = pass_json(1);
    let bundle = sealed(&identity, &content);
    let report = read_bundle(&bundle, &authority.root()).unwrap();
    assert_eq!(report.pass_json, content);
    assert_eq!(report.signing_time, NOW);
    assert_eq!(report.certificate.leaf_der(), identity.certificate().leaf_der());
    assert_eq!(report.certificate.intermediate_der(), identity.certificate().intermediate_der());
    assert_eq!(
        report.files.keys().copied().collect::<Vec<_>>(),
        ["en.lproj/pass.strings", "icon.png"]
    );
    assert_eq!(report.files["icon.png"], testing::png());
    assert_eq!(report.manifest, revision().manifest(sha1(&content).unwrap()));
}

/// No bundle with one flipped bit is read, wherever the bit is, save where zip itself has no
/// meaning.
#[test]
fn refuses_every_flipped_bit() {
    let authority = Authority::new();
    let root = authority.root();
    let good = sealed(&authority.identity(&Issue::default()), &pass_json(1));
    let mut accepted = Vec::new();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if read_bundle(&bad, &root).is_ok() {
            accepted.push(bit / 8);
        }
    }
    // "Version made by" and permissions in the central directory: nothing reads them from a
    // bundle.
    let central = good.windows(4).position(|window| window == CENTRAL_MAGIC).unwrap();
    assert!(accepted.iter().all(|&byte| byte >= central), "{accepted:?}");
    let attribute_bytes: usize = 5 * (2 + 4);
    accepted.dedup();
    assert!(accepted.len() <= attribute_bytes, "{accepted:?}");
}

/// No cut and no addition is read.
#[test]
fn refuses_every_cut() {
    let authority = Authority::new();
    let root = authority.root();
    let good = sealed(&authority.identity(&Issue::default()), &pass_json(1));
    for length in 0..good.len() {
        assert!(read_bundle(&good[..length], &root).is_err(), "{length}");
        assert!(read_bundle(&good[good.len() - length..], &root).is_err(), "{length}");
    }
    assert!(read_bundle(&[good.as_slice(), b"\0"].concat(), &root).is_err());
    assert!(read_bundle(&[b"\0".as_slice(), &good].concat(), &root).is_err());
}

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn archive(files: Files<'_>) -> Vec<u8> {
    let mut archive = ArchiveWriter::default();
    for (name, data) in files {
        archive.add(name, data).unwrap();
    }
    archive.finish().unwrap()
}

/// Manifest and files must match one to one; each way they can differ has its reason.
#[test]
fn refuses_wrong_manifests() {
    let empty = hex(&sha1(b"").unwrap());
    let one = format!(r#"{{"a":"{empty}"}}"#);
    let cases: [(&str, Files<'_>, Reason); 8] = [
        (&one, &[], Reason::ManifestFiles),
        (&one, &[("a", b""), ("b", b"")], Reason::ManifestFiles),
        (&one, &[("a", b"x")], Reason::FileDigest),
        (&one.to_uppercase().replace('A', "a"), &[("a", b"")], Reason::FileDigest),
        (&format!(r#"{{"a":"{empty}","a":"{empty}"}}"#), &[("a", b"")], Reason::UnreadableManifest),
        (r#"{"a":1}"#, &[("a", b"")], Reason::UnreadableManifest),
        ("[]", &[("a", b"")], Reason::UnreadableManifest),
        (&format!("{one} x"), &[("a", b"")], Reason::UnreadableManifest),
    ];
    for (manifest, files, expected) in cases {
        let files = [files, &[(MANIFEST, manifest.as_bytes()), (SIGNATURE, b"x")]].concat();
        assert_eq!(read_bundle(&archive(&files), b"").unwrap_err().reason, expected, "{manifest}");
    }
    let reason = |files: &[(&str, &[u8])]| read_bundle(&archive(files), b"").unwrap_err().reason;
    assert_eq!(reason(&[(SIGNATURE, b"x")]), Reason::UnreadableManifest);
    assert_eq!(reason(&[(MANIFEST, b"{}")]), Reason::UnreadableSignature);
    assert_eq!(reason(&[(MANIFEST, b"{}"), (SIGNATURE, b"x")]), Reason::ManifestFiles);
}

/// Archives the signer would not write: doubled and hostile names, and too many files.
#[test]
fn refuses_hostile_archives() {
    let reason = |files: &[(&str, &[u8])]| {
        read_archive(&archive(files)).map(|_| ()).map_err(|error| error.reason)
    };
    assert_eq!(reason(&[("a", b""), ("a", b"")]), Err(Reason::DuplicateName));
    assert_eq!(reason(&[("../a", b"")]), Err(Reason::FileName));
    let names: Vec<String> = (0..=MAX_FILES + 3).map(|number| format!("f{number}")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    assert_eq!(reason(&files), Err(Reason::TooManyFiles));
    assert_eq!(reason(&files[1..]), Ok(()));
    assert_eq!(reason(&[]), Ok(()));
}

/// A bundle as large as the signer's own limits allow is read; the reader's limit holds exactly.
#[test]
fn reads_up_to_the_limit() {
    let names: Vec<String> = (0..MAX_FILES).map(|number| format!("{number:0>128}")).collect();
    let content = vec![0; MAX_CONTENT_BYTES / MAX_FILES];
    let large = vec![b' '; MAX_PASS_JSON_BYTES];
    let mut files: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), content.as_slice())).collect();
    let (manifest, cms) = (vec![0; MAX_FILES * 174], vec![0; 8192]);
    files.extend([(MANIFEST, manifest.as_slice()), (PASS_JSON, &large), (SIGNATURE, &cms)]);
    assert_eq!(read_archive(&archive(&files)).unwrap().len(), files.len());

    let around = archive(&[("a", b"")]).len();
    let content = vec![0; MAX_BUNDLE_BYTES - around + 1];
    assert!(read_archive(&archive(&[("a", &content[1..])])).is_ok());
    let error = read_archive(&archive(&[("a", &content)])).unwrap_err();
    assert!(error.message.contains("too large"), "{}", error.message);
}

/// Bytes between the entries and the directory, or behind the directory, belong to nothing and are
/// refused, although all offsets are told rightly.
#[test]
fn refuses_gaps() {
    let good = archive(&[("a", b"1")]);
    let end = good.len() - END_BYTES;
    let directory = good.windows(4).position(|window| window == CENTRAL_MAGIC).unwrap();
    for (place, field) in [(directory, 16), (end, 12)] {
        let mut bad = good.clone();
        bad.insert(place, 0);
        bad[end + 1 + field] += 1; // offset or size of the directory
        let error = read_archive(&bad).unwrap_err();
        assert!(error.message.contains("belong to no entry"), "{}", error.message);
    }
}

/// The leaf is known by issuer and serial number together: an intermediate of the same number is not
/// taken for it.
#[test]
fn tells_the_leaf_from_the_intermediate() {
    let authority = Authority::new();
    let identity = authority.identity(&Issue { serial: 2, ..Issue::default() });
    let bundle = sealed(&identity, &pass_json(1));
    let report = read_bundle(&bundle, &authority.root()).unwrap();
    assert_eq!(report.certificate.leaf_der(), identity.certificate().leaf_der());
}

/// A CMS that holds what it signs, or another type of content, is refused as not detached.
#[test]
fn refuses_what_is_not_detached() {
    let authority = Authority::new();
    let bundle = sealed(&authority.identity(&Issue::default()), &pass_json(1));
    let report = read_bundle(&bundle, &authority.root()).unwrap();
    let digest = sha256(report.manifest).unwrap();
    let content = ContentInfo::from_der(report.cms).unwrap();
    let good: SignedData = content.content.decode_as().unwrap();
    let mut holding = good.clone();
    holding.encap_content_info.econtent = Some(Any::new(der::Tag::OctetString, *b"x").unwrap());
    let mut of_another_type = good;
    of_another_type.encap_content_info.econtent_type = SIGNED_DATA;
    for data in [holding, of_another_type] {
        let changed = ContentInfo { content: Any::encode_from(&data).unwrap(), ..content.clone() };
        let error = check_signature(&changed.to_der().unwrap(), &digest).unwrap_err();
        assert_eq!(error.reason, Reason::UnreadableSignature);
        assert!(error.message.contains("not detached"), "{}", error.message);
    }
}

/// The error for a manifest of another shape says what it should be.
#[test]
fn says_what_a_manifest_is() {
    let bundle = archive(&[(MANIFEST, b"[]"), (SIGNATURE, b"x")]);
    let error = read_bundle(&bundle, b"").unwrap_err();
    assert!(error.message.contains("an object of SHA-1 digests"), "{}", error.message);
}

/// Another root, a CMS over another manifest, and a `pass.json` of another pass type or team
/// are told apart.
#[test]
fn refuses_by_reason() {
    let authority = Authority::new();
    let identity = authority.identity(&Issue::default());
    let root = authority.root();
    let reason = |bundle: &[u8], root: &[u8]| {
        read_bundle(bundle, root).map(|_| ()).map_err(|error| error.reason)
    };
    assert_eq!(
        reason(&sealed(&identity, &pass_json(1)), &Authority::new().root()),
        Err(Reason::UntrustedRoot)
    );
    for content in [
        "[]",
        "{",
        "{}",
        r#"{"passTypeIdentifier":"pass.example.test"}"#,
        r#"{"passTypeIdentifier":"pass.example.test","teamIdentifier":"OTHER"}"#,
        r#"{"passTypeIdentifier":"pass.example.other","teamIdentifier":"TEAM123456"}"#,
        r#"{"passTypeIdentifier":["pass.example.test"],"teamIdentifier":"TEAM123456"}"#,
    ] {
        assert_eq!(
            reason(&sealed(&identity, content.as_bytes()), &root),
            Err(Reason::PassJsonIdentity),
            "{content}"
        );
    }
    let (one, other) = (sealed(&identity, &pass_json(1)), sealed(&identity, &pass_json(2)));
    let cms = read_bundle(&other, &root).unwrap().cms;
    let mut files: Vec<(&str, &[u8])> =
        read_archive(&one).unwrap().into_iter().filter(|(name, _)| *name != SIGNATURE).collect();
    files.push((SIGNATURE, cms));
    assert_eq!(reason(&archive(&files), &root), Err(Reason::ManifestDigest));
}
