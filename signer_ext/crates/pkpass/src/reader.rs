//! Reads a `.pkpass` back, as strictly as the signer writes it: for tests, the demo, and checks
//! before delivery.
//!
//! Not a reader for other people's passes: compressed entries, data descriptors or any other
//! freedom of zip and CMS that the signer does not use is a refusal here.

use std::collections::BTreeMap;
use std::fmt;

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{GeneralizedTime, ObjectIdentifier, OctetString, UtcTime};
use der::{Any, Decode, Encode};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::archive::{
    CENTRAL_BYTES, CENTRAL_MAGIC, END_BYTES, END_MAGIC, LOCAL_BYTES, LOCAL_MAGIC,
};
use crate::certificate::SigningCertificate;
use crate::cms::SignedAttributes;
use crate::error::{Error, Reason, Result};
use crate::manifest::{Sha256, hex, sha1, sha256};
use crate::names::{self, MANIFEST, PASS_JSON, SIGNATURE};
use crate::revision::{MAX_CONTENT_BYTES, MAX_FILES, MAX_PASS_JSON_BYTES};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");

/// Largest bundle read.
const MAX_BUNDLE_BYTES: usize = MAX_CONTENT_BYTES + MAX_PASS_JSON_BYTES + 128 * 1024;

/// A verified bundle, taken apart.
#[derive(Debug)]
pub struct BundleReport<'a> {
    /// `pass.json`.
    pub pass_json: &'a [u8],
    /// Every other file but `manifest.json` and `signature`, by name.
    pub files: BTreeMap<&'a str, &'a [u8]>,
    /// `manifest.json`.
    pub manifest: &'a [u8],
    /// The CMS.
    pub cms: &'a [u8],
    /// Leaf and intermediate of the CMS, proven.
    pub certificate: SigningCertificate,
    /// From the signed attributes, Unix seconds.
    pub signing_time: i64,
}

/// Takes a `.pkpass` apart and proves all of it: zip, manifest, digests, CMS, chain to the root
/// (DER).
///
/// Chain and dates are judged at the signing time.
pub fn read_bundle<'a>(data: &'a [u8], root: &[u8]) -> Result<BundleReport<'a>> {
    let mut files = read_archive(data)?;
    let mut take = |name: &str, reason: Reason| {
        files.remove(name).ok_or_else(|| Error::new(reason, format!("the bundle has no {name}")))
    };
    let manifest = take(MANIFEST, Reason::UnreadableManifest)?;
    let cms = take(SIGNATURE, Reason::UnreadableSignature)?;
    check_manifest(manifest, &files)?;
    let pass_json = files
        .remove(PASS_JSON)
        .ok_or_else(|| Error::new(Reason::ManifestFiles, "the bundle has no pass.json"))?;

    let (certificate, signing_time) = check_signature(cms, &sha256(manifest)?)?;
    certificate.check_validity(signing_time)?;
    certificate.check_root(root, signing_time)?;
    check_pass_json(pass_json, &certificate)?;
    Ok(BundleReport { pass_json, files, manifest, cms, certificate, signing_time })
}

/// The entries of a zip in the signer's form. Local headers and central directory must tell the
/// same, entry by entry, without a gap or a byte before, between or after.
pub fn read_archive(data: &[u8]) -> Result<BTreeMap<&str, &[u8]>> {
    if data.len() > MAX_BUNDLE_BYTES {
        return Err(unreadable("it is too large"));
    }
    let end_start =
        data.len().checked_sub(END_BYTES).ok_or_else(|| unreadable("it is too short"))?;
    let mut end = Cursor { data, position: end_start };
    end.expect(&END_MAGIC)?;
    end.expect(&[0; 4])?; // one disk
    let (entries, all_entries) = (end.u16()?, end.u16()?);
    let (central_size, central_offset) = (end.length()?, end.length()?);
    end.expect(&[0; 2])?; // no comment
    if entries != all_entries || central_offset.checked_add(central_size) != Some(end_start) {
        return Err(unreadable("its end record does not fit it"));
    }
    if usize::from(entries) > MAX_FILES + names::RESERVED.len() {
        return Err(Error::new(Reason::TooManyFiles, format!("the bundle has {entries} files")));
    }

    let mut local = Cursor { data, position: 0 };
    let mut central = Cursor { data, position: central_offset };
    let mut files = BTreeMap::new();
    for _ in 0..entries {
        let offset = local.position;
        let (name, content) = read_entry(&mut local, &mut central, offset)?;
        if files.insert(name, content).is_some() {
            return Err(Error::new(
                Reason::DuplicateName,
                format!("the bundle has two files {name:?}"),
            ));
        }
    }
    if local.position != central_offset || central.position != end_start {
        return Err(unreadable("there are bytes that belong to no entry"));
    }
    Ok(files)
}

/// One entry, seen from both sides.
fn read_entry<'a>(
    local: &mut Cursor<'a>,
    central: &mut Cursor<'a>,
    offset: usize,
) -> Result<(&'a str, &'a [u8])> {
    local.expect(&LOCAL_MAGIC)?;
    let common = local.take(LOCAL_BYTES - LOCAL_MAGIC.len())?;
    central.expect(&CENTRAL_MAGIC)?;
    central.take(2)?; // version made by
    central.expect(common)?;
    let rest = central.take(CENTRAL_BYTES - CENTRAL_MAGIC.len() - 2 - common.len())?;

    let mut fields = Cursor { data: common, position: 0 };
    fields.expect(&[10, 0, 0, 0, 0, 0])?; // version 1.0, no flags, stored
    fields.take(4)?; // time and date
    let (crc32, compressed, size) = (fields.u32()?, fields.length()?, fields.length()?);
    let name_length = usize::from(fields.u16()?);
    fields.expect(&[0; 2])?; // no extra field
    let mut rest = Cursor { data: rest, position: 0 };
    rest.expect(&[0; 6])?; // no comment, first disk, no internal attributes
    let mode = rest.u32()? >> 16;
    if compressed != size || rest.length()? != offset || mode & 0o170_000 != 0o100_000 {
        return Err(unreadable("an entry's headers contradict it"));
    }

    let name_bytes = local.take(name_length)?;
    central.expect(name_bytes)?;
    let name =
        std::str::from_utf8(name_bytes).map_err(|_| unreadable("a file name is not text"))?;
    names::check(name)?;
    let content = local.take(size)?;
    if crc32fast::hash(content) != crc32 {
        return Err(unreadable(&format!("the CRC-32 of {name} differs")));
    }
    Ok((name, content))
}

/// Reads forward over bytes; running out is a refusal.
struct Cursor<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self
            .position
            .checked_add(length)
            .ok_or_else(|| unreadable("a length is impossible"))?;
        let taken =
            self.data.get(self.position..end).ok_or_else(|| unreadable("it is cut short"))?;
        self.position = end;
        Ok(taken)
    }

    fn expect(&mut self, expected: &[u8]) -> Result<()> {
        if self.take(expected.len())? == expected {
            return Ok(());
        }
        Err(unreadable("a header is not as the signer writes it"))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.take(2)?.try_into().map_err(|_| unreadable("it is cut short"))?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| unreadable("it is cut short"))?))
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).map_err(|_| unreadable("a length is impossible"))
    }
}

fn unreadable(why: &str) -> Error {
    Error::new(Reason::UnreadableArchive, format!("not a bundle of this signer: {why}"))
}

/// `manifest.json`: a flat object of strings in which no key comes twice.
struct Manifest(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Manifest;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of SHA-1 digests")
            }

            fn visit_map<M: MapAccess<'de>>(
                self,
                mut map: M,
            ) -> std::result::Result<Manifest, M::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, digest)) = map.next_entry()? {
                    if entries.insert(name, digest).is_some() {
                        return Err(serde::de::Error::custom("a name comes twice"));
                    }
                }
                Ok(Manifest(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// Every file but the manifest and the signature is listed with its digest, and nothing else is.
fn check_manifest(manifest: &[u8], files: &BTreeMap<&str, &[u8]>) -> Result<()> {
    let Manifest(entries) = serde_json::from_slice(manifest).map_err(|error| {
        Error::new(Reason::UnreadableManifest, format!("manifest.json cannot be read: {error}"))
    })?;
    if !entries.keys().map(String::as_str).eq(files.keys().copied()) {
        return Err(Error::new(
            Reason::ManifestFiles,
            "manifest.json and the archive do not list the same files",
        ));
    }
    for (content, (name, expected)) in files.values().zip(&entries) {
        if hex(&sha1(content)?) != *expected {
            return Err(Error::new(
                Reason::FileDigest,
                format!("{name} is not the file the manifest names"),
            ));
        }
    }
    Ok(())
}

/// Verifies the CMS over the manifest's digest. Gives the proven certificate and the signing time.
///
/// After the fields are read, the whole CMS is written anew from them and must come out the same:
/// so its form is exactly the signer's, down to the last byte.
fn check_signature(cms: &[u8], manifest: &Sha256) -> Result<(SigningCertificate, i64)> {
    let malformed = |why: &str| {
        Error::new(
            Reason::UnreadableSignature,
            format!("the signature is no CMS of the required form: {why}"),
        )
    };
    let unreadable = |_: der::Error| malformed("it cannot be read");
    let content = ContentInfo::from_der(cms).map_err(unreadable)?;
    if content.content_type != SIGNED_DATA {
        return Err(malformed("not SignedData"));
    }
    let data: SignedData = content.content.decode_as().map_err(unreadable)?;
    if data.encap_content_info.econtent_type != DATA || data.encap_content_info.econtent.is_some() {
        return Err(malformed("it is not detached"));
    }
    let [signer] = data.signer_infos.0.as_slice() else {
        return Err(malformed("one signer is required"));
    };
    let certificate = signer_certificate(&data, signer)?;
    let (signing_time, digest) = read_attributes(signer)
        .ok_or_else(|| malformed("its signed attributes are not those required"))?;
    if digest.as_bytes() != manifest {
        return Err(Error::new(
            Reason::ManifestDigest,
            "the signature was made over another manifest",
        ));
    }
    let attributes = SignedAttributes::new(signing_time, manifest)?;
    let signature = signer.signature.as_bytes();
    if certificate.cms(&attributes, signature) != cms {
        return Err(malformed("it is not in the signer's form"));
    }
    if !certificate.verifies(&attributes, signature) {
        return Err(Error::new(
            Reason::Signature,
            "the signature does not verify with the certificate's public key",
        ));
    }
    Ok((certificate, signing_time))
}

/// Of the two certificates, the one the signer names is the leaf; the other must have issued it.
fn signer_certificate(data: &SignedData, signer: &SignerInfo) -> Result<SigningCertificate> {
    let malformed = || {
        Error::new(Reason::UnreadableSignature, "the signature does not hold leaf and intermediate")
    };
    let SignerIdentifier::IssuerAndSerialNumber(identifier) = &signer.sid else {
        return Err(malformed());
    };
    let certificates = data.certificates.as_ref().map(|set| set.0.as_slice()).unwrap_or_default();
    let (mut leaf, mut others) = (None, Vec::new());
    for choice in certificates {
        let CertificateChoices::Certificate(certificate) = choice else { return Err(malformed()) };
        let tbs = certificate.tbs_certificate();
        let der = certificate.to_der().map_err(|_| malformed())?;
        if *tbs.issuer() == identifier.issuer && *tbs.serial_number() == identifier.serial_number {
            leaf = Some(der);
        } else {
            others.push(der);
        }
    }
    match (leaf, others.as_slice()) {
        (Some(leaf), [intermediate]) => SigningCertificate::from_der(&leaf, intermediate),
        _ => Err(malformed()),
    }
}

/// Signing time and digest. That nothing else is among the attributes shows when the CMS is written
/// anew.
fn read_attributes(signer: &SignerInfo) -> Option<(i64, OctetString)> {
    let attributes = signer.signed_attrs.as_ref()?;
    let value = |oid: ObjectIdentifier| -> Option<&Any> {
        let attribute = attributes.iter().find(|attribute| attribute.oid == oid)?;
        attribute.values.as_slice().first()
    };
    let time = value(SIGNING_TIME)?;
    let since_1970 = time
        .decode_as::<UtcTime>()
        .map(|time| time.to_unix_duration())
        .or_else(|_| time.decode_as::<GeneralizedTime>().map(|time| time.to_unix_duration()))
        .ok()?;
    let digest = value(MESSAGE_DIGEST)?.decode_as::<OctetString>().ok()?;
    Some((i64::try_from(since_1970.as_secs()).ok()?, digest))
}

/// `pass.json` must name the certificate's pass type and team, else no device opens the pass.
fn check_pass_json(pass_json: &[u8], certificate: &SigningCertificate) -> Result<()> {
    let refused = |why: String| Error::new(Reason::PassJsonIdentity, format!("pass.json {why}"));
    let content: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(pass_json)
        .map_err(|_| refused("is not a JSON object".to_owned()))?;
    let expected = [
        ("passTypeIdentifier", certificate.pass_type_identifier()),
        ("teamIdentifier", certificate.team_identifier()),
    ];
    for (key, expected) in expected {
        if content.get(key).and_then(serde_json::Value::as_str) != Some(expected) {
            return Err(refused(format!("does not have the certificate's {key} {expected:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
