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
    assert_eq!(
        read_archive(&vec![0; MAX_BUNDLE_BYTES + 1]).unwrap_err().reason,
        Reason::UnreadableArchive
    );
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
