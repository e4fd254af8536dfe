//! A modulus, and what is precomputed for Montgomery reduction by it.

use zeroize::Zeroize;

use super::{LIMB_BITS, LIMB_MASK};
use crate::natural;

/// An odd modulus `N` of `L` limbs, of which the top one leaves at least 10 bits unused.
///
/// A reduction step adds a multiple of `N` that makes the lowest limb 0, and drops that limb. The
/// multiple is `t * -N^-1 mod 2^52` for a lowest limb `t`: a multiplication that all others of the
/// step wait for. With `N' = k N`, where `k = -N^-1 mod 2^52`, the multiple of `N'` is `t` itself
/// as `N' = -1 mod 2^52`; and since `t + t N' = t (N' + 1)`, where `M = (N' + 1) / 2^52` is a whole
/// number no longer than `N`, the step is: drop the limb `t`, add `t M`. It waits for nothing, and
/// saves the lowest product too. The price is a sum of up to `2^52 N`, which the last step brings
/// down by reducing with `N` itself (see [`super::residue`]).
pub(crate) struct Modulus<const L: usize> {
    /// `N`.
    pub(crate) n: [u64; L],
    /// `M = (k N + 1) / 2^52`.
    pub(crate) m: [u64; L],
    /// `k = -N^-1 mod 2^52`.
    pub(crate) k: u64,
}

impl<const L: usize> Modulus<L> {
    /// Prepares an odd modulus (64-bit words, least significant first).
    pub(crate) fn new(words: &[u64]) -> Self {
        let n = *natural::to_limbs(words, LIMB_BITS);
        let k = negative_inverse(n.first().copied().unwrap_or(1));
        let mut m = [0; L];
        // The lowest limb of k N + 1 is 0; the others are M.
        let mut carry = 1_u128;
        let mut sums = n.iter().map(|limb| {
            carry += u128::from(k) * u128::from(*limb);
            let low = low_limb(carry);
            carry >>= LIMB_BITS;
            low
        });
        sums.next();
        for (limb, sum) in m.iter_mut().zip(sums) {
            *limb = sum;
        }
        if let Some(top) = m.last_mut() {
            *top = low_limb(carry);
        }
        Self { n, m, k }
    }
}

impl<const L: usize> Zeroize for Modulus<L> {
    fn zeroize(&mut self) {
        self.n.zeroize();
        self.m.zeroize();
        self.k.zeroize();
    }
}

/// `-odd^-1 mod 2^52`, by Newton's iteration: each round doubles the number of right bits.
fn negative_inverse(odd: u64) -> u64 {
    let mut inverse = odd; // right in 3 bits
    for _ in 0..5 {
        let error = 2_u64.wrapping_sub(odd.wrapping_mul(inverse));
        inverse = inverse.wrapping_mul(error);
    }
    inverse.wrapping_neg() & LIMB_MASK
}

#[expect(clippy::cast_possible_truncation, reason = "masked to 52 bits")]
fn low_limb(value: u128) -> u64 {
    value as u64 & LIMB_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `M 2^52 = k N + 1`.
    #[test]
    fn the_multiple_is_minus_one() {
        for n in [3, 0x000f_ffff_ffff_fffd, 0x0000_dead_beef_0001] {
            let modulus = Modulus::<2>::new(&[n]);
            let [low, high] = modulus.m;
            assert_eq!(u128::from(modulus.k) * u128::from(n) + 1, u128::from(low) << LIMB_BITS);
            assert_eq!(high, 0);
        }
    }
}
