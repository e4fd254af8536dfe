//! Reads the numbers of an RSA private key: PKCS#1 (RFC 8017, A.1.2), alone or inside PKCS#8
//! (RFC 5958). Strict DER lengths, two primes, nothing after the key but PKCS#8 attributes.

/// `rsaEncryption` with its NULL parameters: what a PKCS#8 key names as its algorithm.
const RSA_ALGORITHM: [u8; 13] =
    [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The numbers of a key, big-endian without leading zeros. They borrow from what was read.
pub(crate) struct Components<'a> {
    pub(crate) n: &'a [u8],
    pub(crate) e: &'a [u8],
    pub(crate) p: &'a [u8],
    pub(crate) q: &'a [u8],
    pub(crate) dp: &'a [u8],
    pub(crate) dq: &'a [u8],
    pub(crate) qinv: &'a [u8],
}

/// Reads PKCS#8 or PKCS#1; `None` if it is neither.
pub(crate) fn read(der: &[u8]) -> Option<Components<'_>> {
    let (mut body, []) = take(der, SEQUENCE)? else { return None };
    let version = integer(&mut body)?;
    if body.first() != Some(&SEQUENCE) {
        return components(version, body);
    }
    if version.len() > 1 || version.first().is_some_and(|version| *version > 1) {
        return None;
    }
    let (algorithm, rest) = take(body, SEQUENCE)?;
    if algorithm != RSA_ALGORITHM {
        return None;
    }
    let (key, _attributes) = take(rest, OCTET_STRING)?;
    let (mut body, []) = take(key, SEQUENCE)? else { return None };
    components(integer(&mut body)?, body)
}

/// The rest of a PKCS#1 key after its version, which is 0 for two primes.
fn components<'a>(version: &[u8], mut body: &'a [u8]) -> Option<Components<'a>> {
    let rest = &mut body;
    let n = integer(rest)?;
    let e = integer(rest)?;
    let _d = integer(rest)?;
    let read = Components {
        n,
        e,
        p: integer(rest)?,
        q: integer(rest)?,
        dp: integer(rest)?,
        dq: integer(rest)?,
        qinv: integer(rest)?,
    };
    (version.is_empty() && body.is_empty()).then_some(read)
}

/// Takes a non-negative INTEGER off the front, without its leading zero; 0 is empty.
fn integer<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (body, after) = take(rest, INTEGER)?;
    *rest = after;
    match body {
        [0] => Some(&[]),
        [0, number @ ..] if number.first()? & 0x80 != 0 => Some(number),
        [first, ..] if first & 0x80 == 0 && *first != 0 => Some(body),
        _ => None,
    }
}

/// Takes one element with this tag off the front: its body and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match bytes {
        [first, short, rest @ ..] if *first == tag && *short < 0x80 => (usize::from(*short), rest),
        [first, 0x81, length, rest @ ..] if *first == tag && *length >= 0x80 => {
            (usize::from(*length), rest)
        }
        [first, 0x82, high, low, rest @ ..] if *first == tag && *high != 0 => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// PKCS#1 inside PKCS#8 and alone give the same numbers.
    #[test]
    fn both_forms_are_read() {
        let pkcs8 = testing::new_key_der();
        let outer = read(&pkcs8).unwrap();
        let start = pkcs8.windows(2).skip(4).position(|pair| pair == [0x30, 0x82]).unwrap() + 4;
        let inner = read(&pkcs8[start..]).unwrap();
        assert_eq!((outer.n, outer.e, outer.qinv), (inner.n, inner.e, inner.qinv));
        assert_eq!((outer.n.len(), outer.e), (256, &[1, 0, 1][..]));
    }

    /// A key cut anywhere, or followed by something, is refused.
    #[test]
    fn damaged_keys_are_refused() {
        let mut pkcs8 = testing::new_key_der();
        for length in 0..pkcs8.len() {
            assert!(read(&pkcs8[..length]).is_none(), "{length}");
        }
        pkcs8.push(0);
        assert!(read(&pkcs8).is_none());
    }
}
