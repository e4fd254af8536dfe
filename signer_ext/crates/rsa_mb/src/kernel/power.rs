//! Exponentiation modulo both primes, with secret exponents.
//!
//! Fixed window of five bits (Handbook of Applied Cryptography, 14.82): a table of the powers 0 to 31
//! of the base, then five squarings and one multiplication for each digit, also for the digit 0. All
//! lanes have the same exponent, so the order of operations is a constant of the program.
//!
//! The primes are worked on one after the other. A row of 40 independent sums is more than enough to
//! fill both multiply ports, and the table of one prime (40 kB) just fits the first-level cache; taking
//! turns between the primes hides the carries at the end of each product, but two tables do not fit,
//! and it measured slower with windows of five and of four bits.
//!
//! The digit selects a table entry by masked moves over *all* entries in their order: which cache
//! lines are read, and when, does not depend on it.
#![allow(clippy::indexing_slicing, clippy::needless_range_loop)]

use core::arch::x86_64::{
    _mm512_cmpeq_epi64_mask, _mm512_maskz_ternarylogic_epi64, _mm512_setzero_si512,
    _mm512_ternarylogic_epi64,
};

use core::hint::black_box;

use zeroize::Zeroize;

use super::HALF;
use super::lanes::{broadcast, zero};
use super::modulus::Modulus;
use super::residue::{Product, Residue, load, multiply, reduce, splat, square, store};
use crate::fault::{Kind, strike, strike_registers};

/// Bits of a window.
const WINDOW_BITS: usize = 5;
/// Powers of the base that are kept.
pub(super) const ENTRIES: usize = 1 << WINDOW_BITS;
/// Windows of a 1024-bit exponent; the top one has four bits.
const DIGITS: usize = 1024_usize.div_ceil(WINDOW_BITS);

/// A secret exponent of up to 1024 bits, as digits of [`WINDOW_BITS`], the least significant first.
pub(crate) struct Exponent([u8; DIGITS]);

impl Exponent {
    /// Cuts the exponent (64-bit words, least significant first) into digits.
    pub(crate) fn new(words: &[u64; 16]) -> Self {
        let mut digits = [0; DIGITS];
        for (place, digit) in digits.iter_mut().enumerate() {
            for bit in (0..WINDOW_BITS).rev() {
                let position = place * WINDOW_BITS + bit;
                let word = words.get(position / 64).copied().unwrap_or(0);
                *digit = (*digit << 1) | u8::from((word >> (position % 64)) & 1 == 1);
            }
        }
        Self(digits)
    }

    /// How many multiplications a kernel would save that skips digits 0.
    #[cfg(feature = "timing-probe")]
    pub(crate) fn zero_digits(&self) -> usize {
        self.0.iter().map(|digit| usize::from(*digit == 0)).sum()
    }
}

impl Zeroize for Exponent {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// What a key holds for one prime.
pub(crate) struct PrimeHalf {
    /// The prime.
    pub(crate) modulus: Modulus<HALF>,
    /// The private exponent modulo the prime less one.
    pub(crate) exponent: Exponent,
    /// `R mod N`: 1 in Montgomery form.
    pub(crate) one: [u64; HALF],
    /// `R^3 mod N`, which brings a number that was reduced once into Montgomery form.
    pub(crate) r3: [u64; HALF],
}

impl Zeroize for PrimeHalf {
    fn zeroize(&mut self) {
        self.modulus.zeroize();
        self.exponent.zeroize();
        self.one.zeroize();
        self.r3.zeroize();
    }
}

/// Memory for one exponentiation; holds secrets and must be wiped.
pub(crate) struct Scratch {
    table: [Residue; ENTRIES],
    pub(crate) value: Residue,
    factor: Residue,
    columns: Product,
}

impl Scratch {
    #[expect(clippy::large_stack_arrays, reason = "only zeros, on their way to the heap")]
    pub(crate) const fn new() -> Self {
        Self { table: [zero(); ENTRIES], value: zero(), factor: zero(), columns: zero() }
    }
}

impl Zeroize for Scratch {
    fn zeroize(&mut self) {
        self.table.zeroize();
        self.value.zeroize();
        self.factor.zeroize();
        self.columns.zeroize();
    }
}

/// `base^exponent mod N` into `scratch.value`, as an almost reduced plain number.
///
/// `base` is any number below 2^2048, the same order of lanes.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn power(scratch: &mut Scratch, base: &Product, half: &PrimeHalf) {
    prepare(scratch, base, half);
    let mut digits = half.exponent.0.iter().rev();
    if let Some(digit) = digits.next() {
        select(&mut scratch.value, &scratch.table, *digit);
    }
    for digit in digits {
        window(scratch, *digit, &half.modulus);
    }
    leave_montgomery_form(scratch, &half.modulus);
}

/// Fills the table with the powers of the base in Montgomery form.
#[target_feature(enable = "avx512f,avx512ifma")]
fn prepare(scratch: &mut Scratch, base: &Product, half: &PrimeHalf) {
    let modulus = &half.modulus;
    reduce(&mut scratch.value, base, modulus);
    strike(Kind::Power, &mut scratch.value);
    multiply(&mut scratch.value, &broadcast(&half.r3), modulus);
    scratch.table[0] = broadcast(&half.one);
    scratch.table[1] = scratch.value;
    for entry in &mut scratch.table[..2] {
        strike(Kind::Table, entry);
    }
    for i in 1..ENTRIES / 2 {
        scratch.value = scratch.table[i];
        square(&mut scratch.value, &mut scratch.columns, modulus);
        scratch.table[2 * i] = scratch.value;
        strike(Kind::Table, &mut scratch.table[2 * i]);
        multiply(&mut scratch.value, &scratch.table[1], modulus);
        scratch.table[2 * i + 1] = scratch.value;
        strike(Kind::Table, &mut scratch.table[2 * i + 1]);
    }
}

/// One digit: `value^32 * base^digit`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn window(scratch: &mut Scratch, digit: u8, modulus: &Modulus<HALF>) {
    for _ in 0..WINDOW_BITS {
        square(&mut scratch.value, &mut scratch.columns, modulus);
        strike(Kind::Power, &mut scratch.value);
    }
    select(&mut scratch.factor, &scratch.table, digit);
    strike(Kind::Factor, &mut scratch.factor);
    multiply(&mut scratch.value, &scratch.factor, modulus);
    strike(Kind::Power, &mut scratch.value);
}

/// Copies entry `digit` of the table, reading every entry.
///
/// Four entries at a time: the last bit of the digit chooses within both pairs, the others let one
/// pair of the table through and make the rest 0.
#[inline(never)]
#[target_feature(enable = "avx512f")]
pub(super) fn select(out: &mut Residue, table: &[Residue; ENTRIES], digit: u8) {
    // Truth tables for three inputs: `b ? c : a`, and `a | b | c`.
    const CHOOSE: i32 = 0b1011_1000;
    const UNITE: i32 = 0b1111_1110;
    // Opaque, lest the compiler turn the comparison of vectors into one of numbers, and a branch.
    let pair = black_box(splat(u64::from(digit >> 1)));
    let is_odd = black_box(splat(u64::from(digit & 1).wrapping_neg()));
    // Half of the limbs at a time, so that all sums stay in registers.
    unroll!(PART in [0 1] {
        let mut chosen = [_mm512_setzero_si512(); HALF / 2];
        for (number, [a, b, c, d]) in (0..).zip(table.as_chunks().0) {
            let is_first = _mm512_cmpeq_epi64_mask(pair, splat(2 * number));
            let is_second = _mm512_cmpeq_epi64_mask(pair, splat(2 * number + 1));
            unroll!(J in [0 1 2 3 4 5 6 7 8 9] {
                const PLACE: usize = PART * HALF / 2 + J;
                let (even, odd) = (load(&a[PLACE]), load(&b[PLACE]));
                let first = _mm512_maskz_ternarylogic_epi64::<CHOOSE>(is_first, even, is_odd, odd);
                let (even, odd) = (load(&c[PLACE]), load(&d[PLACE]));
                let second = _mm512_maskz_ternarylogic_epi64::<CHOOSE>(is_second, even, is_odd, odd);
                chosen[J] = _mm512_ternarylogic_epi64::<UNITE>(chosen[J], first, second);
            });
        }
        strike_registers(Kind::Choice, &mut chosen);
        unroll!(J in [0 1 2 3 4 5 6 7 8 9] {
            store(&mut out[PART * HALF / 2 + J], chosen[J]);
        });
    });
}

/// Divides by `R`.
#[target_feature(enable = "avx512f,avx512ifma")]
fn leave_montgomery_form(scratch: &mut Scratch, modulus: &Modulus<HALF>) {
    let mut one = [0; HALF];
    one[0] = 1;
    multiply(&mut scratch.value, &broadcast(&one), modulus);
    strike(Kind::Power, &mut scratch.value);
}

/// What must not be done: digits 0 are skipped, and only the wanted entry is read. The control of the
/// example `timing`.
#[cfg(feature = "timing-probe")]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn leaky_power(scratch: &mut Scratch, base: &Product, half: &PrimeHalf) {
    prepare(scratch, base, half);
    scratch.value = scratch.table[0];
    for digit in half.exponent.0.iter().rev() {
        for _ in 0..WINDOW_BITS {
            square(&mut scratch.value, &mut scratch.columns, &half.modulus);
        }
        if *digit != 0 {
            multiply(&mut scratch.value, &scratch.table[usize::from(*digit)], &half.modulus);
        }
    }
    leave_montgomery_form(scratch, &half.modulus);
}
