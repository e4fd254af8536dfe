//! Natural numbers of fixed width, for the few sums done once when a key is loaded.
//!
//! Nothing here is fast, and nothing branches on the numbers: they are the private key.

use zeroize::Zeroizing;

/// A number of `W` 64-bit words, the least significant first; wiped when dropped.
pub(crate) type Natural<const W: usize> = Zeroizing<[u64; W]>;

/// Bits of a word.
const WORD_BITS: usize = 64;

/// Reads a big-endian number. `None` if it does not fit; leading zeros may be many.
pub(crate) fn from_be_bytes<const W: usize>(bytes: &[u8]) -> Option<Natural<W>> {
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(W * 8));
    if head.iter().any(|byte| *byte != 0) {
        return None;
    }
    let mut number = Natural::new([0; W]);
    for (word, chunk) in number.iter_mut().zip(tail.rchunks(8)) {
        *word = chunk.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    }
    Some(number)
}

/// Writes the number big-endian, with leading zeros.
pub(crate) fn to_be_bytes(number: &[u64]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(number.iter().rev().flat_map(|word| word.to_be_bytes()).collect())
}

/// Whether exactly the top bit of `W` words is reached.
pub(crate) fn is_full_width<const W: usize>(number: &[u64; W]) -> bool {
    number.last().is_some_and(|word| word >> (WORD_BITS - 1) == 1)
}

/// Whether both are the same.
pub(crate) fn equal(left: &[u64], right: &[u64]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |difference, (l, r)| difference | (l ^ r)) == 0
}

/// `left - right` and whether that borrowed.
pub(crate) fn subtract<const W: usize>(left: &[u64; W], right: &[u64; W]) -> (Natural<W>, bool) {
    let mut difference = Natural::new([0; W]);
    let mut borrow = false;
    for ((word, l), r) in difference.iter_mut().zip(left).zip(right) {
        let (partial, first) = l.overflowing_sub(*r);
        let (rest, second) = partial.overflowing_sub(u64::from(borrow));
        *word = rest;
        borrow = first | second;
    }
    (difference, borrow)
}

/// `left * right` in as many words as given, which must suffice.
pub(crate) fn product<const W: usize>(left: &[u64], right: &[u64]) -> Natural<W> {
    let mut result = Natural::new([0; W]);
    for (shift, l) in left.iter().enumerate() {
        let mut carry = 0_u128;
        let addends = right.iter().chain(std::iter::repeat(&0));
        for (word, r) in result.iter_mut().skip(shift).zip(addends) {
            let sum = u128::from(*word) + u128::from(*l) * u128::from(*r) + carry;
            *word = low_word(sum);
            carry = sum >> WORD_BITS;
        }
    }
    result
}

/// `number mod modulus`, one bit at a time. The modulus must not be 0.
pub(crate) fn remainder<const W: usize>(number: &[u64], modulus: &[u64; W]) -> Natural<W> {
    let mut rest = Natural::new([0; W]);
    for word in number.iter().rev() {
        for bit in (0..WORD_BITS).rev() {
            rest = double_and_add(&rest, (word >> bit) & 1, modulus);
        }
    }
    rest
}

/// `number * 2^bits mod modulus`, for `number` below `modulus`.
pub(crate) fn shifted<const W: usize>(
    number: &[u64; W],
    bits: usize,
    modulus: &[u64; W],
) -> Natural<W> {
    let mut rest = Natural::new(*number);
    for _ in 0..bits {
        rest = double_and_add(&rest, 0, modulus);
    }
    rest
}

/// `2 * rest + bit mod modulus`, for `rest` below `modulus`.
fn double_and_add<const W: usize>(rest: &[u64; W], bit: u64, modulus: &[u64; W]) -> Natural<W> {
    let mut doubled = Natural::new([0; W]);
    let mut carry = bit;
    for (word, r) in doubled.iter_mut().zip(rest) {
        *word = (r << 1) | carry;
        carry = r >> (WORD_BITS - 1);
    }
    let (mut reduced, borrow) = subtract(&doubled, modulus);
    // The difference counts if the doubled number had a bit more than W words, or was no smaller.
    let keep_doubled = u64::from(borrow) & (carry ^ 1);
    let mask = keep_doubled.wrapping_neg();
    for (word, d) in reduced.iter_mut().zip(doubled.iter()) {
        *word ^= (*word ^ d) & mask;
    }
    reduced
}

/// `(number * factor + addend) / divisor` and the remainder, for small factor and divisor.
///
/// The divisor must be below 2^32 and not 0; the quotient is cut to `W` words.
pub(crate) fn multiply_add_divide<const W: usize>(
    number: &[u64; W],
    factor: u32,
    addend: u32,
    divisor: u32,
) -> (Natural<W>, u32) {
    let mut scaled = Natural::new([0; W]);
    let mut carry = u128::from(addend);
    for (word, n) in scaled.iter_mut().zip(number) {
        let sum = u128::from(*n) * u128::from(factor) + carry;
        *word = low_word(sum);
        carry = sum >> WORD_BITS;
    }
    let divisor = u64::from(divisor);
    let mut rest = low_word(carry) % divisor;
    let mut quotient = Natural::new([0; W]);
    for (word, s) in quotient.iter_mut().zip(scaled.iter()).rev() {
        let high = (rest << 32) | (s >> 32);
        let low = ((high % divisor) << 32) | (s & 0xffff_ffff);
        *word = ((high / divisor) << 32) | (low / divisor);
        rest = low % divisor;
    }
    (quotient, u32::try_from(rest).unwrap_or(0))
}

/// Cuts the number into `L` limbs of `bits` bits each, the least significant first.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the kernel's"))]
pub(crate) fn to_limbs<const L: usize>(number: &[u64], bits: u32) -> Zeroizing<[u64; L]> {
    let mut limbs = Zeroizing::new([0; L]);
    let mut words = number.iter();
    let mut buffer = 0_u128;
    let mut filled = 0;
    for limb in limbs.iter_mut() {
        if filled < bits {
            buffer |= u128::from(words.next().copied().unwrap_or(0)) << filled;
            filled += u64::BITS;
        }
        *limb = low_word(buffer) & ((1 << bits) - 1);
        buffer >>= bits;
        filled -= bits;
    }
    limbs
}

#[expect(clippy::cast_possible_truncation, reason = "the low word is what is wanted")]
fn low_word(value: u128) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products, remainders and shifts agree with 128-bit arithmetic.
    #[test]
    fn sums_agree_with_wider_arithmetic() {
        let numbers: [u64; 6] = [1, 2, 65537, 1 << 63, u64::MAX, 0x1234_5678_9abc_def1];
        for left in numbers {
            for right in numbers {
                let wide = u128::from(left) * u128::from(right);
                let made: Natural<2> = product(&[left], &[right]);
                assert_eq!(*made, [low_word(wide), low_word(wide >> 64)]);
                for modulus in numbers {
                    let modulus_wide = u128::from(modulus);
                    assert_eq!(*remainder(&*made, &[modulus]), [low_word(wide % modulus_wide)]);
                    let shift = usize::try_from(right % 64).unwrap();
                    let expected = (u128::from(left % modulus) << shift) % modulus_wide;
                    assert_eq!(
                        *shifted(&[left % modulus], shift, &[modulus]),
                        [low_word(expected)]
                    );
                }
                let (quotient, rest) = multiply_add_divide(&[left, 0], 7, 9, 65537);
                let sum = u128::from(left) * 7 + 9;
                let whole = sum / 65537;
                assert_eq!(*quotient, [low_word(whole), low_word(whole >> 64)]);
                assert_eq!(u128::from(rest), sum % 65537);
            }
        }
    }

    /// Limbs put together again are the number.
    #[test]
    fn limbs_hold_every_bit() {
        let number = [0x0123_4567_89ab_cdef, u64::MAX, 0xfeed_face_dead_beef];
        let limbs = to_limbs::<4>(&number, 52);
        let bit =
            |place: usize| number.get(place / 64).map_or(0, |word| (word >> (place % 64)) & 1);
        for place in 0..208 {
            assert_eq!((limbs[place / 52] >> (place % 52)) & 1, bit(place), "{place}");
        }
    }

    /// Leading zeros are skipped, and what is too long is refused.
    #[test]
    fn bytes_of_any_length_are_read() {
        assert_eq!(from_be_bytes::<1>(&[0; 40]).map(|number| *number), Some([0]));
        assert_eq!(from_be_bytes::<1>(&[0, 0, 1, 2]).map(|number| *number), Some([0x0102]));
        assert_eq!(from_be_bytes::<1>(&[1, 0, 0, 0, 0, 0, 0, 0, 0]).map(|number| *number), None);
        assert_eq!(to_be_bytes(&[0x0102]).as_slice(), [0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
