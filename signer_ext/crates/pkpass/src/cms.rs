//! `signature`: a detached CMS `SignedData` in DER, made by filling the holes of a frame.
//!
//! Between two passes of one certificate only three things differ: signing time, digest of the
//! manifest, and the signature value. Everything else is laid out once per certificate. [RFC 5652,
//! section 5]
//!
//! ```text
//! ContentInfo { signedData, [0] SignedData { version 1, digestAlgorithms { sha256 },
//!   encapContentInfo { data, eContent absent }, certificates [0] { leaf, intermediate },
//!   signerInfos { { version 1, sid { issuer, serialNumber }, digestAlgorithm sha256,
//!     signedAttrs [0] { contentType, signingTime, messageDigest }, signatureAlgorithm,
//!     signature } } } }
//! ```

use std::time::Duration;

use der::DateTime;

use crate::error::{Error, Reason, Result};
use crate::manifest::Sha256;

/// 1.2.840.113549.1.7.2
const SIGNED_DATA_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// 1.2.840.113549.1.7.1
const DATA_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
/// 1.2.840.113549.1.9.3
const CONTENT_TYPE_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
/// 1.2.840.113549.1.9.4
const MESSAGE_DIGEST_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
/// 1.2.840.113549.1.9.5
const SIGNING_TIME_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05";
/// SHA-256, 2.16.840.1.101.3.4.2.1, with the NULL parameters that every pass in the field has.
const SHA256_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00";
/// rsaEncryption, 1.2.840.113549.1.1.1, NULL parameters. [RFC 3370, section 3.2]
const RSA_ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// ecdsa-with-SHA256, 1.2.840.10045.4.3.2, no parameters. [RFC 5754, section 3.3]
const ECDSA_ALGORITHM: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const VERSION_1: &[u8] = b"\x02\x01\x01";

const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;

/// The last year a `UTCTime` can name. [RFC 5652, section 11.3]
const LAST_UTC_TIME_YEAR: u16 = 2049;

/// What is signed: the DER of the signed attributes as `SET OF`. [RFC 5652, section 5.4]
///
/// DER sorts them by their bytes, which begin with the length: content type, signing time, message
/// digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAttributes(Vec<u8>);

impl SignedAttributes {
    /// The attributes for a manifest's digest, signed at this time (Unix seconds).
    pub fn new(signing_time: i64, manifest: &Sha256) -> Result<Self> {
        let time = Self::time(signing_time)?;
        let attribute = |oid: &[u8], value: &[u8]| tlv(SEQUENCE, &[oid, &tlv(SET, &[value])]);
        Ok(Self(tlv(
            SET,
            &[
                &attribute(CONTENT_TYPE_OID, DATA_OID),
                &attribute(SIGNING_TIME_OID, &time),
                &attribute(MESSAGE_DIGEST_OID, &tlv(OCTET_STRING, &[manifest])),
            ],
        )))
    }

    /// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after.
    fn time(signing_time: i64) -> Result<Vec<u8>> {
        let time = u64::try_from(signing_time)
            .ok()
            .and_then(|seconds| DateTime::from_unix_duration(Duration::from_secs(seconds)).ok())
            .ok_or_else(|| {
                Error::new(
                    Reason::NotYetValid,
                    format!(
                        "{signing_time} is no signing time: give Unix seconds from 1970 to 9999"
                    ),
                )
            })?;
        let year = time.year();
        let rest = format!(
            "{:02}{:02}{:02}{:02}{:02}Z",
            time.month(),
            time.day(),
            time.hour(),
            time.minutes(),
            time.seconds()
        );
        Ok(if year <= LAST_UTC_TIME_YEAR {
            tlv(UTC_TIME, &[format!("{:02}", year % 100).as_bytes(), rest.as_bytes()])
        } else {
            tlv(GENERALIZED_TIME, &[format!("{year:04}").as_bytes(), rest.as_bytes()])
        })
    }

    /// The bytes to sign.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }
}

/// The signature algorithm a certificate's key uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rsa,
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256,
}

/// All of the CMS that depends on the certificate alone.
#[derive(Clone, Debug)]
pub struct CmsFrame {
    /// `SignedData` from its version to its certificates.
    signed_data: Vec<u8>,
    /// `SignerInfo` from its version to its digest algorithm.
    signer: Vec<u8>,
    algorithm: &'static [u8],
}

impl CmsFrame {
    /// Lays out the frame for a leaf certificate, its intermediate (both DER), and the leaf's
    /// issuer name and serial number as they stand in it (DER).
    #[must_use]
    pub fn new(
        leaf: &[u8],
        intermediate: &[u8],
        issuer: &[u8],
        serial_number: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Self {
        // A SET OF in DER is sorted; no certificate is the other's prefix, so comparing bytes is
        // enough.
        let mut certificates = [leaf, intermediate];
        certificates.sort_unstable();
        let signed_data = [
            VERSION_1,
            &tlv(SET, &[SHA256_ALGORITHM]),
            &tlv(SEQUENCE, &[DATA_OID]),
            &tlv(CONTEXT_0, &certificates),
        ]
        .concat();
        let signer =
            [VERSION_1, &tlv(SEQUENCE, &[issuer, serial_number]), SHA256_ALGORITHM].concat();
        let algorithm = match algorithm {
            SignatureAlgorithm::Rsa => RSA_ALGORITHM,
            SignatureAlgorithm::EcdsaP256 => ECDSA_ALGORITHM,
        };
        Self { signed_data, signer, algorithm }
    }

    /// The CMS with these attributes and their signature.
    ///
    /// The lengths around the holes are written from the inside out; the frame's own bytes are only
    /// copied.
    #[must_use]
    pub fn fill(&self, attributes: &SignedAttributes, signature: &[u8]) -> Vec<u8> {
        let attributes = attributes.0.get(1..).unwrap_or_default(); // re-tagged: SET OF becomes [0]
        let signature_header = Header::new(OCTET_STRING, signature.len());
        let entry_length = self.signer.len()
            + 1
            + attributes.len()
            + self.algorithm.len()
            + signature_header.as_bytes().len()
            + signature.len();
        let entry_header = Header::new(SEQUENCE, entry_length);
        let set_length = entry_header.as_bytes().len() + entry_length;
        let set_header = Header::new(SET, set_length);
        let signed_data_length = self.signed_data.len() + set_header.as_bytes().len() + set_length;
        let signed_data_header = Header::new(SEQUENCE, signed_data_length);
        let content_length = signed_data_header.as_bytes().len() + signed_data_length;
        let content_header = Header::new(CONTEXT_0, content_length);
        let whole = SIGNED_DATA_OID.len() + content_header.as_bytes().len() + content_length;
        [
            Header::new(SEQUENCE, whole).as_bytes(),
            SIGNED_DATA_OID,
            content_header.as_bytes(),
            signed_data_header.as_bytes(),
            &self.signed_data,
            set_header.as_bytes(),
            entry_header.as_bytes(),
            &self.signer,
            &[CONTEXT_0],
            attributes,
            self.algorithm,
            signature_header.as_bytes(),
            signature,
        ]
        .concat()
    }
}

/// A DER tag and length, on the stack.
struct Header {
    bytes: [u8; 10],
    start: usize,
}

impl Header {
    fn new(tag: u8, length: usize) -> Self {
        let mut header = Self { bytes: [0; 10], start: 10 };
        if length < 0x80 {
            header.put(length.to_le_bytes().first().copied().unwrap_or_default());
        } else {
            let mut rest = length;
            while rest > 0 {
                header.put((rest & 0xff).to_le_bytes().first().copied().unwrap_or_default());
                rest >>= 8;
            }
            let octets = u8::try_from(header.bytes.len() - header.start).unwrap_or(8);
            header.put(0x80 | octets);
        }
        header.put(tag);
        header
    }

    /// Puts a byte in front of those already there.
    fn put(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Tag, length, and the parts as value.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let header = Header::new(tag, parts.iter().map(|part| part.len()).sum());
    let mut out = header.as_bytes().to_vec();
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use cms::content_info::ContentInfo;
    use cms::signed_data::SignedData;
    use der::{Decode, Encode};

    use crate::testing;

    fn attributes(signing_time: i64) -> Vec<u8> {
        SignedAttributes::new(signing_time, &[0xab; 32]).unwrap().as_der().to_vec()
    }

    /// Golden: the bytes to sign, with a `UTCTime`.
    #[test]
    fn signed_attributes_with_utc_time() {
        let expected = [
            b"\x31\x69\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03".as_slice(),
            b"\x31\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01",
            b"\x30\x1c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05\x31\x0f\x17\x0d260131235958Z",
            b"\x30\x2f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04\x31\x22\x04\x20",
            &[0xab; 32],
        ]
        .concat();
        assert_eq!(attributes(1_769_903_998), expected);
    }

    /// `UTCTime` to the last second of 2049, `GeneralizedTime` from the first of 2050.
    #[test]
    fn time_changes_form_in_2050() {
        let last = attributes(2_524_607_999);
        assert!(last.windows(15).any(|window| window == b"\x17\x0d491231235959Z"));
        let first = attributes(2_524_608_000);
        assert!(first.windows(17).any(|window| window == b"\x18\x0f20500101000000Z"));
        assert_eq!(first.len(), last.len() + 2);
    }

    /// Times that no certificate could cover are refused.
    #[test]
    fn refuses_times_out_of_range() {
        for time in [-1, i64::MIN, i64::MAX, 253_402_300_800] {
            assert!(SignedAttributes::new(time, &[0; 32]).is_err(), "{time}");
        }
        assert!(SignedAttributes::new(0, &[0; 32]).is_ok());
    }

    /// Header lengths around the borders of the short and the long form.
    #[test]
    fn lengths_take_the_shortest_form() {
        let cases: [(usize, &[u8]); 7] = [
            (0, b"\x30\x00"),
            (0x7f, b"\x30\x7f"),
            (0x80, b"\x30\x81\x80"),
            (0xff, b"\x30\x81\xff"),
            (0x100, b"\x30\x82\x01\x00"),
            (0xffff, b"\x30\x82\xff\xff"),
            (0x1_0000, b"\x30\x83\x01\x00\x00"),
        ];
        for (length, expected) in cases {
            assert_eq!(Header::new(SEQUENCE, length).as_bytes(), expected);
        }
    }

    /// An independent DER reader takes the frame and writes the same bytes again, for every length
    /// of signature.
    #[test]
    fn is_canonical_der() {
        let issuer = b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02US";
        let certificates =
            [testing::Issue::default().certificate(), testing::Issue::default().certificate()];
        let [leaf, intermediate] = &certificates;
        for length in [64, 70, 71, 72, 127, 128, 255, 256, 384, 512] {
            for algorithm in [SignatureAlgorithm::Rsa, SignatureAlgorithm::EcdsaP256] {
                let frame = CmsFrame::new(leaf, intermediate, issuer, b"\x02\x01\x05", algorithm);
                let attributes = SignedAttributes::new(1_769_903_998, &[1; 32]).unwrap();
                let cms = frame.fill(&attributes, &vec![7; length]);
                let content = ContentInfo::from_der(&cms).unwrap();
                assert_eq!(content.to_der().unwrap(), cms);
                let data = content.content.decode_as::<SignedData>().unwrap();
                let signer = data.signer_infos.0.iter().next().unwrap().clone();
                assert_eq!(signer.signature.as_bytes(), vec![7; length]);
                assert_eq!(signer.signed_attrs.unwrap().to_der().unwrap(), attributes.as_der());
                assert!(data.encap_content_info.econtent.is_none());
            }
        }
    }
}
