//! The CMS of a bundle whose zip and manifest are right, so that each mutation reaches the CMS.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pkpass::archive::ArchiveWriter;
use pkpass::manifest::{ManifestFrame, sha1};
use pkpass::names::{MANIFEST, PASS_JSON, SIGNATURE};
use pkpass::{Result, read_bundle};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    signer_fuzz::mutate_parts(data, size, max_size, seed, signer_fuzz::mutate_bytes)
});

fn bundle(icon: &[u8], pass_json: &[u8], cms: &[u8]) -> Result<Vec<u8>> {
    let manifest = ManifestFrame::new([("icon.png", sha1(icon)?)]).fill(sha1(pass_json)?);
    let mut archive = ArchiveWriter::default();
    archive.add("icon.png", icon)?;
    archive.add(MANIFEST, &manifest)?;
    archive.add(PASS_JSON, pass_json)?;
    archive.add(SIGNATURE, cms)?;
    archive.finish()
}

fuzz_target!(|data: &[u8]| {
    let Some([icon, pass_json, root, cms]) = signer_fuzz::exactly(data) else { return };
    let bundle = bundle(icon, pass_json, cms).expect("four small files fit");
    if let Ok(report) = read_bundle(&bundle, root) {
        assert_eq!((report.cms, report.pass_json), (cms, pass_json));
        report.certificate.check_validity(report.signing_time).expect("valid when it was signed");
    }
});
