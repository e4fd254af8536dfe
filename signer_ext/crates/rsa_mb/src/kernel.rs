//! The vector kernel: eight RSA private operations at once, one in each 64-bit lane.
//!
//! A number is cut into 52-bit limbs, and limb `i` of all eight numbers shares one register. So the
//! kernel reads like scalar code: no shuffles, no carries across lanes. The multiply instructions
//! `vpmadd52luq` and `vpmadd52huq` add the low or high 52 bits of a 52 x 52 bit product to a 64-bit
//! lane, and look only at the low 52 bits of their factors. Limbs therefore may be *loose*: bits
//! from 52 upwards have already been added to the next limb and are ignored where they still stand.
//!
//! | module | what it does |
//! |---|---|
//! | [`lanes`] | eight numbers side by side; bytes to limbs and back |
//! | [`modulus`] | a modulus and what is precomputed for its reduction |
//! | [`residue`] | products, squares and reduction of 20 limbs (1024-bit primes) |
//! | [`power`] | fixed-window exponentiation with an oblivious table |
//! | [`recombine`] | both halves become a signature (Garner) |
//! | [`check`] | the public operation at 40 limbs, which every signature must pass |
//! | [`batch`] | one group of eight from digests to checked signatures |

/// Repeats a block with a constant counting through the list, or through all limbs, so that register arrays indexed by it
/// stay in registers.
macro_rules! unroll {
    ($i:ident in [$($value:literal)*] $body:block) => {
        $( { const $i: usize = $value; $body } )*
    };
    ($i:ident $body:block) => {
        unroll!($i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19] $body)
    };
}

pub(crate) mod batch;
pub(crate) mod check;
#[cfg(miri)]
mod interpreted;
pub(crate) mod lanes;
pub(crate) mod modulus;
pub(crate) mod power;
pub(crate) mod recombine;
pub(crate) mod residue;
#[cfg(test)]
mod tests;

/// Bits of a limb.
pub(crate) const LIMB_BITS: u32 = 52;
/// The bits of a limb that count.
pub(crate) const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;
/// Limbs of a number modulo a prime: 1040 bits, which leaves 16 above a prime of 1024.
pub(crate) const HALF: usize = 20;
/// Limbs of a number modulo `n`.
pub(crate) const FULL: usize = 2 * HALF;
/// How many numbers are worked on at once.
pub(crate) const LANES: usize = 8;
