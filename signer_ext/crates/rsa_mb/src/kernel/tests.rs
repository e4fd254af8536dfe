//! The kernel's steps against plain arithmetic, one at a time. No call goes to a library of another
//! language, so an interpreter that checks each access to memory can run them too (`make sanitize`).

use num_bigint::BigUint;

use super::batch::Ifma;
use super::check::{PublicModulus, check};
use super::lanes::{Lanes, Wide, broadcast, gather, zero};
use super::modulus::Modulus;
use super::power::{ENTRIES, select};
use super::recombine::recombine;
use super::residue::{Product, Residue, add_product, multiply, normalise, reduce, square};
use super::{FULL, HALF, LANES, LIMB_BITS, LIMB_MASK};
use crate::natural::to_limbs;

/// How many of so many cases are tried: an interpreter is slow, and few show it each access to memory.
fn share(cases: usize) -> usize {
    if cfg!(miri) { 1 } else { cases }
}

/// Runs a test's body where the processor can. The body has the kernel's target features.
macro_rules! with_ifma {
    ($body:block) => {{
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn body() $body
        if Ifma::detect().is_some() {
            // SAFETY: an `Ifma` exists only where the processor has avx512f and avx512ifma.
            unsafe { body() }
        }
    }};
}

/// Numbers of nothing in particular, the same in each run. [Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators": `SplitMix64`]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: &BigUint) -> BigUint {
        let words = limit.bits().div_ceil(32) + 2;
        let digits: Vec<u32> = (0..words).map(|_| (self.next() >> 32) as u32).collect();
        BigUint::new(digits) % limit
    }
}

fn power_of_two(bits: usize) -> BigUint {
    BigUint::from(1_u8) << bits
}

/// `2^1040`.
fn radix() -> BigUint {
    power_of_two(HALF * LIMB_BITS as usize)
}

/// Odd numbers of 1024 bits: the smallest, the largest, and some between.
fn moduli() -> Vec<BigUint> {
    let mut numbers = Numbers(1);
    let top = power_of_two(1023);
    let mut moduli = vec![&top + 1_u8, power_of_two(1024) - 1_u8];
    moduli.extend((0..2).map(|_| (&top + numbers.below(&top)) | BigUint::from(1_u8)));
    moduli
}

/// Numbers that a product may have as a factor: around 0, the modulus and its multiples, the largest,
/// and some between.
fn factors(modulus: &BigUint) -> Vec<BigUint> {
    let limit = power_of_two(1026);
    let one = BigUint::from(1_u8);
    let mut numbers = Numbers(2);
    let mut factors = vec![BigUint::ZERO, one.clone(), &limit - 1_u8, power_of_two(52) - 1_u8];
    factors.extend([modulus - 1_u8, modulus.clone(), modulus + 1_u8, modulus * 2_u8 - 1_u8]);
    factors.extend((0..8).map(|_| numbers.below(&limit)));
    factors
}

fn prepared<const L: usize>(number: &BigUint) -> Modulus<L> {
    Modulus::new(&number.to_u64_digits())
}

fn limbs<const L: usize>(number: &BigUint) -> [u64; L] {
    *to_limbs(&number.to_u64_digits(), LIMB_BITS)
}

fn wide<const L: usize>(numbers: &[BigUint; LANES]) -> Wide<L> {
    let numbers = numbers.each_ref().map(limbs::<L>);
    std::array::from_fn(|place| Lanes(numbers.map(|limbs| limbs[place])))
}

/// What the lanes hold; bits from 52 upwards do not count.
fn read<const L: usize>(wide: &Wide<L>) -> [BigUint; LANES] {
    std::array::from_fn(|lane| {
        wide.iter()
            .rev()
            .fold(BigUint::ZERO, |sum, limb| (sum << LIMB_BITS) + (limb.0[lane] & LIMB_MASK))
    })
}

/// Eight of the numbers, from a place on, then again from the first.
fn eight(numbers: &[BigUint], start: usize) -> [BigUint; LANES] {
    std::array::from_fn(|lane| numbers[(start + lane) % numbers.len()].clone())
}

/// The product is almost reduced and congruent to `a b / R`, and so is the square; normalised, it is
/// the remainder. Edges meet edges, in every lane.
#[test]
fn products_and_squares_are_congruent() {
    with_ifma!({
        for number in moduli().into_iter().take(share(4)) {
            let (modulus, factors) = (prepared(&number), factors(&number));
            let inverse = radix().modinv(&number).unwrap();
            for shift in (0..factors.len()).step_by(3).take(share(6)) {
                let (a, b) = (eight(&factors, shift), eight(&factors, 2 * shift + 1));
                let mut product: Residue = wide(&a);
                multiply(&mut product, &wide(&b), &modulus);
                let mut columns: Product = zero();
                let mut squared: Residue = wide(&a);
                square(&mut squared, &mut columns, &modulus);
                for (made, b) in [(&mut product, &b), (&mut squared, &a)] {
                    let almost = read(made);
                    normalise(made, &modulus.n);
                    let exact = read(made);
                    for lane in 0..LANES {
                        let expected = &a[lane] * &b[lane] * &inverse % &number;
                        assert!(almost[lane].bits() <= 1026, "lane {lane}");
                        assert_eq!(&almost[lane] % &number, expected, "lane {lane}");
                        assert_eq!(exact[lane], expected, "lane {lane}");
                    }
                }
            }
        }
    });
}

/// Numbers of 2048 bits are divided by `R`.
#[test]
fn long_numbers_are_reduced() {
    with_ifma!({
        let limit = power_of_two(2048);
        let mut numbers = Numbers(3);
        let mut long = vec![BigUint::ZERO, &limit - 1_u8, power_of_two(1040), radix() - 1_u8];
        long.extend((0..4).map(|_| numbers.below(&limit)));
        for number in moduli().into_iter().take(share(4)) {
            let inverse = radix().modinv(&number).unwrap();
            let mut out: Residue = zero();
            reduce(&mut out, &wide(&eight(&long, 0)), &prepared(&number));
            for (made, long) in read(&out).iter().zip(&long) {
                assert!(made.bits() <= 1026);
                assert_eq!(made % &number, long * &inverse % &number);
            }
        }
    });
}

/// Columns of any size that occurs are added to, and nothing is lost.
#[test]
fn products_are_added_to_columns() {
    with_ifma!({
        let largest = power_of_two(1040) - 1_u8;
        let mut numbers = Numbers(4);
        let a: [BigUint; LANES] = std::array::from_fn(|_| numbers.below(&largest));
        let b: [BigUint; LANES] =
            std::array::from_fn(
                |lane| if lane == 0 { largest.clone() } else { a[lane - 1].clone() },
            );
        let mut columns: Product = [Lanes([1 << 58; LANES]); FULL];
        add_product(&mut columns, &wide(&a), &wide(&b));
        let before = (0..FULL).fold(BigUint::ZERO, |sum, _| (sum << LIMB_BITS) + (1_u64 << 58));
        for lane in 0..LANES {
            let whole = columns
                .iter()
                .rev()
                .fold(BigUint::ZERO, |sum, column| (sum << LIMB_BITS) + column.0[lane]);
            assert_eq!(whole, &before + &a[lane] * &b[lane]);
        }
    });
}

/// Each digit chooses its entry, and nothing of the others.
#[test]
fn every_entry_can_be_chosen() {
    with_ifma!({
        let mut numbers = Numbers(5);
        let table: Box<[Residue; ENTRIES]> = Box::new(std::array::from_fn(|_| {
            std::array::from_fn(|_| Lanes(std::array::from_fn(|_| numbers.next())))
        }));
        for (digit, entry) in (0..).zip(table.iter()) {
            let mut chosen: Residue = zero();
            select(&mut chosen, &table, digit);
            assert!(chosen.iter().zip(entry).all(|(chosen, entry)| chosen.0 == entry.0), "{digit}");
        }
    });
}

/// Roots modulo two primes become the number that has both as its remainders, below `n`, whichever
/// prime is the larger. (For Garner's formula they need only have no common divisor.)
#[test]
fn both_halves_are_recombined() {
    with_ifma!({
        let (small, large) = (&power_of_two(1023) + 1_u8, &power_of_two(1024) - 3_u8);
        for (p, q) in [(&small, &large), (&large, &small)] {
            let mut numbers = Numbers(6);
            let mut wanted = vec![BigUint::ZERO, p * q - 1_u8, p.clone(), q.clone()];
            wanted.extend((0..4).map(|_| numbers.below(&(p * q))));
            let wanted = eight(&wanted, 0);
            let mut roots: [Residue; 2] =
                [p, q].map(|prime| wide(&wanted.each_ref().map(|number| number % prime)));
            let [root_p, root_q] = &mut roots;
            let q_inverse = q.modinv(p).unwrap() * radix() % p;
            let mut out: Product = zero();
            recombine(&mut out, (root_p, root_q), (&prepared(p), &limbs(q)), &limbs(&q_inverse));
            assert_eq!(read(&out), wanted);
        }
    });
}

/// The public operation accepts the roots of its messages and nothing else, in each lane by itself.
#[test]
fn the_public_operation_is_plain_arithmetic() {
    with_ifma!({
        let number = &moduli()[2] * &moduli()[3];
        let r2 = power_of_two(2 * FULL * LIMB_BITS as usize) % &number;
        let mut numbers = Numbers(7);
        for exponent in [3_u32, 5, 17] {
            let key = PublicModulus::new(prepared(&number), &limbs(&r2), exponent);
            let mut roots = vec![BigUint::ZERO, BigUint::from(1_u8), &number - 1_u8];
            roots.extend((0..5).map(|_| numbers.below(&number)));
            let roots = eight(&roots, 0);
            let messages = roots.each_ref().map(|root| root.modpow(&exponent.into(), &number));
            assert_eq!(check(&wide(&roots), &wide(&messages), &key), 0xff);
            for lane in 0..LANES {
                let mut wrong = messages.clone();
                wrong[lane] = (&wrong[lane] + 1_u8) % &number;
                assert_eq!(check(&wide(&roots), &wide(&wrong), &key), !(1 << lane));
                let mut above = roots.clone();
                above[lane] = &above[lane] + &number;
                assert_eq!(check(&wide(&above), &wide(&messages), &key), !(1 << lane));
            }
        }
    });
}

/// Limbs of one number in all lanes are the limbs that go in as bytes.
#[test]
fn lanes_filled_alike_are_alike() {
    let bytes: [u8; 256] = std::array::from_fn(|place| u8::try_from(255 - place).unwrap());
    let number = BigUint::from_bytes_be(&bytes);
    let broadcast = broadcast(&limbs::<FULL>(&number));
    let gathered = gather(&[bytes; LANES]);
    assert!(broadcast.iter().zip(&gathered).all(|(left, right)| left.0 == right.0));
}
