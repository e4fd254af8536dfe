//! For the example `timing` alone: the exponentiation by itself, with exponents that need not belong
//! to the modulus, or with those of a whole key; and a control that leaks on purpose.

use crate::Rsa2048Key;
use crate::encoding::encode;
use crate::kernel::batch::Ifma;
use crate::kernel::lanes::{gather, zero};
use crate::kernel::modulus::Modulus;
use crate::kernel::power::{Exponent, PrimeHalf, Scratch};
use crate::kernel::{HALF, LIMB_BITS};
use crate::natural::{shifted, to_limbs};

/// Raises the same eight numbers to one exponent after another.
pub struct Probe {
    ifma: Ifma,
    half: PrimeHalf,
    scratch: Box<Scratch>,
}

impl Probe {
    /// A probe modulo an odd number of 1024 bits (64-bit words, least significant first); `None`
    /// where the processor cannot run the kernel.
    #[must_use]
    pub fn new(modulus: &[u64; 16]) -> Option<Self> {
        let mut one = [0; 16];
        if let Some(word) = one.first_mut() {
            *word = 1;
        }
        let power_of_r = |power: usize| {
            *to_limbs(&*shifted(&one, power * HALF * LIMB_BITS as usize, modulus), LIMB_BITS)
        };
        let half = PrimeHalf {
            modulus: Modulus::new(modulus),
            exponent: Exponent::new(&[0; 16]),
            one: power_of_r(1),
            r3: power_of_r(3),
        };
        Some(Self { ifma: Ifma::detect()?, half, scratch: Box::new(Scratch::new()) })
    }

    /// Sets the exponent.
    pub fn set_exponent(&mut self, words: &[u64; 16]) {
        self.half.exponent = Exponent::new(words);
    }

    /// Raises as the kernel does; or, if `leaky`, leaves out multiplications by the power 0 and reads
    /// only the table entry that is wanted.
    pub fn raise(&mut self, leaky: bool) {
        let mut base = zero();
        for (number, limb) in (3_u64..).zip(&mut base) {
            limb.0 = [number; 8];
        }
        self.ifma.power(&mut self.scratch, &base, &self.half, leaky);
    }
}

/// A whole key, with what the control needs to leak it.
pub struct KeyProbe {
    key: Rsa2048Key,
    scratch: Box<Scratch>,
}

impl KeyProbe {
    /// A probe of this key.
    #[must_use]
    pub fn new(key: Rsa2048Key) -> Self {
        Self { key, scratch: Box::new(Scratch::new()) }
    }

    /// The key, to sign with.
    #[must_use]
    pub fn key(&self) -> &Rsa2048Key {
        &self.key
    }

    /// How many digits of its two exponents are 0: what the control's time tells.
    #[must_use]
    pub fn zero_digits(&self) -> usize {
        let halves = self.key.vector.iter().flat_map(|vector| [&vector.key.p, &vector.key.q]);
        halves.map(|half| half.exponent.zero_digits()).sum()
    }

    /// Both exponentiations of eight signatures by the leaking kernel.
    pub fn leak(&mut self, digests: &[[u8; 32]; 8]) {
        let base = gather(&digests.each_ref().map(encode));
        if let Some(vector) = &self.key.vector {
            for half in [&vector.key.p, &vector.key.q] {
                vector.ifma.power(&mut self.scratch, &base, half, true);
            }
        }
    }
}
