//! Eight numbers side by side, and the way from bytes to limbs and back.

use zeroize::Zeroize;

use super::{FULL, LANES, LIMB_BITS, LIMB_MASK};

/// One limb of eight numbers: what a 512-bit register holds.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default)]
pub(crate) struct Lanes(pub(crate) [u64; LANES]);

impl Zeroize for Lanes {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// Eight numbers of `L` limbs, the least significant limb first.
pub(crate) type Wide<const L: usize> = [Lanes; L];

/// Eight numbers that are 0.
pub(crate) const fn zero<const L: usize>() -> Wide<L> {
    [Lanes([0; LANES]); L]
}

/// The same number in each lane.
pub(crate) fn broadcast<const L: usize>(number: &[u64; L]) -> Wide<L> {
    number.map(|limb| Lanes([limb; LANES]))
}

/// Bytes of two limbs.
const PAIR_BYTES: usize = 13;

/// Puts eight big-endian numbers of 2048 bits into the lanes.
pub(crate) fn gather(numbers: &[[u8; 256]; LANES]) -> Wide<FULL> {
    let mut wide = zero();
    for (lane, number) in numbers.iter().enumerate() {
        let mut bytes = number.rchunks(PAIR_BYTES);
        for pair in wide.as_chunks_mut::<2>().0 {
            let value = bytes.next().map_or(0, |chunk| {
                chunk.iter().fold(0_u128, |value, byte| (value << 8) | u128::from(*byte))
            });
            let [low, high] = pair;
            put(low, lane, low_limb(value));
            put(high, lane, low_limb(value >> LIMB_BITS));
        }
    }
    wide
}

/// Takes the eight numbers out again, big-endian. Each must be below 2^2048, its limbs exact.
pub(crate) fn scatter(wide: &Wide<FULL>) -> [[u8; 256]; LANES] {
    let mut numbers = [[0; 256]; LANES];
    for (lane, number) in numbers.iter_mut().enumerate() {
        for (chunk, pair) in number.rchunks_mut(PAIR_BYTES).zip(wide.as_chunks::<2>().0) {
            let [low, high] = pair;
            let value = u128::from(get(low, lane)) | (u128::from(get(high, lane)) << LIMB_BITS);
            for (byte, part) in chunk.iter_mut().rev().zip(value.to_le_bytes()) {
                *byte = part;
            }
        }
    }
    numbers
}

#[expect(clippy::cast_possible_truncation, reason = "masked to 52 bits")]
fn low_limb(value: u128) -> u64 {
    value as u64 & LIMB_MASK
}

fn put(limb: &mut Lanes, lane: usize, value: u64) {
    if let Some(place) = limb.0.get_mut(lane) {
        *place = value;
    }
}

fn get(limb: &Lanes, lane: usize) -> u64 {
    limb.0.get(lane).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes go into the lanes and come back unchanged, each limb below 2^52.
    #[test]
    fn gather_and_scatter_are_inverse() {
        let mut numbers = [[0; 256]; LANES];
        for (lane, number) in numbers.iter_mut().enumerate() {
            for (place, byte) in number.iter_mut().enumerate() {
                *byte = u8::try_from((place * 37 + lane * 101 + 255) % 256).unwrap();
            }
        }
        numbers[3] = [0xff; 256];
        let wide = gather(&numbers);
        assert!(wide.iter().all(|limb| limb.0.iter().all(|value| *value <= LIMB_MASK)));
        assert_eq!(wide[0].0[3], LIMB_MASK);
        assert_eq!(wide[FULL - 1].0[3], (1 << (2048 - 39 * 52)) - 1);
        assert_eq!(scatter(&wide), numbers);
    }
}
