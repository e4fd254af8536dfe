//! Signing many digests with one key: groups of eight through the kernel, the rest through aws-lc.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;

use crate::encoding::MODULUS_BYTES;
use crate::error::SignError;
use crate::key::Rsa2048Key;
use crate::vector::{GROUP, VectorKey, Workspace};

/// From how many digests on a group is worth filling up: it takes about the time of two single
/// signatures, however many of its lanes are used.
const WORTH_A_GROUP: usize = 3;

/// Who signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The vector kernel where the processor has the instructions, for three digests or more at a
    /// time; else aws-lc.
    #[default]
    Auto,
    /// aws-lc alone.
    Portable,
    /// The vector kernel alone, also for a single digest; [`SignError::Unavailable`] without it.
    Ifma,
}

/// Who signed how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignStats {
    /// By the vector kernel, and passed the check.
    pub vector: usize,
    /// By aws-lc, as planned.
    pub portable: usize,
    /// Failed the check after the kernel, and were made again by aws-lc. Any is a reason for alarm:
    /// the machine computes wrongly.
    pub repaired: usize,
}

/// Whether this processor can run the vector kernel.
#[must_use]
pub fn is_available() -> bool {
    VectorKey::is_available()
}

impl Rsa2048Key {
    /// Signs SHA-256 digests: RSASSA-PKCS1-v1_5 (RFC 8017, 8.2), one signature of 256 bytes each,
    /// appended to `out` in the order of the digests.
    ///
    /// Every signature has been checked with the public key. One that failed is made again by
    /// aws-lc and counted in [`SignStats::repaired`]; if that fails too, nothing is appended.
    pub fn sign_many(
        &self,
        digests: &[[u8; 32]],
        out: &mut Vec<[u8; 256]>,
    ) -> Result<SignStats, SignError> {
        self.sign_many_with(Backend::Auto, digests, out)
    }

    /// The same by the given backend.
    pub fn sign_many_with(
        &self,
        backend: Backend,
        digests: &[[u8; 32]],
        out: &mut Vec<[u8; 256]>,
    ) -> Result<SignStats, SignError> {
        let before = out.len();
        out.reserve(digests.len());
        let signed = self.append_signatures(backend, digests, out);
        if signed.is_err() {
            out.truncate(before);
        }
        signed
    }

    fn append_signatures(
        &self,
        backend: Backend,
        digests: &[[u8; 32]],
        out: &mut Vec<[u8; 256]>,
    ) -> Result<SignStats, SignError> {
        let vector = match (backend, &self.vector) {
            (Backend::Ifma, None) => return Err(SignError::Unavailable),
            (Backend::Portable, _) | (_, None) => None,
            (Backend::Auto | Backend::Ifma, Some(vector)) => Some(vector),
        };
        let mut stats = SignStats::default();
        let fewest = if backend == Backend::Ifma { 1 } else { WORTH_A_GROUP };
        let mut workspace = None;
        for group in digests.chunks(GROUP) {
            match vector {
                Some(vector) if group.len() >= fewest => {
                    let workspace = workspace.get_or_insert_with(Workspace::new);
                    self.sign_group(vector, workspace, group, out, &mut stats)?;
                }
                _ => {
                    for digest in group {
                        out.push(self.sign_one(digest)?);
                    }
                    stats.portable += group.len();
                }
            }
        }
        Ok(stats)
    }

    /// Up to eight digests through the kernel; unused lanes repeat the first.
    fn sign_group(
        &self,
        vector: &VectorKey,
        workspace: &mut Workspace,
        digests: &[[u8; 32]],
        out: &mut Vec<[u8; 256]>,
        stats: &mut SignStats,
    ) -> Result<(), SignError> {
        let mut lanes = [digests.first().copied().unwrap_or_default(); GROUP];
        for (lane, digest) in lanes.iter_mut().zip(digests) {
            *lane = *digest;
        }
        let signed = vector.sign(workspace, &lanes);
        for ((digest, signature), passed) in
            digests.iter().zip(signed.signatures).zip(signed.passed)
        {
            if passed {
                out.push(signature);
                stats.vector += 1;
            } else {
                out.push(self.sign_one(digest)?);
                stats.repaired += 1;
            }
        }
        Ok(())
    }

    /// One signature by aws-lc, checked.
    fn sign_one(&self, digest: &[u8; 32]) -> Result<[u8; MODULUS_BYTES], SignError> {
        let digest = Digest::import_less_safe(digest, &SHA256).map_err(|_| SignError::Library)?;
        let mut signature = [0; MODULUS_BYTES];
        self.library
            .sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature)
            .map_err(|_| SignError::Library)?;
        self.public.verify_digest_sig(&digest, &signature).map_err(|_| SignError::Check)?;
        Ok(signature)
    }
}
