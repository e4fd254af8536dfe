//! Products, squares and Montgomery reduction of eight numbers of 20 limbs.
//!
//! The method is *almost Montgomery multiplication* with `R = 2^1040` (Gueron and Krasnov, "Software
//! implementation of modular exponentiation, using advanced vector instructions architectures";
//! Montgomery reduction as in the Handbook of Applied Cryptography, 14.32 and 14.36): for factors
//! below `2^1026` the result is congruent to `a b / R` and below `2^1026` again, so nothing is
//! subtracted between two of them. In detail, with the two moduli of [`Modulus`]: 19 steps by `M`
//! leave a sum below `a b / 2^988 + 2^52 N (1 + 2^-51)`; the last step, by `N`, makes that
//! `a b / 2^1040 + N (1 + 2^-51) + N`, which is below `N / 2^10 + 2.01 N`.
//!
//! Column sums: at most 80 products of 52 bits and a doubling stay below 2^60, so no 64-bit lane
//! overflows before its carry is taken.
//!
//! Indices here are loop counters over arrays of fixed size; none comes from input.
#![allow(clippy::indexing_slicing, clippy::needless_range_loop)]

use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_cmplt_epi64_mask, _mm512_load_si512,
    _mm512_mask_mov_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srai_epi64,
    _mm512_srli_epi64, _mm512_store_si512, _mm512_sub_epi64,
};
#[cfg(not(miri))]
use core::arch::x86_64::{_mm512_madd52hi_epu64, _mm512_madd52lo_epu64};

use core::hint::black_box;

#[cfg(miri)]
use super::interpreted;
use super::lanes::{Lanes, Wide};
use super::modulus::Modulus;
use super::{FULL, HALF, LIMB_BITS, LIMB_MASK};
use crate::fault::{Kind, strike, strike_registers};

/// Eight numbers modulo a prime.
pub(crate) type Residue = Wide<HALF>;
/// Eight products of two of them, or eight numbers modulo `n`.
pub(crate) type Product = Wide<FULL>;

/// Columns held in registers while a row of products is added.
pub(crate) type Window = [__m512i; HALF + 1];

/// Reads a limb.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(limb: &Lanes) -> __m512i {
    // SAFETY: `Lanes` is 64 initialised bytes, aligned to 64.
    unsafe { _mm512_load_si512(core::ptr::from_ref(limb).cast()) }
}

/// Writes a limb.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(limb: &mut Lanes, value: __m512i) {
    // SAFETY: `Lanes` is 64 bytes, aligned to 64, borrowed for writing; every bit pattern is valid.
    unsafe { _mm512_store_si512(core::ptr::from_mut(limb).cast(), value) }
}

/// The same limb in each lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn splat(limb: u64) -> __m512i {
    _mm512_set1_epi64(limb.cast_signed())
}

/// What a column passes on to the next.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn carry(column: __m512i) -> __m512i {
    _mm512_srli_epi64::<LIMB_BITS>(column)
}

/// `sum` plus the low halves of the products.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(crate) fn add_low(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    #[cfg(miri)]
    return interpreted::multiply_add(sum, a, b, 0);
    #[cfg(not(miri))]
    _mm512_madd52lo_epu64(sum, a, b)
}

/// `sum` plus the high halves of the products.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(crate) fn add_high(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    #[cfg(miri)]
    return interpreted::multiply_add(sum, a, b, LIMB_BITS);
    #[cfg(not(miri))]
    _mm512_madd52hi_epu64(sum, a, b)
}

/// One reduction step by `M`: drops the lowest column, adds its multiple, takes the next column in.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn step(window: &mut Window, m: &[u64; HALF], next: __m512i) {
    let multiple = window[0];
    window[0] = _mm512_add_epi64(window[1], carry(multiple));
    unroll!(J {
        if J != 0 {
            window[J] = window[J + 1];
        }
    });
    window[HALF] = next;
    let m = black_box(m);
    unroll!(J {
        let limb = splat(m[J]);
        window[J] = add_low(window[J], multiple, limb);
        window[J + 1] = add_high(window[J + 1], multiple, limb);
    });
    strike_registers(Kind::Step, window);
}

/// The last step, by `N`, and the carries: the window becomes a number of loose limbs.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn finish(out: &mut Residue, window: &Window, modulus: &Modulus<HALF>) {
    let mut window = *window;
    let lowest = window[0];
    let multiple = add_low(_mm512_setzero_si512(), lowest, splat(modulus.k));
    // The step makes the lowest column a multiple of 2^52 by adding less than 2^52.
    window[0] = _mm512_add_epi64(window[1], carry(_mm512_add_epi64(lowest, splat(LIMB_MASK))));
    unroll!(J {
        if J != 0 {
            window[J] = window[J + 1];
        }
    });
    unroll!(J {
        let limb = splat(modulus.n[J]);
        if J != 0 {
            window[J - 1] = add_low(window[J - 1], multiple, limb);
        }
        window[J] = add_high(window[J], multiple, limb);
    });
    strike_registers(Kind::Finish, &mut window);
    let mut limb = window[0];
    store(&mut out[0], limb);
    unroll!(J {
        if J != 0 {
            limb = _mm512_add_epi64(window[J], carry(limb));
            store(&mut out[J], limb);
        }
    });
}

/// `value * factor / R`, almost reduced. Row by row: a row of products, a step of reduction.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn multiply(value: &mut Residue, factor: &Residue, modulus: &Modulus<HALF>) {
    let zero = _mm512_setzero_si512();
    let mut window = [zero; HALF + 1];
    for digit in &value[..HALF - 1] {
        add_row(&mut window, load(digit), factor);
        step(&mut window, &modulus.m, zero);
    }
    add_row(&mut window, load(&value[HALF - 1]), factor);
    finish(value, &window, modulus);
}

/// Adds `digit * b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_row(window: &mut Window, digit: __m512i, b: &Residue) {
    let b = black_box(b);
    unroll!(J {
        let limb = load(&b[J]);
        window[J] = add_low(window[J], digit, limb);
        window[J + 1] = add_high(window[J + 1], digit, limb);
    });
    strike_registers(Kind::Row, window);
}

/// `t / R`, almost reduced, for `t` below `2^2052` in columns of up to 60 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn reduce(out: &mut Residue, t: &Product, modulus: &Modulus<HALF>) {
    let mut window = [_mm512_setzero_si512(); HALF + 1];
    unroll!(J { window[J] = load(&t[J]); });
    window[HALF] = load(&t[HALF]);
    for next in &t[HALF + 1..] {
        step(&mut window, &modulus.m, load(next));
    }
    finish(out, &window, modulus);
}

/// `a^2 / R`, almost reduced: 210 products of limbs instead of 400.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn square(value: &mut Residue, t: &mut Product, modulus: &Modulus<HALF>) {
    square_columns(t, value);
    reduce(value, t, modulus);
}

/// The 40 columns of `a^2`, carries not yet taken: products of different limbs once, doubled, and the
/// squares of the limbs added.
///
/// In three tiles, so that 20 columns at a time stay in registers: low by low half of the limbs, low
/// by high, high by high.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn square_columns(t: &mut [Lanes], a: &Residue) {
    const TILE: usize = HALF / 2;
    let zero = _mm512_setzero_si512();
    let mut sums = [zero; HALF];
    unroll!(I in [0 1 2 3 4 5 6 7 8] {
        let a = black_box(a);
        let digit = load(&a[I]);
        unroll!(J in [1 2 3 4 5 6 7 8 9] {
            if J > I {
                let limb = load(&a[J]);
                sums[I + J] = add_low(sums[I + J], digit, limb);
                sums[I + J + 1] = add_high(sums[I + J + 1], digit, limb);
            }
        });
    });
    strike_registers(Kind::Square, &mut sums);
    unroll!(I in [0 1 2 3 4] {
        double_and_add_square(t, I, (sums[2 * I], sums[2 * I + 1]), a);
    });
    unroll!(J in [0 1 2 3 4 5 6 7 8 9] {
        sums[J] = sums[J + TILE];
        sums[J + TILE] = zero;
    });
    unroll!(I in [0 1 2 3 4 5 6 7 8 9] {
        let a = black_box(a);
        let digit = load(&a[I]);
        unroll!(J in [0 1 2 3 4 5 6 7 8 9] {
            let limb = load(&a[TILE + J]);
            sums[I + J] = add_low(sums[I + J], digit, limb);
            sums[I + J + 1] = add_high(sums[I + J + 1], digit, limb);
        });
    });
    strike_registers(Kind::Square, &mut sums);
    unroll!(I in [0 1 2 3 4] {
        double_and_add_square(t, TILE / 2 + I, (sums[2 * I], sums[2 * I + 1]), a);
    });
    unroll!(J in [0 1 2 3 4 5 6 7 8 9] {
        sums[J] = sums[J + TILE];
        sums[J + TILE] = zero;
    });
    unroll!(I in [0 1 2 3 4 5 6 7 8] {
        let a = black_box(a);
        let digit = load(&a[TILE + I]);
        unroll!(J in [1 2 3 4 5 6 7 8 9] {
            if J > I {
                let limb = load(&a[TILE + J]);
                sums[I + J] = add_low(sums[I + J], digit, limb);
                sums[I + J + 1] = add_high(sums[I + J + 1], digit, limb);
            }
        });
    });
    strike_registers(Kind::Square, &mut sums);
    unroll!(I in [0 1 2 3 4 5 6 7 8 9] {
        double_and_add_square(t, TILE + I, (sums[2 * I], sums[2 * I + 1]), a);
    });
}

/// Columns `2 i` and `2 i + 1` of a square, from the sums of mixed products and limb `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn double_and_add_square(t: &mut [Lanes], i: usize, sums: (__m512i, __m512i), a: &[Lanes]) {
    let limb = load(&a[i]);
    let (even, odd) = sums;
    store(&mut t[2 * i], add_low(_mm512_add_epi64(even, even), limb, limb));
    store(&mut t[2 * i + 1], add_high(_mm512_add_epi64(odd, odd), limb, limb));
}

/// Adds `a b` to the first 40 columns. Carries are not taken.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn add_product(t: &mut [Lanes], a: &Residue, b: &Residue) {
    let mut window = [_mm512_setzero_si512(); HALF + 1];
    unroll!(J { window[J] = load(&t[J]); });
    window[HALF] = load(&t[HALF]);
    for i in 0..HALF {
        add_row(&mut window, load(&a[i]), b);
        store(&mut t[i], window[0]);
        unroll!(J { window[J] = window[J + 1]; });
        window[HALF] =
            if i + HALF + 1 < FULL { load(&t[i + HALF + 1]) } else { _mm512_setzero_si512() };
    }
    unroll!(J { store(&mut t[HALF + J], window[J]); });
}

/// Takes all carries: columns become exact limbs.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn settle<const L: usize>(number: &mut Wide<L>) {
    let mask = splat(LIMB_MASK);
    let mut passed = _mm512_setzero_si512();
    for limb in number.iter_mut() {
        let column = _mm512_add_epi64(load(limb), passed);
        passed = _mm512_srai_epi64::<LIMB_BITS>(column);
        store(limb, _mm512_and_si512(column, mask));
    }
    strike(Kind::Settled, number);
}

/// Subtracts the modulus from those lanes that are not below it. Limbs must be exact, and stay so.
///
/// Returns in which lanes (a bit each) the number was below the modulus already.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn subtract_once<const L: usize>(number: &mut Wide<L>, modulus: &[u64; L]) -> u8 {
    let mask = splat(LIMB_MASK);
    let zero = _mm512_setzero_si512();
    let mut difference: Wide<L> = *number;
    let mut borrow = zero;
    for (limb, n) in difference.iter_mut().zip(modulus) {
        let column = _mm512_add_epi64(_mm512_sub_epi64(load(limb), splat(*n)), borrow);
        borrow = _mm512_srai_epi64::<LIMB_BITS>(column);
        store(limb, _mm512_and_si512(column, mask));
    }
    strike(Kind::Difference, &mut difference);
    let below = _mm512_cmplt_epi64_mask(borrow, zero);
    for (limb, reduced) in number.iter_mut().zip(&difference) {
        store(limb, _mm512_mask_mov_epi64(load(reduced), below, load(limb)));
    }
    below
}

/// Brings an almost reduced number (below `3 N`, limbs loose) below the modulus, limbs exact.
#[inline(never)]
#[target_feature(enable = "avx512f")]
pub(crate) fn normalise<const L: usize>(number: &mut Wide<L>, modulus: &[u64; L]) {
    let mask = splat(LIMB_MASK);
    for limb in number.iter_mut() {
        let exact = _mm512_and_si512(load(limb), mask);
        store(limb, exact);
    }
    subtract_once(number, modulus);
    subtract_once(number, modulus);
}
