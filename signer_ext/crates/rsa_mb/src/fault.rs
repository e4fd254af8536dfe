//! Fault injection, for tests alone: with the feature `fault-injection` one bit of the kernel's state
//! is flipped at a chosen place; without it nothing is compiled.

use crate::kernel::lanes::Lanes;

#[cfg(not(feature = "fault-injection"))]
#[inline]
pub(crate) fn strike(_state: &mut [Lanes]) {}

#[cfg(not(feature = "fault-injection"))]
#[inline]
pub(crate) fn strike_bytes(_state: &mut [[u8; 256]]) {}

#[cfg(feature = "fault-injection")]
pub use injected::{Fault, arm};
#[cfg(feature = "fault-injection")]
pub(crate) use injected::{strike, strike_bytes};

#[cfg(feature = "fault-injection")]
mod injected {
    use std::cell::Cell;

    use super::Lanes;

    /// Where the next fault of this thread happens.
    #[derive(Clone, Copy, Debug)]
    pub struct Fault {
        /// How many places are passed unharmed.
        pub after: usize,
        /// Which 64-bit word of the place; wraps around.
        pub word: usize,
        /// Which bit of the word; wraps around.
        pub bit: u32,
    }

    thread_local! {
        static NEXT: Cell<Option<Fault>> = const { Cell::new(None) };
        static PASSED: Cell<usize> = const { Cell::new(0) };
    }

    /// Arms one fault, or none, and returns how many places were passed since the last call.
    #[expect(clippy::must_use_candidate, reason = "who only arms needs no count")]
    pub fn arm(fault: Option<Fault>) -> usize {
        NEXT.set(fault);
        PASSED.replace(0)
    }

    /// The bit to flip here, if the time has come.
    fn due(words: usize) -> Option<(usize, u64)> {
        let place = PASSED.replace(PASSED.get() + 1);
        let fault = NEXT.get().filter(|fault| fault.after == place)?;
        NEXT.set(None);
        Some((fault.word % words, 1 << (fault.bit % u64::BITS)))
    }

    /// A place where a fault may happen.
    pub(crate) fn strike(state: &mut [Lanes]) {
        let Some((target, flip)) = due(state.len() * 8) else { return };
        if let Some(word) = state.iter_mut().flat_map(|limb| &mut limb.0).nth(target) {
            *word ^= flip;
        }
    }

    /// The same for numbers that are bytes already.
    pub(crate) fn strike_bytes(state: &mut [[u8; 256]]) {
        let Some((target, flip)) = due(state.len() * 32) else { return };
        for (byte, part) in
            state.as_flattened_mut().iter_mut().skip(target * 8).zip(flip.to_le_bytes())
        {
            *byte ^= part;
        }
    }
}

#[cfg(test)]
#[cfg(all(feature = "fault-injection", target_arch = "x86_64"))]
mod tests {
    use super::{Fault, arm};
    use crate::encoding::encode;
    use crate::testing::{new_key, random_digests, random_number, signed_by_library};
    use crate::vector::{GROUP, VectorKey, Workspace};
    use crate::{Backend, is_available};

    /// How many faults each test tries.
    fn tries() -> usize {
        std::env::var("RSA_MB_FAULTS").map_or(1500, |value| value.parse().unwrap())
    }

    fn random_fault(places: usize) -> Fault {
        let [after, word, bit] = random_number();
        let bit = u32::try_from(bit % 64).unwrap();
        Fault { after: after % places, word, bit }
    }

    /// One bit flipped anywhere in the private operation: in each lane the check passes exactly if the
    /// signature is the right one.
    #[test]
    fn every_flip_that_changes_a_signature_is_caught() {
        if !is_available() {
            return;
        }
        let key = new_key();
        let digests: [[u8; 32]; GROUP] = random_digests(GROUP).try_into().unwrap();
        let expected = digests.each_ref().map(|digest| signed_by_library(&key, digest));
        let VectorKey { ifma, key } = key.vector.as_deref().unwrap();
        let messages = digests.each_ref().map(encode);
        let mut workspace = Workspace::new();
        arm(None);
        ifma.private_operation(&mut workspace, key, &messages);
        let places = arm(None);
        let mut changed = 0;
        for _ in 0..tries() {
            let fault = random_fault(places);
            arm(Some(fault));
            let signatures = ifma.private_operation(&mut workspace, key, &messages);
            arm(None);
            let passed = ifma.check(&key.public, &signatures, &messages);
            for (lane, (made, right)) in signatures.iter().zip(&expected).enumerate() {
                assert_eq!((passed >> lane) & 1 == 1, made == right, "{fault:?}, lane {lane}");
                changed += usize::from(made != right);
            }
        }
        // Bits above 52 and powers that no digit asks for change nothing; most others do.
        assert!(changed * 2 > tries(), "{changed} of {}", tries());
    }

    /// One bit flipped anywhere, also in the check: what leaves is right, and what was repaired is
    /// counted.
    #[test]
    fn what_leaves_is_right_whatever_flips() {
        if !is_available() {
            return;
        }
        let key = new_key();
        let digests = random_digests(GROUP);
        let expected: Vec<_> =
            digests.iter().map(|digest| signed_by_library(&key, digest)).collect();
        let mut signatures = Vec::new();
        arm(None);
        key.sign_many_with(Backend::Ifma, &digests, &mut signatures).unwrap();
        let places = arm(None);
        let mut repaired = 0;
        for _ in 0..tries() / 3 {
            signatures.clear();
            arm(Some(random_fault(places)));
            let stats = key.sign_many_with(Backend::Ifma, &digests, &mut signatures).unwrap();
            arm(None);
            assert_eq!(signatures, expected);
            assert_eq!(stats.vector + stats.repaired, GROUP);
            repaired += stats.repaired;
        }
        assert!(repaired > 0);
    }
}
