//! Batches and stored recipes, against single signatures of aws-lc.

use std::sync::Arc;

use aws_lc_rs::rsa::KeySize;

use super::*;
use crate::testing::{Authority, Issue, KeyType, NOW, line, pass_json, revision};

fn threads(count: usize) -> Workers<'static> {
    static REPAIRED: AtomicU64 = AtomicU64::new(0);
    let threads = NonZeroUsize::new(count).unwrap();
    Workers { threads, backend: Backend::Auto, repaired: &REPAIRED, panic_on: None }
}

fn rsa_identity(size: KeySize) -> SigningIdentity {
    Authority::new().identity(&Issue { key_type: KeyType::Rsa(size), ..Issue::default() })
}

/// The lines of `count` passes.
fn some_lines(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(line).collect()
}

/// The passes, each a second after the one before.
fn unsigned(lines: &[Vec<u8>]) -> Vec<Unsigned<'_>> {
    let pass = |(line, signing_time)| {
        let line: &Vec<u8> = line;
        Unsigned { line, signing_time }
    };
    lines.iter().zip(NOW..).map(pass).collect()
}

/// What aws-lc signs, one pass at a time.
fn singles(identity: &SigningIdentity, passes: &[Unsigned<'_>]) -> Vec<Signed> {
    let revision = revision();
    let sign = |(number, pass): (usize, &Unsigned<'_>)| {
        let digest = sha1(&pass_json(number)).unwrap();
        let attributes = attributes(&revision.manifest(digest), pass.signing_time).unwrap();
        Signed { digest, signature: identity.sign(&attributes).unwrap() }
    };
    passes.iter().enumerate().map(sign).collect()
}

/// Seals passes to whole bundles.
fn seal_all(
    revision: &PreparedRevision,
    passes: &[Unsigned<'_>],
    identity: &SigningIdentity,
    workers: Workers<'_>,
) -> Result<Vec<Vec<u8>>> {
    let to_vec = |bundles: Vec<Bundle<'_>>| bundles.iter().map(Bundle::to_vec).collect();
    seal(revision, passes, identity, workers, to_vec)
}

/// A batch of any size, by any backend and number of threads, is as many single signatures of
/// aws-lc, bit for bit.
#[test]
fn a_batch_is_its_single_signatures() {
    let revision = revision();
    let backends = [Backend::Auto, Backend::Portable, Backend::Ifma];
    let usable = if rsa_mb::is_available() { 3 } else { 2 };
    for size in [KeySize::Rsa2048, KeySize::Rsa3072, KeySize::Rsa4096] {
        let identity = rsa_identity(size);
        let lines = some_lines(2 * CHUNK + 3);
        let passes = unsigned(&lines);
        let expected = singles(&identity, &passes);
        let largest = if size == KeySize::Rsa2048 { 20 } else { 3 };
        for count in (0..=largest).chain([passes.len()]) {
            for (backend, number) in backends[..usable].iter().flat_map(|b| [(*b, 1), (*b, 3)]) {
                let workers = Workers { backend, ..threads(number) };
                let signed = sign_batch(&revision, &passes[..count], &identity, workers);
                assert_eq!(signed.unwrap(), expected[..count], "{count} by {backend:?}");
            }
        }
    }
    assert_eq!(threads(1).repaired.load(Ordering::Relaxed), 0);
}

/// P-256 signatures differ each time; by every backend each verifies, and none needs repair.
#[test]
fn a_batch_of_p256_verifies() {
    let identity =
        Authority::new().identity(&Issue { key_type: KeyType::P256, ..Issue::default() });
    let (revision, lines) = (revision(), some_lines(9));
    let passes = unsigned(&lines);
    for backend in [Backend::Auto, Backend::Portable] {
        let repaired = AtomicU64::new(0);
        let workers = Workers { backend, repaired: &repaired, ..threads(1) };
        let signed = sign_batch(&revision, &passes, &identity, workers).unwrap();
        for (number, (pass, signed)) in passes.iter().zip(&signed).enumerate() {
            let manifest = revision.manifest(sha1(&pass_json(number)).unwrap());
            let attributes = attributes(&manifest, pass.signing_time).unwrap();
            assert!(identity.certificate().verifies(&attributes, &signed.signature));
        }
        assert_eq!(repaired.into_inner(), 0);
    }
}

/// A batch of an identity opened from its wrapped key is signed alike.
#[test]
fn an_unwrapped_key_signs_alike() {
    let identity = rsa_identity(KeySize::Rsa2048);
    let wrapped = identity.wrap(&[7; 32]).unwrap();
    let certificate = Arc::clone(identity.certificate());
    let again = SigningIdentity::unwrap_key(&wrapped, &[7; 32], certificate, NOW).unwrap();
    let (revision, lines) = (revision(), some_lines(CHUNK));
    let passes = unsigned(&lines);
    let signed = sign_batch(&revision, &passes, &again, threads(1)).unwrap();
    assert_eq!(signed, singles(&identity, &passes));
}

/// A signature computed wrongly does not leave: another takes its place, and it is counted.
#[test]
#[cfg(all(feature = "fault-injection", target_arch = "x86_64"))]
fn what_is_computed_wrongly_is_repaired_and_counted() {
    if !rsa_mb::is_available() {
        return;
    }
    let identity = rsa_identity(KeySize::Rsa2048);
    let (revision, lines) = (revision(), some_lines(CHUNK));
    let passes = unsigned(&lines);
    let expected = singles(&identity, &passes);
    let repaired = AtomicU64::new(0);
    let workers = Workers { repaired: &repaired, ..threads(1) };
    rsa_mb::arm(None);
    sign_batch(&revision, &passes, &identity, workers).unwrap();
    let places = rsa_mb::arm(None);
    assert_eq!(repaired.load(Ordering::Relaxed), 0);
    for number in 0..40 {
        let fault = rsa_mb::Fault { after: places * number / 40, word: 3 * number, bit: 17 };
        rsa_mb::arm(Some(fault));
        assert_eq!(sign_batch(&revision, &passes, &identity, workers).unwrap(), expected);
    }
    rsa_mb::arm(None);
    assert!(repaired.load(Ordering::Relaxed) > 0);
}

/// Results come in the order of the passes, whatever the number of threads, and each assembles.
#[test]
fn signs_in_order() {
    let identity = Authority::new().identity(&Issue::default());
    let revision = revision();
    let lines = some_lines(3 * CHUNK + 5);
    let passes = unsigned(&lines);
    for count in [1, 2, 7] {
        let signed = sign_batch(&revision, &passes, &identity, threads(count)).unwrap();
        assert_eq!(signed.len(), passes.len());
        for (number, (pass, signed)) in passes.iter().zip(signed).enumerate() {
            assert_eq!(signed.digest, sha1(&pass_json(number)).unwrap());
            let certificate = identity.certificate();
            assert!(
                assemble(&revision, *pass, certificate, &signed.digest, &signed.signature).is_ok()
            );
        }
    }
    assert_eq!(sign_batch(&revision, &[], &identity, threads(2)).unwrap(), []);
}

/// Sealing a batch is signing it and assembling each: the same bytes, by any number of threads.
#[test]
fn sealing_is_signing_and_assembling() {
    let identity = rsa_identity(KeySize::Rsa2048);
    let revision = revision();
    let lines = some_lines(2 * CHUNK + 1);
    let passes = unsigned(&lines);
    let signed = sign_batch(&revision, &passes, &identity, threads(1)).unwrap();
    let certificate = identity.certificate();
    let assembled: Vec<_> = passes
        .iter()
        .zip(&signed)
        .map(|(pass, signed)| {
            assemble(&revision, *pass, certificate, &signed.digest, &signed.signature)
                .unwrap()
                .to_vec()
        })
        .collect();
    for count in [1, 3] {
        assert_eq!(seal_all(&revision, &passes, &identity, threads(count)).unwrap(), assembled);
    }
}

/// A batch with bad passes is refused as a whole, and the error is that of the first of them.
#[test]
fn names_the_bad_pass() {
    let identity = Authority::new().identity(&Issue::default());
    let revision = revision();
    let lines = some_lines(5 * CHUNK);
    let passes = unsigned(&lines);
    let good = passes[0];
    let note = |length: usize| format!(r#"["1",{{"note":"{}"}}]"#, "x".repeat(length)).into_bytes();
    let spare = crate::revision::MAX_PASS_JSON_BYTES - pass_json(1).len() - r#","note":"""#.len();
    let (full, huge) = (note(spare), note(spare + 1));
    let cases = [
        (Unsigned { line: b"", ..good }, Reason::UnreadablePassData),
        (Unsigned { line: &huge, ..good }, Reason::PassJsonSize),
        (Unsigned { line: br"[1,{}]", ..good }, Reason::WrongValue),
        (
            Unsigned { signing_time: identity.certificate().not_after() + 1, ..good },
            Reason::Expired,
        ),
        (
            Unsigned { signing_time: identity.certificate().not_before() - 1, ..good },
            Reason::NotYetValid,
        ),
        (Unsigned { signing_time: -1, ..good }, Reason::NotYetValid),
    ];
    for (bad, reason) in cases {
        for first in [2, CHUNK + 3] {
            let mut passes = passes.clone();
            for place in [first, first + CHUNK, first + 2 * CHUNK] {
                passes[place] = bad;
            }
            let error = sign_batch(&revision, &passes, &identity, threads(2)).unwrap_err();
            assert_eq!((error.reason, error.item), (reason, Some(first)));
            let error = seal_all(&revision, &passes, &identity, threads(2)).unwrap_err();
            assert_eq!((error.reason, error.item), (reason, Some(first)));
        }
    }
    let full = Unsigned { line: &full, ..good };
    assert!(seal_all(&revision, &[full], &identity, threads(1)).is_ok());
}

/// Only exactly what was signed is assembled.
#[test]
fn assembles_only_what_was_signed() {
    let authority = Authority::new();
    let (identity, other) =
        (authority.identity(&Issue::default()), authority.identity(&Issue::default()));
    let (revision, own_line, another) = (revision(), line(1), line(2));
    let pass = Unsigned { line: &own_line, signing_time: NOW };
    let signed = sign_batch(&revision, &[pass], &identity, threads(1)).unwrap().remove(0);
    let reason = |pass, certificate: &SigningCertificate, digest: &[u8], signature: &[u8]| {
        assemble(&revision, pass, certificate, digest, signature)
            .map(|bundle| bundle.to_vec())
            .map_err(|error| error.reason)
    };
    let own = identity.certificate();
    let first = reason(pass, own, &signed.digest, &signed.signature).unwrap();
    assert_eq!(reason(pass, own, &signed.digest, &signed.signature).unwrap(), first);
    let changed = Unsigned { line: &another, ..pass };
    assert_eq!(
        reason(changed, own, &signed.digest, &signed.signature),
        Err(Reason::PassJsonDigest)
    );
    assert_eq!(
        reason(changed, own, &sha1(&pass_json(2)).unwrap(), &signed.signature),
        Err(Reason::Signature)
    );
    assert_eq!(
        reason(pass, own, &signed.digest[1..], &signed.signature),
        Err(Reason::PassJsonDigest)
    );
    let later = Unsigned { signing_time: NOW + 1, ..pass };
    assert_eq!(reason(later, own, &signed.digest, &signed.signature), Err(Reason::Signature));
    assert_eq!(
        reason(pass, other.certificate(), &signed.digest, &signed.signature),
        Err(Reason::Signature)
    );
    assert_eq!(reason(pass, own, &signed.digest, b""), Err(Reason::Signature));
}

/// A pass that panics costs its batch, whichever thread it is in; the next batch is signed.
#[test]
fn a_panic_is_an_error_of_the_batch() {
    let identity = rsa_identity(KeySize::Rsa2048);
    let (revision, lines) = (revision(), some_lines(3 * CHUNK));
    let passes = unsigned(&lines);
    for marked in [0, CHUNK, 3 * CHUNK - 1] {
        let workers = Workers { panic_on: Some(&lines[marked]), ..threads(2) };
        let error = sign_batch(&revision, &passes, &identity, workers).unwrap_err();
        assert_eq!((error.reason, error.item), (Reason::Panic, None));
        let others = sign_batch(&revision, &passes[..marked], &identity, workers).unwrap();
        assert_eq!(others.len(), marked);
    }
    assert!(sign_batch(&revision, &passes, &identity, threads(2)).is_ok());
}
