//! Reads certificates and private keys from PEM or DER, whichever is given.

use pem_rfc7468 as rfc7468;
use zeroize::Zeroizing;

use crate::error::{Error, Reason, Result};

/// Largest PEM or PKCS#12 input, in bytes.
pub(crate) const MAX_INPUT_BYTES: usize = 256 * 1024;

const BEGIN: &[u8] = b"-----BEGIN ";

/// One PEM block, decoded.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Whether the input is PEM: anything else is taken for DER.
pub(crate) fn is_pem(data: &[u8]) -> bool {
    data.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// All PEM blocks, in order. Text between them (as `openssl` writes) is skipped.
pub(crate) fn blocks(data: &[u8], reason: Reason) -> Result<Vec<Block>> {
    let unreadable = |what: &str| {
        Error::new(
            reason,
            format!("{what}: give it as PEM or DER, unchanged, as downloaded or exported"),
        )
    };
    if data.len() > MAX_INPUT_BYTES {
        return Err(unreadable("the input is far too long"));
    }
    let mut found = Vec::new();
    let mut rest = data;
    while let Some(start) = rest.windows(BEGIN.len()).position(|window| window == BEGIN) {
        let from_begin = rest.get(start..).unwrap_or_default();
        let end = end_of_block(from_begin).ok_or_else(|| unreadable("a PEM block has no end"))?;
        let block = from_begin.get(..end).unwrap_or_default();
        if block.windows(10).any(|window| window == b"Proc-Type:") {
            return Err(Error::new(
                Reason::UnsupportedEncryption,
                "the private key has OpenSSL's old PEM encryption (Proc-Type: 4,ENCRYPTED), which \
                 is weak; convert it with: openssl pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out \
                 key.pem",
            ));
        }
        let (label, der) =
            rfc7468::decode_vec(block).map_err(|_| unreadable("a PEM block is damaged"))?;
        found.push(Block { label: label.to_owned(), der: Zeroizing::new(der) });
        rest = from_begin.get(end..).unwrap_or_default();
    }
    Ok(found)
}

/// Length of the block that begins here, its END line included.
fn end_of_block(from_begin: &[u8]) -> Option<usize> {
    const END: &[u8] = b"-----END ";
    const DASHES: &[u8] = b"-----";
    let end_line = from_begin.windows(END.len()).position(|window| window == END)?;
    let label = end_line + END.len();
    let after =
        from_begin.get(label..)?.windows(DASHES.len()).position(|window| window == DASHES)?;
    Some(label + after + DASHES.len())
}

/// All certificates in PEM, or the one in DER.
pub(crate) fn certificates(data: &[u8], reason: Reason) -> Result<Vec<Vec<u8>>> {
    if !is_pem(data) {
        return Ok(vec![data.to_vec()]);
    }
    Ok(blocks(data, reason)?
        .into_iter()
        .filter(|block| matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE"))
        .map(|block| block.der.to_vec())
        .collect())
}
