//! The border between safe code and the kernel: keys in the kernel's form, groups of eight digests.
//! On a processor without the instructions, or another architecture, there is no [`VectorKey`].

#[cfg(all(test, feature = "wycheproof", target_arch = "x86_64"))]
pub(crate) use x86_64::public_modulus;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{VectorKey, Workspace};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use elsewhere::{VectorKey, Workspace};

/// Signatures of one group.
pub(crate) const GROUP: usize = 8;

/// Eight signatures, and which of them passed the check.
pub(crate) struct SignedGroup {
    pub(crate) signatures: [[u8; 256]; GROUP],
    pub(crate) passed: [bool; GROUP],
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::{GROUP, SignedGroup};
    use crate::encoding::encode;
    use crate::kernel::batch::{self, Ifma};
    use crate::kernel::check::PublicModulus;
    use crate::kernel::modulus::Modulus;
    use crate::kernel::power::{Exponent, PrimeHalf};
    use crate::kernel::{FULL, HALF, LIMB_BITS};
    use crate::key::{KeyNumbers, MODULUS_WORDS, PRIME_WORDS, montgomery_constant};
    use crate::natural::to_limbs;

    pub(crate) use crate::kernel::batch::Workspace;

    /// A key as the kernel uses it, on a processor that has what the kernel needs.
    pub(crate) struct VectorKey {
        pub(crate) ifma: Ifma,
        pub(crate) key: batch::VectorKey,
    }

    impl VectorKey {
        /// Whether the processor can run the kernel.
        pub(crate) fn is_available() -> bool {
            Ifma::detect().is_some()
        }

        /// Prepares a proven key, if the processor can use it.
        pub(crate) fn prepare(numbers: &KeyNumbers) -> Option<Self> {
            let ifma = Ifma::detect()?;
            let q_inverse = montgomery_constant(&numbers.qinv, bits(HALF), &numbers.p);
            let key = batch::VectorKey {
                p: prime_half(&numbers.p, &numbers.dp),
                q: prime_half(&numbers.q, &numbers.dq),
                q_inverse: *to_limbs(&*q_inverse, LIMB_BITS),
                public: public_modulus(&numbers.n, numbers.e),
            };
            Some(Self { ifma, key })
        }

        /// Signs eight digests and checks the signatures, as the bytes they leave in.
        pub(crate) fn sign(
            &self,
            workspace: &mut Workspace,
            digests: &[[u8; 32]; GROUP],
        ) -> SignedGroup {
            let signatures =
                self.ifma.private_operation(workspace, &self.key, &digests.each_ref().map(encode));
            // Encoded anew: a fault in what was signed must not repeat in what it is compared with.
            let messages = digests.each_ref().map(encode);
            let lanes = self.ifma.check(&self.key.public, &signatures, &messages);
            let passed = std::array::from_fn(|lane| (lanes >> lane) & 1 == 1);
            SignedGroup { signatures, passed }
        }
    }

    /// Prepares a public key for the check.
    pub(crate) fn public_modulus(n: &[u64; MODULUS_WORDS], e: u32) -> PublicModulus {
        let r2 = montgomery_constant(&one(), 2 * bits(FULL), n);
        PublicModulus::new(Modulus::new(n), &to_limbs(&*r2, LIMB_BITS), e)
    }

    fn prime_half(prime: &[u64; PRIME_WORDS], exponent: &[u64; PRIME_WORDS]) -> PrimeHalf {
        let power_of_r =
            |power| *to_limbs(&*montgomery_constant(&one(), power * bits(HALF), prime), LIMB_BITS);
        PrimeHalf {
            modulus: Modulus::new(prime),
            exponent: Exponent::new(exponent),
            one: power_of_r(1),
            r3: power_of_r(3),
        }
    }

    fn one<const W: usize>() -> [u64; W] {
        let mut one = [0; W];
        if let Some(word) = one.first_mut() {
            *word = 1;
        }
        one
    }

    /// Bits of so many limbs.
    fn bits(limbs: usize) -> usize {
        limbs * LIMB_BITS as usize
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    use super::{GROUP, SignedGroup};
    use crate::key::KeyNumbers;

    /// There is none on this architecture.
    pub(crate) enum VectorKey {}

    impl VectorKey {
        pub(crate) fn is_available() -> bool {
            false
        }

        pub(crate) fn prepare(_numbers: &KeyNumbers) -> Option<Self> {
            None
        }

        pub(crate) fn sign(
            &self,
            _workspace: &mut Workspace,
            _digests: &[[u8; 32]; GROUP],
        ) -> SignedGroup {
            match *self {}
        }
    }

    pub(crate) struct Workspace;

    impl Workspace {
        pub(crate) fn new() -> Box<Self> {
            Box::new(Self)
        }
    }
}
