//! EMSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 9.2): the number a signature is the root of.

/// Bytes of a 2048-bit number.
pub(crate) const MODULUS_BYTES: usize = 256;

/// `DigestInfo` of a SHA-256 digest, up to the digest.
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
/// All but the digest: 00 01 ff … ff 00, then the `DigestInfo`.
const FRAME: [u8; MODULUS_BYTES] = {
    let mut frame = [0xff; MODULUS_BYTES];
    frame[0] = 0x00;
    frame[1] = 0x01;
    let start = MODULUS_BYTES - 32 - DIGEST_INFO.len();
    frame[start - 1] = 0x00;
    let mut place = 0;
    while place < DIGEST_INFO.len() {
        frame[start + place] = DIGEST_INFO[place];
        place += 1;
    }
    frame
};

/// The encoded message of one digest, big-endian.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the kernel's"))]
pub(crate) fn encode(digest: &[u8; 32]) -> [u8; MODULUS_BYTES] {
    let mut encoded = FRAME;
    if let Some(tail) = encoded.last_chunk_mut() {
        *tail = *digest;
    }
    encoded
}
