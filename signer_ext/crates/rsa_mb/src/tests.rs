//! The kernel against aws-lc and against plain arithmetic, bit for bit.
//!
//! `RSA_MB_KEYS` and `RSA_MB_MESSAGES` set how many keys and messages the differential test tries
//! (20 and 5000). Where the processor has no AVX-512 IFMA, the kernel's tests pass without trying.

use num_bigint::BigUint;

use crate::testing::{new_key, new_key_der, random_digests, signed_by_library};
use crate::vector::{GROUP, VectorKey, Workspace};
use crate::{Backend, KeyError, Rsa2048Key, SignError, der, is_available};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Random keys and messages: the kernel's signatures are aws-lc's, in every lane, and none needs
/// repair.
#[test]
fn signatures_equal_those_of_the_library() {
    if !is_available() {
        return;
    }
    let keys = setting("RSA_MB_KEYS", 20);
    let messages = setting("RSA_MB_MESSAGES", 5000).div_ceil(keys);
    for _ in 0..keys {
        let key = new_key();
        let digests = random_digests(messages);
        let mut signatures = Vec::new();
        let stats = key.sign_many_with(Backend::Ifma, &digests, &mut signatures).unwrap();
        assert_eq!((stats.vector, stats.portable, stats.repaired), (messages, 0, 0));
        for (digest, signature) in digests.iter().zip(&signatures) {
            assert_eq!(*signature, signed_by_library(&key, digest));
        }
    }
}

/// Any number of digests gives the same signatures by every backend, appended in order; the shares
/// of kernel and aws-lc are as documented.
#[test]
fn groups_of_every_size_are_signed() {
    let key = new_key();
    let digests = random_digests(2 * GROUP + 1);
    let expected: Vec<_> = digests.iter().map(|digest| signed_by_library(&key, digest)).collect();
    for count in 0..=digests.len() {
        let (digests, expected) = (&digests[..count], &expected[..count]);
        let mut signatures = vec![[7; 256]];
        let stats = key.sign_many(digests, &mut signatures).unwrap();
        let (head, tail) = signatures.split_first().unwrap();
        assert_eq!((*head, tail), ([7; 256], expected));
        let rest = if count % GROUP < 3 { count % GROUP } else { 0 };
        let portable = if is_available() { rest } else { count };
        assert_eq!((stats.vector, stats.portable), (count - portable, portable));
        for backend in [Backend::Portable, Backend::Ifma] {
            let mut signatures = Vec::new();
            match key.sign_many_with(backend, digests, &mut signatures) {
                Err(error) => assert_eq!((error, is_available()), (SignError::Unavailable, false)),
                Ok(stats) => {
                    assert_eq!(signatures, expected);
                    assert_eq!(stats.vector == 0, backend == Backend::Portable || count == 0);
                }
            }
        }
    }
}

/// A key on a processor without the instructions: aws-lc signs all, with the same bytes, and the kernel
/// alone cannot be had.
#[test]
fn without_the_instructions_the_library_signs() {
    let mut key = new_key();
    let digests = random_digests(GROUP + 3);
    let expected: Vec<_> = digests.iter().map(|digest| signed_by_library(&key, digest)).collect();
    let mut signatures = Vec::new();
    key.sign_many(&digests, &mut signatures).unwrap();
    assert_eq!(signatures, expected);
    key.vector = None;
    for backend in [Backend::Auto, Backend::Portable] {
        let mut signatures = Vec::new();
        let stats = key.sign_many_with(backend, &digests, &mut signatures).unwrap();
        assert_eq!((stats.vector, stats.portable), (0, digests.len()));
        assert_eq!(signatures, expected);
    }
    let refused = key.sign_many_with(Backend::Ifma, &digests, &mut Vec::new());
    assert_eq!(refused, Err(SignError::Unavailable));
}

/// The numbers of a key, for sums with plain arithmetic.
struct Numbers {
    n: BigUint,
    e: BigUint,
    p: BigUint,
    q: BigUint,
}

impl Numbers {
    fn read(key: &[u8]) -> Self {
        let read = der::read(key).unwrap();
        let [n, e, p, q] = [read.n, read.e, read.p, read.q].map(BigUint::from_bytes_be);
        Self { n, e, p, q }
    }

    fn private_exponent(&self) -> BigUint {
        let phi = (&self.p - 1_u8) * (&self.q - 1_u8);
        self.e.modinv(&phi).unwrap()
    }
}

fn bytes<const N: usize>(number: &BigUint) -> [u8; N] {
    let digits = number.to_bytes_be();
    let mut bytes = [0; N];
    bytes[N - digits.len()..].copy_from_slice(&digits);
    bytes
}

/// The private operation on numbers at the edges equals plain arithmetic and passes the check:
/// 0, 1, n-1, around the primes and their multiples, alone in each lane and in all lanes at once.
#[test]
fn edge_values_are_raised_rightly() {
    if !is_available() {
        return;
    }
    let key_der = new_key_der();
    let key = Rsa2048Key::from_der(&key_der).unwrap();
    let VectorKey { ifma, key } = key.vector.as_deref().unwrap();
    let numbers = Numbers::read(&key_der);
    let Numbers { n, p, q, .. } = &numbers;
    let one = BigUint::from(1_u8);
    let mut edges = vec![BigUint::ZERO, one.clone(), one.clone() + 1_u8, n - 1_u8, n - 2_u8];
    for prime in [p, q] {
        let order = (n / prime) - 1_u8;
        for multiple in [one.clone(), BigUint::from(2_u8), BigUint::from(65537_u32), order] {
            let middle = prime * multiple;
            edges.extend([&middle - 1_u8, middle.clone(), middle + 1_u8]);
        }
    }
    for bits in [52, 1023, 1024, 1039, 1040, 1041, 2046, 2047] {
        edges.extend([(&one << bits) - 1_u8, &one << bits].map(|edge| edge % n));
    }
    let d = numbers.private_exponent();
    let roots: Vec<[u8; 256]> = edges.iter().map(|edge| bytes(&edge.modpow(&d, n))).collect();
    let edges: Vec<[u8; 256]> = edges.iter().map(bytes).collect();
    let mut workspace = Workspace::new();
    let mut raise = |group: [usize; GROUP]| {
        let messages = group.map(|place| edges[place]);
        let made = ifma.private_operation(&mut workspace, key, &messages);
        assert_eq!(made, group.map(|place| roots[place]), "{group:?}");
        assert_eq!(ifma.check(&key.public, &made, &messages), 0xff);
    };
    for start in 0..edges.len() {
        raise([start; GROUP]);
        raise(std::array::from_fn(|lane| (start + lane) % edges.len()));
    }
}

/// The check refuses, in the right lane only, what is not the signature: another bit, 0, or the
/// signature plus `n`, which opens to the same message.
#[test]
fn the_check_refuses_what_is_wrong() {
    if !is_available() {
        return;
    }
    let key_der = new_key_der();
    let key = Rsa2048Key::from_der(&key_der).unwrap();
    let VectorKey { ifma, key } = key.vector.as_deref().unwrap();
    let modulus = Numbers::read(&key_der).n;
    // Numbers whose roots are small, so that adding n does not overflow 2048 bits.
    let roots: [BigUint; GROUP] = std::array::from_fn(|lane| BigUint::from(lane) + 2_u8);
    let messages = roots.each_ref().map(|root| bytes(&root.modpow(&65537_u32.into(), &modulus)));
    let signatures = roots.each_ref().map(bytes);
    assert_eq!(ifma.check(&key.public, &signatures, &messages), 0xff);
    for lane in 0..GROUP {
        let refused = !(1 << lane);
        for bit in (0..2048).step_by(61) {
            let mut wrong = signatures;
            wrong[lane][bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ifma.check(&key.public, &wrong, &messages), refused);
        }
        let mut wrong = signatures;
        wrong[lane] = [0; 256];
        assert_eq!(ifma.check(&key.public, &wrong, &messages), refused);
        wrong[lane] = bytes(&(&roots[lane] + &modulus));
        assert_eq!(ifma.check(&key.public, &wrong, &messages), refused);
    }
}

/// Any part of a key changed is refused, as are other sizes, and `Debug` shows nothing.
#[test]
fn only_consistent_keys_are_taken() {
    let key_der = new_key_der();
    let read = der::read(&key_der).unwrap();
    let parts = [read.n, read.e, read.p, read.q, read.dp, read.dq, read.qinv];
    let load = |parts: &[Vec<u8>; 7]| {
        let [n, e, p, q, dp, dq, qinv] = parts.each_ref().map(Vec::as_slice);
        Rsa2048Key::from_components(n, e, p, q, dp, dq, qinv).map(|_| ())
    };
    let parts = parts.map(<[u8]>::to_vec);
    assert_eq!(load(&parts), Ok(()));
    for place in 0..parts.len() {
        let mut changed = parts.clone();
        let last = changed[place].last_mut().unwrap();
        *last ^= 2;
        assert_eq!(load(&changed), Err(KeyError::Inconsistent), "{place}");
        let mut longer = parts.clone();
        longer[place].insert(0, 0);
        assert_eq!(load(&longer), Ok(()), "{place}");
        longer[place].splice(..0, [1; 256]);
        let too_long = if place == 1 { KeyError::PublicExponent } else { KeyError::Size };
        assert_eq!(load(&longer), Err(too_long), "{place}");
        let mut empty = parts.clone();
        empty[place].clear();
        assert!(load(&empty).is_err(), "{place}");
    }
    for exponent in [vec![1], vec![2], vec![1, 0, 0], vec![1, 0, 0, 0, 1]] {
        let mut changed = parts.clone();
        changed[1] = exponent;
        assert_eq!(load(&changed), Err(KeyError::PublicExponent));
    }
    assert_eq!(Rsa2048Key::from_der(&[0x30, 0]).map(|_| ()), Err(KeyError::Encoding));
    assert_eq!(format!("{:?}", new_key()), "Rsa2048Key { .. }");
}

/// Primes exchanged, so that the larger comes second or first, sign alike.
#[test]
fn the_order_of_the_primes_does_not_matter() {
    let key_der = new_key_der();
    let numbers = Numbers::read(&key_der);
    let read = der::read(&key_der).unwrap();
    let qinv = numbers.p.modinv(&numbers.q).unwrap().to_bytes_be();
    let straight = Rsa2048Key::from_der(&key_der).unwrap();
    let exchanged =
        Rsa2048Key::from_components(read.n, read.e, read.q, read.p, read.dq, read.dp, &qinv)
            .unwrap();
    let digests = random_digests(GROUP);
    let mut signatures = [Vec::new(), Vec::new()];
    for (key, signatures) in [straight, exchanged].iter().zip(&mut signatures) {
        assert_eq!(key.sign_many(&digests, signatures).unwrap().repaired, 0);
    }
    assert_eq!(signatures[0], signatures[1]);
}

/// "Primes" that are composite make a key that looks consistent and cannot sign: by neither backend
/// does anything leave.
#[test]
fn a_signature_that_cannot_be_repaired_is_refused() {
    let e = BigUint::from(65537_u32);
    let composites: Vec<BigUint> = (0..)
        .map(|addend: u32| (BigUint::from(0xff_u8) << 1016) + 2 * addend + 1_u8)
        .filter(|number| e.modinv(&(number - 1_u8)).is_some())
        .filter(|number| BigUint::from(2_u8).modpow(&(number - 1_u8), number) != 1_u8.into())
        .take(2)
        .collect();
    let [p, q] = [&composites[0], &composites[1]];
    let [dp, dq] = [p, q].map(|number| e.modinv(&(number - 1_u8)).unwrap());
    let qinv = q.modinv(p).unwrap();
    let [n, e, p, q, dp, dq, qinv] =
        [&(p * q), &e, p, q, &dp, &dq, &qinv].map(BigUint::to_bytes_be);
    let key = Rsa2048Key::from_components(&n, &e, &p, &q, &dp, &dq, &qinv).unwrap();
    for backend in [Backend::Auto, Backend::Portable] {
        let mut signatures = vec![[7; 256]];
        let refused = key.sign_many_with(backend, &random_digests(GROUP), &mut signatures);
        assert!(matches!(refused, Err(SignError::Check | SignError::Library)), "{refused:?}");
        assert_eq!(signatures, [[7; 256]]);
    }
}
