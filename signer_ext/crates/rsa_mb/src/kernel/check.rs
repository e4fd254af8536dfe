//! The public operation, modulo `n`, on eight numbers of 40 limbs: what every signature must pass.
//!
//! Nothing here is secret. The numbers are worked on in blocks of 20 limbs with the same routines as
//! the halves; Montgomery form is by `R = 2^2080`.
#![allow(clippy::indexing_slicing, clippy::needless_range_loop)]

use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_cmpneq_epi64_mask, _mm512_or_si512, _mm512_setzero_si512,
    _mm512_xor_si512,
};

use super::lanes::{Lanes, Wide, broadcast, zero};
use super::modulus::Modulus;
use super::residue::{
    Product, Residue, add_high, add_low, add_product, carry, load, normalise, splat,
    square_columns, store, subtract_once,
};
use super::{FULL, HALF, LIMB_MASK};
use crate::fault::{Kind, strike};

/// The public key, prepared.
pub(crate) struct PublicModulus {
    modulus: Modulus<FULL>,
    /// `M` of the modulus in all lanes, low and high limbs.
    m: [Residue; 2],
    /// `R^2 mod n` in all lanes.
    r2: Product,
    exponent: u32,
}

impl PublicModulus {
    /// Prepares a modulus with `r2 = 2^4160 mod n` and an odd exponent above 1.
    pub(crate) fn new(modulus: Modulus<FULL>, r2: &[u64; FULL], exponent: u32) -> Self {
        let mut m = [zero(); 2];
        let wide = broadcast(&modulus.m);
        for (half, limbs) in m.iter_mut().zip(wide.as_chunks().0) {
            *half = *limbs;
        }
        Self { modulus, m, r2: broadcast(r2), exponent }
    }
}

/// In which lanes (a bit each) `signature < n` and `signature^e mod n = message`.
///
/// Both with exact limbs.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn check(signature: &Product, message: &Product, key: &PublicModulus) -> u8 {
    let mut reduced = *signature;
    let below = subtract_once(&mut reduced, &key.modulus.n);
    let mut opened = public_power(signature, key);
    normalise(&mut opened, &key.modulus.n);
    strike(Kind::Check, &mut opened);
    let mut difference = _mm512_setzero_si512();
    for (left, right) in opened.iter().zip(message) {
        difference = _mm512_or_si512(difference, _mm512_xor_si512(load(left), load(right)));
    }
    below & !_mm512_cmpneq_epi64_mask(difference, _mm512_setzero_si512())
}

/// `base^e`, almost reduced: square and multiply from the top bit down; the last factor is the base
/// itself rather than its Montgomery form, which leaves the form on the way.
#[target_feature(enable = "avx512f,avx512ifma")]
fn public_power(base: &Product, key: &PublicModulus) -> Product {
    let mut columns = zero();
    let mut entered = zero();
    multiply(&mut columns, base, &key.r2);
    reduce(&mut entered, &mut columns, key);
    let mut value = entered;
    for bit in (0..key.exponent.ilog2()).rev() {
        square(&mut columns, &value);
        reduce(&mut value, &mut columns, key);
        if (key.exponent >> bit) & 1 == 1 {
            multiply(&mut columns, &value, if bit == 0 { base } else { &entered });
            reduce(&mut value, &mut columns, key);
        }
    }
    value
}

/// Columns of a product of two 40-limb numbers, with room for the reduction.
type Columns = Wide<{ 2 * FULL + 1 }>;

/// The columns of `a b`.
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply(columns: &mut Columns, a: &Product, b: &Product) {
    *columns = zero();
    let (a, b) = (halves(a), halves(b));
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            add_product(&mut columns[(i + j) * HALF..], a, b);
        }
    }
    strike(Kind::Check, columns);
}

/// The columns of `a^2`.
#[target_feature(enable = "avx512f,avx512ifma")]
fn square(columns: &mut Columns, a: &Product) {
    let [low, high] = halves(a);
    square_columns(&mut columns[..], &low);
    square_columns(&mut columns[FULL..], &high);
    columns[2 * FULL] = Lanes::default();
    let mut mixed: Product = zero();
    add_product(&mut mixed, &low, &high);
    for (column, mixed) in columns[HALF..].iter_mut().zip(&mixed) {
        let mixed = load(mixed);
        raise(column, _mm512_add_epi64(mixed, mixed));
    }
    strike(Kind::Check, columns);
}

/// `columns / R`, almost reduced, limbs loose: 39 steps by `M` in two blocks, one by `n`. Of each
/// block first the low half of `M`, on which its multiples depend, then the high half.
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce(out: &mut Product, columns: &mut Columns, key: &PublicModulus) {
    for block in 0..2 {
        let steps = if block == 0 { HALF } else { HALF - 1 };
        let start = block * HALF;
        let mut multiples: Residue = zero();
        for step in 0..steps {
            let multiple = load(&columns[start + step]);
            store(&mut multiples[step], multiple);
            let next = &mut columns[start + step + 1..];
            raise(&mut next[0], carry(multiple));
            add_row(next, multiple, &key.m[0]);
            strike(Kind::Check, next);
        }
        strike(Kind::Check, &mut multiples);
        add_product(&mut columns[start + HALF + 1..], &multiples, &key.m[1]);
    }
    let lowest = load(&columns[FULL - 1]);
    let multiple = add_low(_mm512_setzero_si512(), lowest, splat(key.modulus.k));
    let mut passed = carry(_mm512_add_epi64(lowest, splat(LIMB_MASK)));
    let mut high = _mm512_setzero_si512();
    for (j, n) in key.modulus.n.iter().enumerate() {
        if j > 0 {
            let column = _mm512_add_epi64(load(&columns[FULL - 1 + j]), high);
            let limb = add_low(_mm512_add_epi64(column, passed), multiple, splat(*n));
            store(&mut out[j - 1], limb);
            passed = carry(limb);
        }
        high = add_high(_mm512_setzero_si512(), multiple, splat(*n));
    }
    let top = _mm512_add_epi64(load(&columns[2 * FULL - 1]), high);
    store(&mut out[FULL - 1], _mm512_add_epi64(top, passed));
    strike(Kind::Check, out);
}

/// Adds to a column.
#[inline]
#[target_feature(enable = "avx512f")]
fn raise(column: &mut Lanes, by: __m512i) {
    let sum = _mm512_add_epi64(load(column), by);
    store(column, sum);
}

/// Adds `digit * b` to the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_row(columns: &mut [Lanes], digit: __m512i, b: &Residue) {
    let mut high = _mm512_setzero_si512();
    for (column, limb) in columns.iter_mut().zip(b) {
        let limb = load(limb);
        let sum = add_low(_mm512_add_epi64(load(column), high), digit, limb);
        store(column, sum);
        high = add_high(_mm512_setzero_si512(), digit, limb);
    }
    raise(&mut columns[HALF], high);
}

/// Low and high limbs.
fn halves(number: &Product) -> [Residue; 2] {
    let mut halves = [zero(); 2];
    for (half, limbs) in halves.iter_mut().zip(number.as_chunks().0) {
        *half = *limbs;
    }
    halves
}
