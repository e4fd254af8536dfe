//! The acts: sign a batch, assemble a bundle from a stored recipe, and both at once.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use rsa_mb::Backend;

use crate::certificate::SigningCertificate;
use crate::cms::SignedAttributes;
use crate::error::{Error, Reason, Result};
use crate::identity::SigningIdentity;
use crate::manifest::{Sha1, sha1, sha256};
use crate::revision::{Bundle, PreparedRevision, check_pass_json};

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

/// A pass to sign: its `pass.json` and the signing time (Unix seconds).
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The rendered content.
    pub pass_json: &'a [u8],
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
}

/// Signs passes of one revision; results in the order of the passes.
///
/// Nothing is signed if any pass cannot be: that is checked first, and the error says which one.
pub fn sign_batch(
    revision: &PreparedRevision,
    passes: &[Unsigned<'_>],
    identity: &SigningIdentity,
    workers: Workers<'_>,
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
            let chunk = chunk.get(..CHUNK).unwrap_or(chunk);
            match sign_chunk(revision, chunk, identity, workers) {
                Ok(signed) => done.extend((start..).zip(signed)),
                Err(mut error) => {
                    is_stopped.store(true, Ordering::Relaxed);
                    error.item = error.item.map(|offset| start + offset);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let count = workers.threads.get().min(passes.len().div_ceil(CHUNK));
    let mut signed = thread::scope(|scope| {
        // This thread works too; a panic elsewhere goes on here, to the guard at the border.
        // If the system has no thread to give, there are fewer.
        let spawn = |_| thread::Builder::new().name(THREAD_NAME.into()).spawn_scoped(scope, work);
        let others: Vec<_> = (1..count).map_while(|number| spawn(number).ok()).collect();
        let mut signed = work()?;
        for other in others {
            signed.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok::<_, Error>(signed)
    })?;
    signed.sort_unstable_by_key(|(item, _)| *item);
    Ok(signed.into_iter().map(|(_, signed)| signed).collect())
}

fn sign_chunk(
    revision: &PreparedRevision,
    passes: &[Unsigned<'_>],
    identity: &SigningIdentity,
    Workers { backend, repaired, .. }: Workers<'_>,
) -> Result<Vec<Signed>> {
    let mut digests = Vec::with_capacity(passes.len());
    let mut to_sign = Vec::with_capacity(passes.len());
    for (item, pass) in passes.iter().enumerate() {
        let of_item = |error: Error| error.of_item(item);
        let digest = sha1(pass.pass_json).map_err(of_item)?;
        digests.push(digest);
        to_sign.push(attributes(&revision.manifest(digest), pass.signing_time).map_err(of_item)?);
    }
    let signatures = identity.sign_many(&to_sign, backend, repaired)?;
    let signed = |(digest, signature)| Signed { digest, signature };
    Ok(digests.into_iter().zip(signatures).map(signed).collect())
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
mod tests;
