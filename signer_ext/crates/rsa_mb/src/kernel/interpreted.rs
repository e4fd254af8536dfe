//! The multiply instructions by plain arithmetic, for Miri alone, which does not know them: with these
//! it can check every other instruction and memory access of the kernel.

use core::arch::x86_64::__m512i;

use super::LIMB_MASK;
use super::lanes::Lanes;
use super::residue::{load, store};

/// `sum + (a b >> shift) mod 2^52` in each lane, of the low 52 bits of `a` and `b`. [Intel Software
/// Developer's Manual, VPMADD52LUQ and VPMADD52HUQ]
#[target_feature(enable = "avx512f")]
pub(super) fn multiply_add(sum: __m512i, a: __m512i, b: __m512i, shift: u32) -> __m512i {
    let mut lanes = [Lanes::default(); 3];
    for (lanes, register) in lanes.iter_mut().zip([sum, a, b]) {
        store(lanes, register);
    }
    let [mut sum, a, b] = lanes;
    for (sum, (a, b)) in sum.0.iter_mut().zip(a.0.into_iter().zip(b.0)) {
        let product = u128::from(a & LIMB_MASK) * u128::from(b & LIMB_MASK);
        *sum = sum.wrapping_add((product >> shift) as u64 & LIMB_MASK);
    }
    load(&sum)
}
