//! The acts: render and sign a batch, assemble a bundle from a stored recipe, and both at once.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use rsa_mb::Backend;

use crate::certificate::SigningCertificate;
use crate::cms::SignedAttributes;
use crate::error::{Error, Reason, Result};
use crate::guard::contain;
use crate::identity::SigningIdentity;
use crate::manifest::{Sha1, sha1, sha256};
use crate::render::Renderer;
use crate::revision::{Bundle, PreparedRevision};

/// Passes a thread takes at a time: long enough to make taking them free, short enough to finish
/// together; a multiple of the eight that `rsa_mb` signs at once.
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

/// A pass to render and sign: its line and the signing time (Unix seconds).
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// What it adds to its revision: see [`crate::render`].
    pub line: &'a [u8],
    /// When it is signed, Unix seconds; must lie in the certificate's validity.
    pub signing_time: i64,
}

/// Who signs a batch.
#[derive(Clone, Copy, Debug)]
pub struct Workers<'a> {
    /// At most so many threads.
    pub threads: NonZeroUsize,
    /// How RSA-2048 is signed, except for a pass alone in its chunk; [`Backend::Auto`] but in tests.
    pub backend: Backend,
    /// Goes up by one for each signature that was computed wrongly, withheld, and made again by
    /// aws-lc. Any is a reason for alarm.
    pub repaired: &'a AtomicU64,
    /// None but in tests of what a defect of ours would cost: a pass whose line holds these bytes
    /// panics.
    pub panic_on: Option<&'a [u8]>,
}

/// Renders and signs passes of one revision; results in the order of the passes.
///
/// All or nothing: if any pass cannot be signed, the error is that of the first such pass, and says
/// which one it is.
pub fn sign_batch(
    revision: &PreparedRevision,
    passes: &[Unsigned<'_>],
    identity: &SigningIdentity,
    workers: Workers<'_>,
) -> Result<Vec<Signed>> {
    in_chunks(revision, passes, identity, workers, |renderer, chunk| {
        let mut digests = Vec::with_capacity(chunk.len());
        let mut to_sign = Vec::with_capacity(chunk.len());
        for (item, pass) in chunk.iter().enumerate() {
            let of_item = |error: Error| error.of_item(item);
            let digest = renderer.render(pass.line).and_then(sha1).map_err(of_item)?;
            digests.push(digest);
            let manifest = revision.manifest(digest);
            to_sign.push(attributes(&manifest, pass.signing_time).map_err(of_item)?);
        }
        let signatures = identity.sign_many(&to_sign, workers.backend, workers.repaired)?;
        let signed = |(digest, signature)| Signed { digest, signature };
        Ok(digests.into_iter().zip(signatures).map(signed).collect())
    })
}

/// Renders, signs and assembles passes of one revision, and gives what `deliver` makes of some
/// bundles at a time, in the thread that signed them; results in the order of the passes.
///
/// Refuses as [`sign_batch`].
pub fn seal<T: Send>(
    revision: &PreparedRevision,
    passes: &[Unsigned<'_>],
    identity: &SigningIdentity,
    workers: Workers<'_>,
    deliver: impl Fn(Vec<Bundle<'_>>) -> Vec<T> + Sync,
) -> Result<Vec<T>> {
    in_chunks(revision, passes, identity, workers, |renderer, chunk| {
        let mut contents = Vec::with_capacity(chunk.len());
        let mut to_sign = Vec::with_capacity(chunk.len());
        for (item, pass) in chunk.iter().enumerate() {
            let of_item = |error: Error| error.of_item(item);
            let pass_json = renderer.render(pass.line).map_err(of_item)?;
            let manifest = revision.manifest(sha1(pass_json).map_err(of_item)?);
            to_sign.push(attributes(&manifest, pass.signing_time).map_err(of_item)?);
            contents.push((manifest, pass_json.to_vec()));
        }
        let signatures = identity.sign_many(&to_sign, workers.backend, workers.repaired)?;
        let parts = contents.iter().zip(to_sign.iter().zip(&signatures));
        let bundles = parts.map(|((manifest, pass_json), (attributes, signature))| {
            let cms = identity.certificate().cms(attributes, signature);
            revision.bundle(manifest, pass_json, &cms)
        });
        Ok(deliver(bundles.collect::<Result<_>>()?))
    })
}

/// What `work` makes of the passes, a chunk at a time, on all threads; in the order of the passes.
fn in_chunks<'a, T: Send>(
    revision: &'a PreparedRevision,
    passes: &[Unsigned<'a>],
    identity: &SigningIdentity,
    workers: Workers<'_>,
    work: impl Fn(&mut Renderer<'a>, &[Unsigned<'a>]) -> Result<Vec<T>> + Sync,
) -> Result<Vec<T>> {
    for (item, pass) in passes.iter().enumerate() {
        let validity = identity.certificate().check_validity(pass.signing_time);
        validity.map_err(|error| error.of_item(item))?;
    }
    let next = AtomicUsize::new(0);
    let is_stopped = AtomicBool::new(false);
    let work_on = || {
        let mut renderer = Renderer::new(revision.document());
        let mut done = Vec::new();
        while !is_stopped.load(Ordering::Relaxed) {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(chunk) = passes.get(start..).filter(|rest| !rest.is_empty()) else { break };
            let chunk = chunk.get(..CHUNK).unwrap_or(chunk);
            // A panic stops the others too, and does not let them sign what nobody gets.
            let contained = contain(|| {
                panic_if_marked(chunk, workers.panic_on);
                work(&mut renderer, chunk)
            });
            match contained {
                Ok(results) => done.push((start, results)),
                Err(mut error) => {
                    is_stopped.store(true, Ordering::Relaxed);
                    error.item = error.item.map(|offset| start + offset);
                    return Err((start, error));
                }
            }
        }
        Ok(done)
    };
    let count = workers.threads.get().min(passes.len().div_ceil(CHUNK));
    let outcomes = thread::scope(|scope| {
        // This thread works too; a panic elsewhere goes on here, to the guard at the border.
        // If the system has no thread to give, there are fewer.
        let spawn =
            |_| thread::Builder::new().name(THREAD_NAME.into()).spawn_scoped(scope, work_on);
        let others: Vec<_> = (1..count).map_while(|number| spawn(number).ok()).collect();
        let mut outcomes = vec![work_on()];
        for other in others {
            outcomes.push(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        outcomes
    });
    // Chunks are taken in order and none is left half done, so the first error is always among them.
    let (mut done, mut first_error) = (Vec::new(), None);
    for outcome in outcomes {
        match outcome {
            Ok(chunks) => done.extend(chunks),
            Err((start, error)) => match first_error {
                Some((before, _)) if before < start => {}
                _ => first_error = Some((start, error)),
            },
        }
    }
    if let Some((_, error)) = first_error {
        return Err(error);
    }
    done.sort_unstable_by_key(|(start, _)| *start);
    Ok(done.into_iter().flat_map(|(_, results)| results).collect())
}

/// The defect that tests ask for: to be caught by the guard as any other.
fn panic_if_marked(passes: &[Unsigned<'_>], mark: Option<&[u8]>) {
    let Some(mark) = mark.filter(|mark| !mark.is_empty()) else { return };
    let is_marked = |pass: &Unsigned<'_>| pass.line.windows(mark.len()).any(|part| part == mark);
    assert!(!passes.iter().any(is_marked), "a pass is marked to panic");
}

/// The `.pkpass` of a stored recipe: needs no private key, and equal input gives equal bytes.
///
/// Refuses what was not signed: other values, another revision, another certificate, another
/// time.
pub fn assemble<'a>(
    revision: &'a PreparedRevision,
    pass: Unsigned<'_>,
    certificate: &SigningCertificate,
    digest: &[u8],
    signature: &[u8],
) -> Result<Bundle<'a>> {
    let mut renderer = Renderer::new(revision.document());
    let pass_json = renderer.render(pass.line)?;
    let own_digest = sha1(pass_json)?;
    if own_digest != digest {
        return Err(Error::new(
            Reason::PassJsonDigest,
            "pass.json is not the one that was signed (its SHA-1 differs): render it from the \
             stored values and revision, or sign the pass again",
        ));
    }
    let manifest = revision.manifest(own_digest);
    let attributes = attributes(&manifest, pass.signing_time)?;
    if !certificate.verifies(&attributes, signature) {
        return Err(Error::new(
            Reason::Signature,
            "the stored signature does not verify over this revision, certificate and signing \
             time: sign the pass again",
        ));
    }
    revision.bundle(&manifest, pass_json, &certificate.cms(&attributes, signature))
}

fn attributes(manifest: &[u8], signing_time: i64) -> Result<SignedAttributes> {
    SignedAttributes::new(signing_time, &sha256(manifest)?)
}

#[cfg(test)]
mod tests;
