//! Fault injection, for tests alone: with the feature `fault-injection` one bit of the kernel's state
//! is flipped at a chosen place; without it nothing is compiled.

#[cfg(not(feature = "fault-injection"))]
use core::arch::x86_64::__m512i;

use crate::kernel::lanes::Lanes;

/// What a fault hits: the kinds of numbers that the kernel holds on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The numbers to raise, in limbs.
    Base,
    /// An entry of the table of powers.
    Table,
    /// The entry that is being chosen, in registers.
    Choice,
    /// The entry that was chosen.
    Factor,
    /// The power so far, between two products.
    Power,
    /// Column sums in registers, within a row of products.
    Row,
    /// Column sums in registers, within a step of reduction.
    Step,
    /// Column sums in registers, before the last carries.
    Finish,
    /// Column sums in registers, within a square.
    Square,
    /// Limbs whose carries were taken.
    Settled,
    /// What is left after the modulus was subtracted, before it is chosen.
    Difference,
    /// The root modulo `p`, while the other is computed.
    Root,
    /// The quotient of the recombination.
    Quotient,
    /// The signature, in limbs or bytes.
    Signature,
    /// A number of the check alone.
    Check,
}

#[cfg(not(feature = "fault-injection"))]
#[inline]
pub(crate) fn strike(_kind: Kind, _state: &mut [Lanes]) {}

#[cfg(not(feature = "fault-injection"))]
#[inline]
pub(crate) fn strike_registers(_kind: Kind, _state: &mut [__m512i]) {}

#[cfg(not(feature = "fault-injection"))]
#[inline]
pub(crate) fn strike_bytes(_kind: Kind, _state: &mut [[u8; 256]]) {}

#[cfg(all(test, feature = "fault-injection"))]
pub(crate) use injected::journal;
#[cfg(feature = "fault-injection")]
pub use injected::{Fault, arm};
#[cfg(feature = "fault-injection")]
pub(crate) use injected::{strike, strike_bytes, strike_registers};

#[cfg(feature = "fault-injection")]
mod injected {
    use core::arch::x86_64::__m512i;
    use std::cell::{Cell, RefCell};

    use super::{Kind, Lanes};
    use crate::kernel::residue::{load, store};

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
        static JOURNAL: RefCell<Option<Vec<Kind>>> = const { RefCell::new(None) };
    }

    /// Arms one fault, or none, and returns how many places were passed since the last call.
    #[expect(clippy::must_use_candidate, reason = "who only arms needs no count")]
    pub fn arm(fault: Option<Fault>) -> usize {
        NEXT.set(fault);
        PASSED.replace(0)
    }

    /// What the work passes, place by place.
    #[cfg(test)]
    pub(crate) fn journal(work: impl FnOnce()) -> Vec<Kind> {
        JOURNAL.set(Some(Vec::new()));
        work();
        JOURNAL.take().unwrap_or_default()
    }

    /// The bit to flip here, if the time has come.
    fn due(kind: Kind, words: usize) -> Option<(usize, u64)> {
        JOURNAL.with_borrow_mut(|journal| journal.as_mut().map(|journal| journal.push(kind)));
        let place = PASSED.replace(PASSED.get() + 1);
        let fault = NEXT.get().filter(|fault| fault.after == place)?;
        NEXT.set(None);
        Some((fault.word % words, 1 << (fault.bit % u64::BITS)))
    }

    /// A place where a fault may happen.
    pub(crate) fn strike(kind: Kind, state: &mut [Lanes]) {
        let Some((target, flip)) = due(kind, state.len() * 8) else { return };
        if let Some(word) = state.iter_mut().flat_map(|limb| &mut limb.0).nth(target) {
            *word ^= flip;
        }
    }

    /// The same for what is held in registers.
    #[target_feature(enable = "avx512f")]
    pub(crate) fn strike_registers(kind: Kind, state: &mut [__m512i]) {
        let Some((target, flip)) = due(kind, state.len() * 8) else { return };
        if let Some(register) = state.get_mut(target / 8) {
            let mut lanes = Lanes::default();
            store(&mut lanes, *register);
            for word in lanes.0.iter_mut().skip(target % 8).take(1) {
                *word ^= flip;
            }
            *register = load(&lanes);
        }
    }

    /// The same for numbers that are bytes already.
    pub(crate) fn strike_bytes(kind: Kind, state: &mut [[u8; 256]]) {
        let Some((target, flip)) = due(kind, state.len() * 32) else { return };
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
    use std::collections::BTreeMap;

    use super::{Fault, Kind, arm, journal};
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

    /// Where each kind of number is passed.
    fn by_kind(journal: Vec<Kind>) -> BTreeMap<Kind, Vec<usize>> {
        let mut places: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
        for (place, kind) in journal.into_iter().enumerate() {
            places.entry(kind).or_default().push(place);
        }
        places
    }

    /// One bit flipped anywhere in the private operation, in each kind of number: in each lane the check
    /// passes exactly if the signature is the right one.
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
        let places = by_kind(journal(|| {
            ifma.private_operation(&mut workspace, key, &messages);
        }));
        assert_eq!(places.len(), 14, "{:?}", places.keys());
        for (kind, places) in &places {
            let tries = tries() / 10;
            let mut changed = 0;
            for _ in 0..tries {
                let Fault { after, word, bit } = random_fault(places.len());
                let fault = Fault { after: places[after], word, bit };
                arm(Some(fault));
                let signatures = ifma.private_operation(&mut workspace, key, &messages);
                arm(None);
                let passed = ifma.check(&key.public, &signatures, &messages);
                for (lane, (made, right)) in signatures.iter().zip(&expected).enumerate() {
                    assert_eq!(
                        (passed >> lane) & 1 == 1,
                        made == right,
                        "{kind:?} {fault:?}, {lane}"
                    );
                    changed += usize::from(made != right);
                }
            }
            // Bits above 52 and powers that no digit asks for change nothing; others do.
            eprintln!(
                "{kind:?}: {} places, {changed} of {tries} flips changed a signature",
                places.len()
            );
            assert!(changed > 0, "{kind:?}");
        }
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
        let places = by_kind(journal(|| {
            key.sign_many_with(Backend::Ifma, &digests, &mut signatures).unwrap();
        }));
        assert_eq!(places.len(), 15, "{:?}", places.keys());
        let mut repaired = 0;
        for (kind, places) in &places {
            for _ in 0..tries() / 30 {
                let Fault { after, word, bit } = random_fault(places.len());
                let fault = Fault { after: places[after], word, bit };
                signatures.clear();
                arm(Some(fault));
                let stats = key.sign_many_with(Backend::Ifma, &digests, &mut signatures).unwrap();
                arm(None);
                assert_eq!(signatures, expected, "{kind:?} {fault:?}");
                assert_eq!(stats.vector + stats.repaired, GROUP);
                repaired += stats.repaired;
            }
        }
        assert!(repaired > 0);
    }
}
