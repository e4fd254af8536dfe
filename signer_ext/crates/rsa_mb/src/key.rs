//! RSA-2048 keys: proven consistent, prepared for the vector kernel, and held by aws-lc too.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};

use crate::der::{self, Components};
use crate::error::KeyError;
use crate::natural::{
    Natural, equal, from_be_bytes, is_full_width, multiply_add_divide, product, remainder, shifted,
    subtract, to_be_bytes,
};
use crate::stack;
use crate::vector::VectorKey;

/// Words of a prime.
pub(crate) const PRIME_WORDS: usize = 16;
/// Words of the modulus.
pub(crate) const MODULUS_WORDS: usize = 2 * PRIME_WORDS;

/// An RSA private key of 2048 bits, ready to sign. Wiped from memory when dropped; `Debug` shows
/// nothing of it.
pub struct Rsa2048Key {
    pub(crate) vector: Option<Box<VectorKey>>,
    pub(crate) library: rsa::KeyPair,
    pub(crate) public: ParsedPublicKey,
}

impl fmt::Debug for Rsa2048Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rsa2048Key").finish_non_exhaustive()
    }
}

/// The numbers of a key, least significant word first.
pub(crate) struct KeyNumbers {
    pub(crate) n: Natural<MODULUS_WORDS>,
    pub(crate) e: u32,
    pub(crate) p: Natural<PRIME_WORDS>,
    pub(crate) q: Natural<PRIME_WORDS>,
    pub(crate) dp: Natural<PRIME_WORDS>,
    pub(crate) dq: Natural<PRIME_WORDS>,
    pub(crate) qinv: Natural<PRIME_WORDS>,
}

impl Rsa2048Key {
    /// Takes the numbers of a key (RFC 8017, 3.2), each big-endian: `n`, `e`, the primes `p` and `q`,
    /// `dp = d mod p-1`, `dq = d mod q-1` and `qinv = q^-1 mod p`.
    ///
    /// Proves that they belong together: `n = p q`, 2048 bits from primes of 1024, `e` odd and of at
    /// most 32 bits, `e dp = 1 mod p-1`, `e dq = 1 mod q-1`, `q qinv = 1 mod p`, nothing longer than
    /// it may be. Whether `p` and `q` are prime is not tried; a signature by a wrong one would fail
    /// its check and never leave.
    pub fn from_components(
        n: &[u8],
        e: &[u8],
        p: &[u8],
        q: &[u8],
        dp: &[u8],
        dq: &[u8],
        qinv: &[u8],
    ) -> Result<Self, KeyError> {
        let key = Self::build(&Components { n, e, p, q, dp, dq, qinv });
        // Numbers are moved while they are prepared, and a move wipes nothing behind it.
        stack::scrub();
        key
    }

    /// Reads an unencrypted key in DER: PKCS#8 (RFC 5958) or PKCS#1 (RFC 8017, A.1.2).
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let Components { n, e, p, q, dp, dq, qinv } = der::read(der).ok_or(KeyError::Encoding)?;
        Self::from_components(n, e, p, q, dp, dq, qinv)
    }

    #[inline(never)]
    fn build(components: &Components<'_>) -> Result<Self, KeyError> {
        let numbers = KeyNumbers::prove(components)?;
        let library = library_key(&numbers)?;
        let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, library.public_key())
            .map_err(|_| KeyError::Inconsistent)?;
        let vector = VectorKey::prepare(&numbers).map(Box::new);
        Ok(Self { vector, library, public })
    }
}

impl KeyNumbers {
    /// Reads the numbers and proves that they belong together.
    fn prove(components: &Components<'_>) -> Result<Self, KeyError> {
        let numbers = Self::read(components)?;
        if !is_full_width(&numbers.n) || !is_full_width(&numbers.p) || !is_full_width(&numbers.q) {
            return Err(KeyError::Size);
        }
        if numbers.e & 1 == 0 || numbers.e < 3 {
            return Err(KeyError::PublicExponent);
        }
        let whole: Natural<MODULUS_WORDS> = product(&*numbers.p, &*numbers.q);
        let inverse_product: Natural<MODULUS_WORDS> = product(&*numbers.q, &*numbers.qinv);
        let belongs = equal(&*whole, &*numbers.n)
            && is_below(&numbers.qinv, &numbers.p)
            && is_one(&remainder(&*inverse_product, &numbers.p))
            && is_root_exponent(&numbers.dp, numbers.e, &numbers.p)
            && is_root_exponent(&numbers.dq, numbers.e, &numbers.q);
        if belongs { Ok(numbers) } else { Err(KeyError::Inconsistent) }
    }

    fn read(components: &Components<'_>) -> Result<Self, KeyError> {
        let prime_sized = |bytes| from_be_bytes(bytes).ok_or(KeyError::Size);
        let [e] = *from_be_bytes::<1>(components.e).ok_or(KeyError::PublicExponent)?;
        Ok(Self {
            n: from_be_bytes(components.n).ok_or(KeyError::Size)?,
            e: u32::try_from(e).map_err(|_| KeyError::PublicExponent)?,
            p: prime_sized(components.p)?,
            q: prime_sized(components.q)?,
            dp: prime_sized(components.dp)?,
            dq: prime_sized(components.dq)?,
            qinv: prime_sized(components.qinv)?,
        })
    }
}

/// Whether `exponent < prime - 1` and `e exponent = 1 mod prime - 1`. The prime is odd.
fn is_root_exponent(exponent: &[u64; PRIME_WORDS], e: u32, prime: &[u64; PRIME_WORDS]) -> bool {
    let order = less_one(prime);
    let multiple: Natural<MODULUS_WORDS> = product(exponent, &[u64::from(e)]);
    is_below(exponent, &order) && is_one(&remainder(&*multiple, &order))
}

/// An odd number without its last bit.
fn less_one<const W: usize>(odd: &[u64; W]) -> Natural<W> {
    let mut even = Natural::new(*odd);
    if let Some(word) = even.first_mut() {
        *word &= !1;
    }
    even
}

fn is_below<const W: usize>(left: &[u64; W], right: &[u64; W]) -> bool {
    subtract(left, right).1
}

fn is_one<const W: usize>(number: &[u64; W]) -> bool {
    let mut one = [0; W];
    if let Some(word) = one.first_mut() {
        *word = 1;
    }
    equal(number, &one)
}

/// The same key in aws-lc, which proves it once more.
fn library_key(numbers: &KeyNumbers) -> Result<rsa::KeyPair, KeyError> {
    let private = private_exponent(numbers).ok_or(KeyError::Inconsistent)?;
    let n = to_be_bytes(&*numbers.n);
    let e = numbers.e.to_be_bytes();
    let e = e.get(e.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default();
    let private = to_be_bytes(&*private);
    let [p, q, dp, dq, qinv] = [&numbers.p, &numbers.q, &numbers.dp, &numbers.dq, &numbers.qinv]
        .map(|number| to_be_bytes(&**number));
    rsa::KeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n: n.as_slice(), e },
        d: private.as_slice(),
        p: p.as_slice(),
        q: q.as_slice(),
        dP: dp.as_slice(),
        dQ: dq.as_slice(),
        qInv: qinv.as_slice(),
    })
    .map_err(|_| KeyError::Inconsistent)
}

/// `d = e^-1 mod (p-1)(q-1)`, which aws-lc wants and the caller need not have: `(1 + k phi) / e` for
/// the `k` below `e` that makes it whole.
fn private_exponent(numbers: &KeyNumbers) -> Option<Natural<MODULUS_WORDS>> {
    let phi: Natural<MODULUS_WORDS> = product(&*less_one(&numbers.p), &*less_one(&numbers.q));
    let (_, rest) = multiply_add_divide(&phi, 1, 0, numbers.e);
    let k = numbers.e - inverse(rest, numbers.e)?;
    let (d, rest) = multiply_add_divide(&phi, k, 1, numbers.e);
    (rest == 0).then_some(d)
}

/// `number^-1 mod modulus`, by Euclid's algorithm (Handbook of Applied Cryptography, 2.142).
fn inverse(number: u32, modulus: u32) -> Option<u32> {
    let (mut rest, mut next_rest) = (i64::from(modulus), i64::from(number));
    let (mut factor, mut next_factor) = (0_i64, 1_i64);
    while next_rest != 0 {
        let quotient = rest / next_rest;
        (rest, next_rest) = (next_rest, rest - quotient * next_rest);
        (factor, next_factor) = (next_factor, factor - quotient * next_factor);
    }
    (rest == 1).then(|| factor.rem_euclid(i64::from(modulus))).and_then(|f| u32::try_from(f).ok())
}

/// `number * 2^bits mod modulus`, ready for the kernel.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the kernel's"))]
pub(crate) fn montgomery_constant<const W: usize>(
    number: &[u64; W],
    bits: usize,
    modulus: &[u64; W],
) -> Natural<W> {
    shifted(&remainder(number, modulus), bits, modulus)
}
