//! Garner's recombination (Handbook of Applied Cryptography, 14.71; RFC 8017, 5.1.2): from the
//! roots modulo `p` and `q` to the root modulo `n`.
#![allow(clippy::indexing_slicing, clippy::needless_range_loop)]

use core::arch::x86_64::{_mm512_add_epi64, _mm512_sub_epi64};

use super::HALF;
use super::lanes::{broadcast, zero};
use super::modulus::Modulus;
use super::residue::{
    Product, Residue, add_product, load, multiply, normalise, settle, splat, store,
};
use crate::fault::{Kind, strike};

/// `s = root_q + q ((root_p - root_q) / q mod p)`, with exact limbs, below `n`.
///
/// The roots are almost reduced. `q_inverse` is `q^-1 R mod p`, so that the product by it is a plain
/// number. Both primes have 1024 bits: so `q < 2 p`, and `root_p - root_q + 2 p` is not negative.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn recombine(
    out: &mut Product,
    roots: (&mut Residue, &mut Residue),
    (p, q): (&Modulus<HALF>, &[u64; HALF]),
    q_inverse: &[u64; HALF],
) {
    let (root_p, root_q) = roots;
    normalise(root_p, &p.n);
    normalise(root_q, q);
    for j in 0..HALF {
        let difference = _mm512_sub_epi64(load(&root_p[j]), load(&root_q[j]));
        let limb = _mm512_add_epi64(difference, splat(2 * p.n[j]));
        store(&mut root_p[j], limb);
    }
    settle(root_p);
    multiply(root_p, &broadcast(q_inverse), p);
    normalise(root_p, &p.n);
    let quotient = root_p;
    strike(Kind::Quotient, quotient);
    *out = zero();
    out[..HALF].copy_from_slice(root_q);
    add_product(out, quotient, &broadcast(q));
    settle(out);
    strike(Kind::Signature, out);
}
