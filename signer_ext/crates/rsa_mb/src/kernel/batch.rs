//! One group of eight: from encoded messages to signatures, and the check of each.

use zeroize::Zeroize;

use super::check::{PublicModulus, check};
use super::lanes::{gather, scatter, zero};
use super::power::{PrimeHalf, Scratch, power};
use super::recombine::recombine;
use super::residue::{Product, Residue};
use super::{HALF, LANES};
use crate::fault::{Kind, strike, strike_bytes};
use crate::stack;

/// Eight big-endian numbers of 2048 bits.
pub(crate) type Group = [[u8; 256]; LANES];

/// A key as the kernel uses it.
pub(crate) struct VectorKey {
    pub(crate) p: PrimeHalf,
    pub(crate) q: PrimeHalf,
    /// `q^-1 R mod p`.
    pub(crate) q_inverse: [u64; HALF],
    pub(crate) public: PublicModulus,
}

impl Drop for VectorKey {
    fn drop(&mut self) {
        self.p.zeroize();
        self.q.zeroize();
        self.q_inverse.zeroize();
    }
}

/// Memory for the groups of one call; wiped when dropped.
pub(crate) struct Workspace {
    scratch: Scratch,
    base: Product,
    root_p: Residue,
    signature: Product,
}

impl Workspace {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self { scratch: Scratch::new(), base: zero(), root_p: zero(), signature: zero() })
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.scratch.zeroize();
        self.base.zeroize();
        self.root_p.zeroize();
        self.signature.zeroize();
        stack::scrub();
    }
}

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ifma(());

#[expect(clippy::unused_self, reason = "that there is an `Ifma` is the proof")]
impl Ifma {
    /// Asks the processor (and whether the operating system saves the wide registers).
    pub(crate) fn detect() -> Option<Self> {
        let has_all =
            std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512ifma");
        has_all.then_some(Self(()))
    }

    /// `number^d mod n` of each number below `n`. Not checked.
    pub(crate) fn private_operation(
        self,
        workspace: &mut Workspace,
        key: &VectorKey,
        numbers: &Group,
    ) -> Group {
        // SAFETY: an `Ifma` exists only where the processor has avx512f and avx512ifma.
        unsafe { private_operation(workspace, key, numbers) }
    }

    /// One exponentiation, in constant time or with a leak.
    #[cfg(feature = "timing-probe")]
    pub(crate) fn power(
        self,
        scratch: &mut Scratch,
        base: &Product,
        half: &PrimeHalf,
        leaky: bool,
    ) {
        if leaky {
            // SAFETY: an `Ifma` exists only where the processor has avx512f and avx512ifma.
            unsafe { super::power::leaky_power(scratch, base, half) }
        } else {
            // SAFETY: an `Ifma` exists only where the processor has avx512f and avx512ifma.
            unsafe { power(scratch, base, half) }
        }
    }

    /// In which lanes (a bit each) the signature opens to the message.
    pub(crate) fn check(self, key: &PublicModulus, signatures: &Group, messages: &Group) -> u8 {
        let (signatures, messages) = (gather(signatures), gather(messages));
        // SAFETY: an `Ifma` exists only where the processor has avx512f and avx512ifma.
        unsafe { check(&signatures, &messages, key) }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn private_operation(workspace: &mut Workspace, key: &VectorKey, numbers: &Group) -> Group {
    let Workspace { scratch, base, root_p, signature } = workspace;
    *base = gather(numbers);
    strike(Kind::Base, base);
    power(scratch, base, &key.p);
    *root_p = scratch.value;
    strike(Kind::Root, root_p);
    power(scratch, base, &key.q);
    recombine(
        signature,
        (root_p, &mut scratch.value),
        (&key.p.modulus, &key.q.modulus.n),
        &key.q_inverse,
    );
    let mut signatures = scatter(signature);
    strike_bytes(Kind::Signature, &mut signatures);
    signatures
}
