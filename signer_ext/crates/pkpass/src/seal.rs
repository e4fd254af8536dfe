//! The acts: sign a batch, assemble a bundle from a stored recipe, and both at once.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::certificate::SigningCertificate;
use crate::cms::SignedAttributes;
use crate::error::{Error, Reason, Result};
use crate::identity::SigningIdentity;
use crate::manifest::{Sha1, sha1, sha256};
use crate::revision::{Bundle, PreparedRevision, check_pass_json};

/// Passes a thread takes at a time: long enough to make taking them free, short enough to finish
/// together.
const CHUNK: usize = 16;
/// What the operating system shows for the threads of a batch.
const THREAD_NAME: &str = "signer";

/// What is stored of a signed pass besides its values: with the revision and the signing time this
/// is the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// SHA-1 of `pass.json`.
    pub digest: Sha1,
    /// The signature over the CMS signed attributes: 256 bytes for RSA-2048.
    pub signature: Vec<u8>,
}

/// A pass to sign: its `pass.json` and the signing time (Unix seconds).
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The rendered content.
    pub pass_json: &'a [u8],
    /// When it is signed, Unix seconds; must lie in the certificate's validity.
    pub signing_time: i64,
}

/// Signs passes of one revision on at most so many threads; results in the order of the passes.
///
/// Nothing is signed if any pass cannot be: that is checked first, and the error says which one.
pub fn sign_batch(
    revision: &PreparedRevision,
    passes: &[Unsigned<'_>],
    identity: &SigningIdentity,
    threads: NonZeroUsize,
) -> Result<Vec<Signed>> {
    for (item, pass) in passes.iter().enumerate() {
        check_pass_json(pass.pass_json)
            .and_then(|()| identity.certificate().check_validity(pass.signing_time))
            .map_err(|error| error.of_item(item))?;
    }
    let next = AtomicUsize::new(0);
    let is_stopped = AtomicBool::new(false);
    let work = || {
        let mut done = Vec::new();
        while !is_stopped.load(Ordering::Relaxed) {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(chunk) = passes.get(start..).filter(|rest| !rest.is_empty()) else { break };
            for (offset, pass) in chunk.iter().take(CHUNK).enumerate() {
                match sign(revision, *pass, identity) {
                    Ok(signed) => done.push((start + offset, signed)),
                    Err(error) => {
                        is_stopped.store(true, Ordering::Relaxed);
                        return Err(error.of_item(start + offset));
                    }
                }
            }
        }
        Ok(done)
    };
    let workers = threads.get().min(passes.len().div_ceil(CHUNK));
    let mut signed = thread::scope(|scope| {
        // This thread works too; a panic elsewhere goes on here, to the guard at the border.
        // If the system has no thread to give, there are fewer.
        let spawn = |_| thread::Builder::new().name(THREAD_NAME.into()).spawn_scoped(scope, work);
        let others: Vec<_> = (1..workers).map_while(|number| spawn(number).ok()).collect();
        let mut signed = work()?;
        for other in others {
            signed.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok::<_, Error>(signed)
    })?;
    signed.sort_unstable_by_key(|(item, _)| *item);
    Ok(signed.into_iter().map(|(_, signed)| signed).collect())
}

fn sign(
    revision: &PreparedRevision,
    pass: Unsigned<'_>,
    identity: &SigningIdentity,
) -> Result<Signed> {
    let digest = sha1(pass.pass_json)?;
    let attributes = attributes(&revision.manifest(digest), pass.signing_time)?;
    Ok(Signed { digest, signature: identity.sign(&attributes)? })
}

/// The `.pkpass` of a stored recipe: needs no private key, and equal input gives equal bytes.
///
/// Refuses what was not signed: another `pass.json`, another revision, another certificate, another
/// time.
pub fn assemble<'a>(
    revision: &'a PreparedRevision,
    pass: Unsigned<'_>,
    certificate: &SigningCertificate,
    digest: &[u8],
    signature: &[u8],
) -> Result<Bundle<'a>> {
    check_pass_json(pass.pass_json)?;
    let rendered = sha1(pass.pass_json)?;
    if rendered != digest {
        return Err(Error::new(
            Reason::PassJsonDigest,
            "pass.json is not the one that was signed (its SHA-1 differs): render it from the \
             stored values and revision, or sign the pass again",
        ));
    }
    let manifest = revision.manifest(rendered);
    let attributes = attributes(&manifest, pass.signing_time)?;
    if !certificate.verifies(&attributes, signature) {
        return Err(Error::new(
            Reason::Signature,
            "the stored signature does not verify over this revision, certificate and signing \
             time: sign the pass again",
        ));
    }
    revision.bundle(&manifest, pass.pass_json, &certificate.cms(&attributes, signature))
}

/// Signs and assembles one pass.
pub fn seal<'a>(
    revision: &'a PreparedRevision,
    pass: Unsigned<'_>,
    identity: &SigningIdentity,
) -> Result<Bundle<'a>> {
    check_pass_json(pass.pass_json)?;
    identity.certificate().check_validity(pass.signing_time)?;
    let manifest = revision.manifest(sha1(pass.pass_json)?);
    let attributes = attributes(&manifest, pass.signing_time)?;
    let signature = identity.sign(&attributes)?;
    revision.bundle(&manifest, pass.pass_json, &identity.certificate().cms(&attributes, &signature))
}

fn attributes(manifest: &[u8], signing_time: i64) -> Result<SignedAttributes> {
    SignedAttributes::new(signing_time, &sha256(manifest)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Authority, Issue, NOW, pass_json, revision};

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    /// Results come in the order of the passes, whatever the number of threads, and each assembles.
    #[test]
    fn signs_in_order() {
        let identity = Authority::new().identity(&Issue::default());
        let revision = revision();
        let contents: Vec<_> = (0..3 * CHUNK + 5).map(pass_json).collect();
        let passes: Vec<_> = contents
            .iter()
            .zip(NOW..)
            .map(|(pass_json, signing_time)| Unsigned { pass_json, signing_time })
            .collect();
        for count in [1, 2, 7] {
            let signed = sign_batch(&revision, &passes, &identity, threads(count)).unwrap();
            assert_eq!(signed.len(), passes.len());
            for (pass, signed) in passes.iter().zip(signed) {
                assert_eq!(signed.digest, sha1(pass.pass_json).unwrap());
                let certificate = identity.certificate();
                assert!(
                    assemble(&revision, *pass, certificate, &signed.digest, &signed.signature)
                        .is_ok()
                );
            }
        }
        assert_eq!(sign_batch(&revision, &[], &identity, threads(2)).unwrap(), []);
    }

    /// A batch with one bad pass is refused as a whole, and the error says which one.
    #[test]
    fn names_the_bad_pass() {
        let identity = Authority::new().identity(&Issue::default());
        let (revision, content) = (revision(), pass_json(1));
        let good = Unsigned { pass_json: &content, signing_time: NOW };
        let huge = vec![b' '; crate::revision::MAX_PASS_JSON_BYTES + 1];
        let cases = [
            (Unsigned { pass_json: b"", ..good }, Reason::PassJsonSize),
            (Unsigned { pass_json: &huge, ..good }, Reason::PassJsonSize),
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
            let error =
                sign_batch(&revision, &[good, good, bad, good], &identity, threads(2)).unwrap_err();
            assert_eq!((error.reason, error.item), (reason, Some(2)));
            assert_eq!(seal(&revision, bad, &identity).unwrap_err().reason, reason);
        }
        assert!(seal(&revision, Unsigned { pass_json: &huge[1..], ..good }, &identity).is_ok());
    }

    /// Only exactly what was signed is assembled.
    #[test]
    fn assembles_only_what_was_signed() {
        let authority = Authority::new();
        let (identity, other) =
            (authority.identity(&Issue::default()), authority.identity(&Issue::default()));
        let (revision, content, another) = (revision(), pass_json(1), pass_json(2));
        let pass = Unsigned { pass_json: &content, signing_time: NOW };
        let signed = sign_batch(&revision, &[pass], &identity, threads(1)).unwrap().remove(0);
        let reason = |pass, certificate: &SigningCertificate, digest: &[u8], signature: &[u8]| {
            assemble(&revision, pass, certificate, digest, signature)
                .map(|bundle| bundle.to_vec())
                .map_err(|error| error.reason)
        };
        let own = identity.certificate();
        let first = reason(pass, own, &signed.digest, &signed.signature).unwrap();
        assert_eq!(reason(pass, own, &signed.digest, &signed.signature).unwrap(), first);
        let changed = Unsigned { pass_json: &another, ..pass };
        assert_eq!(
            reason(changed, own, &signed.digest, &signed.signature),
            Err(Reason::PassJsonDigest)
        );
        assert_eq!(
            reason(changed, own, &sha1(&another).unwrap(), &signed.signature),
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
}
