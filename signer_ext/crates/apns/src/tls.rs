//! TLS as the push service wants it: 1.2 or later, HTTP/2, the pass type's certificate.

use std::io;
use std::sync::Arc;

use pkpass::{HandshakeScheme, SigningIdentity};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    AlertDescription, ClientConfig, Error, RootCertStore, SignatureAlgorithm, SignatureScheme,
};
use webpki_roots::TLS_SERVER_ROOTS;

use crate::outcome::Cause;

pub(crate) const HTTP2: &[u8] = b"h2";

/// Why a pool or a call cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Neither a DNS name nor an IP address.
    #[error("the push service's host is neither a name nor an address")]
    Host,
    /// The roots are no PEM, or hold no certificate that can be one.
    #[error("the push service's roots cannot be read: give certificates as PEM")]
    Roots,
    /// The TLS library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
    /// The topic cannot be a header's value.
    #[error("the topic is no pass type identifier")]
    Topic,
    /// More pushes than a call may have.
    #[error("a call takes at most {0} pushes")]
    TooMany(usize),
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed,
}

/// The settings of all of a pool's connections. `roots`: PEM; without, the public ones of Mozilla's
/// list, in which the one of Apple's service is.
pub(crate) fn client_config(
    identity: Arc<SigningIdentity>,
    roots: Option<&[u8]>,
) -> Result<ClientConfig, SetupError> {
    let mut trusted = RootCertStore::empty();
    match roots {
        None => trusted.extend(TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| SetupError::Roots)?;
                trusted.add(certificate).map_err(|_| SetupError::Roots)?;
            }
            if trusted.is_empty() {
                return Err(SetupError::Roots);
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_client_cert_resolver(Arc::new(OneIdentity(certified(identity))));
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // Connections live for hours: there is nothing to resume, and each shows its certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn certified(identity: Arc<SigningIdentity>) -> Arc<CertifiedKey> {
    let certificate = identity.certificate();
    let chain = [certificate.leaf_der(), certificate.intermediate_der()];
    let chain = chain.map(|der| CertificateDer::from(der.to_vec())).to_vec();
    Arc::new(CertifiedKey::new(chain, Arc::new(PassKey(identity))))
}

/// Shows one certificate to whoever asks. Not only to those who name our issuer: Apple's service
/// names none, and a wrong guess would be "no certificate" instead of a refusal with its reason.
#[derive(Debug)]
struct OneIdentity(Arc<CertifiedKey>);

impl ResolvesClientCert for OneIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The identity's key, seen from TLS: it signs, and never leaves `pkpass`.
#[derive(Debug)]
struct PassKey(Arc<SigningIdentity>);

impl SigningKey for PassKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self
            .0
            .handshake_schemes()
            .iter()
            .find(|scheme| offered.contains(&tls_scheme(**scheme)))?;
        Some(Box::new(PassSigner { identity: Arc::clone(&self.0), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.handshake_schemes() {
            [HandshakeScheme::EcdsaP256Sha256] => SignatureAlgorithm::ECDSA,
            _ => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct PassSigner {
    identity: Arc<SigningIdentity>,
    scheme: HandshakeScheme,
}

impl Signer for PassSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.identity
            .sign_handshake(self.scheme, message)
            .map_err(|error| Error::General(error.message))
    }

    fn scheme(&self) -> SignatureScheme {
        tls_scheme(self.scheme)
    }
}

const fn tls_scheme(scheme: HandshakeScheme) -> SignatureScheme {
    match scheme {
        HandshakeScheme::RsaPssSha256 => SignatureScheme::RSA_PSS_SHA256,
        HandshakeScheme::RsaPssSha384 => SignatureScheme::RSA_PSS_SHA384,
        HandshakeScheme::RsaPssSha512 => SignatureScheme::RSA_PSS_SHA512,
        HandshakeScheme::RsaPkcs1Sha256 => SignatureScheme::RSA_PKCS1_SHA256,
        HandshakeScheme::EcdsaP256Sha256 => SignatureScheme::ECDSA_NISTP256_SHA256,
    }
}

/// What a failure of the connection's bytes means: a refusal will come again, a fault may not.
pub(crate) fn cause_of(error: &io::Error) -> Cause {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return Cause::Reset;
    };
    match error {
        // What a service says that is out of order itself, and not about us.
        Error::AlertReceived(
            AlertDescription::InternalError
            | AlertDescription::UserCanceled
            | AlertDescription::DecodeError
            | AlertDescription::BadRecordMac
            | AlertDescription::RecordOverflow,
        )
        | Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => Cause::Protocol,
        _ => Cause::Tls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root of Apple's push service since February 2025 is among the built-in ones.
    #[test]
    fn apples_root_is_built_in() {
        let name = b"USERTrust RSA Certification Authority";
        assert!(
            TLS_SERVER_ROOTS
                .iter()
                .any(|root| root.subject.windows(name.len()).any(|part| part == name))
        );
    }

    /// A refusal of our certificate is one; a reset or a muddle is not.
    #[test]
    fn refusals_are_told_from_faults() {
        let of = |error| cause_of(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(of(Error::AlertReceived(AlertDescription::CertificateRevoked)), Cause::Tls);
        assert_eq!(of(Error::AlertReceived(AlertDescription::NoApplicationProtocol)), Cause::Tls);
        assert_eq!(of(Error::AlertReceived(AlertDescription::InternalError)), Cause::Protocol);
        assert_eq!(of(Error::DecryptError), Cause::Protocol);
        assert_eq!(cause_of(&io::ErrorKind::ConnectionReset.into()), Cause::Reset);
    }
}
