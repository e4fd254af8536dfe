//! The one error of the crate, and the complete list of reasons for which something is refused.

/// Which exception of the border a refusal becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Certificate, key and intermediate do not make a usable signing identity.
    InvalidIdentity,
    /// The identity is sound, but the time is outside its validity.
    IdentityExpired,
    /// The files, or a finished bundle, are not acceptable.
    InvalidBundle,
    /// Digest or signature do not belong to what was rendered.
    DigestMismatch,
    /// A sign-up token that could be taken for something else.
    InvalidToken,
    /// The signer itself failed.
    SigningFailed,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $kind:ident, $token:literal;)+) => {
        /// Why something is refused. The token is stable: clients may branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable machine token, for example `WRONG_PASSWORD`.
            #[must_use]
            pub const fn token(self) -> &'static str {
                match self { $(Self::$variant => $token,)+ }
            }

            /// The exception this reason belongs to.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)+ }
            }
        }
    };
}

reasons! {
    /// Not a PKCS#12 file, truncated, or larger than any real one.
    UnreadablePkcs12 = InvalidIdentity, "UNREADABLE_PKCS12";
    /// The password does not open the PKCS#12 file or the key.
    WrongPassword = InvalidIdentity, "WRONG_PASSWORD";
    /// The key is encrypted and no password was given.
    PasswordRequired = InvalidIdentity, "PASSWORD_REQUIRED";
    /// An encryption we do not read; the message has the command that converts it.
    UnsupportedEncryption = InvalidIdentity, "UNSUPPORTED_ENCRYPTION";
    /// No private key in what was given.
    NoPrivateKey = InvalidIdentity, "NO_PRIVATE_KEY";
    /// No certificate in what was given.
    NoCertificate = InvalidIdentity, "NO_CERTIFICATE";
    /// The certificate is neither PEM nor DER X.509.
    UnreadableCertificate = InvalidIdentity, "UNREADABLE_CERTIFICATE";
    /// The private key is none of PKCS#8, PKCS#1, SEC1.
    UnreadablePrivateKey = InvalidIdentity, "UNREADABLE_PRIVATE_KEY";
    /// Neither RSA of 2048, 3072 or 4096 bits nor P-256.
    UnsupportedKey = InvalidIdentity, "UNSUPPORTED_KEY";
    /// The private key is not the certificate's.
    KeyMismatch = InvalidIdentity, "KEY_MISMATCH";
    /// The subject has no UID.
    NoPassTypeIdentifier = InvalidIdentity, "NO_PASS_TYPE_IDENTIFIER";
    /// Extension 1.2.840.113635.100.6.1.16 is missing or not a `UTF8String`.
    NoPassTypeExtension = InvalidIdentity, "NO_PASS_TYPE_EXTENSION";
    /// UID and extension 1.2.840.113635.100.6.1.16 differ.
    PassTypeIdentifierMismatch = InvalidIdentity, "PASS_TYPE_IDENTIFIER_MISMATCH";
    /// The subject has no OU.
    NoTeamIdentifier = InvalidIdentity, "NO_TEAM_IDENTIFIER";
    /// `clientAuth` or 1.2.840.113635.100.4.14 is missing from the extended key usage.
    ExtendedKeyUsageMissing = InvalidIdentity, "EXTENDED_KEY_USAGE_MISSING";
    /// The key usage does not allow digital signatures.
    KeyUsageMissing = InvalidIdentity, "KEY_USAGE_MISSING";
    /// The certificate does not name its issuer's key.
    NoAuthorityKeyIdentifier = InvalidIdentity, "NO_AUTHORITY_KEY_IDENTIFIER";
    /// An intermediate is neither PEM nor DER X.509.
    UnreadableIntermediate = InvalidIdentity, "UNREADABLE_INTERMEDIATE";
    /// None of the intermediates issued the certificate.
    IssuerNotFound = InvalidIdentity, "ISSUER_NOT_FOUND";
    /// The intermediate may not issue certificates.
    IssuerNotAnAuthority = InvalidIdentity, "ISSUER_NOT_AN_AUTHORITY";
    /// The intermediate names itself as the issuer but its key did not sign the certificate.
    IssuerSignatureInvalid = InvalidIdentity, "ISSUER_SIGNATURE_INVALID";
    /// The chain does not end at the given root.
    UntrustedRoot = InvalidIdentity, "UNTRUSTED_ROOT";
    /// A wrapping key is not 32 bytes long.
    WrappingKeyLength = InvalidIdentity, "WRAPPING_KEY_LENGTH";
    /// The wrapped key was changed, or belongs to another wrapping key or certificate.
    WrappedKeyRefused = InvalidIdentity, "WRAPPED_KEY_REFUSED";
    /// The certificate's validity is over.
    Expired = IdentityExpired, "EXPIRED";
    /// The certificate's validity has not begun.
    NotYetValid = IdentityExpired, "NOT_YET_VALID";
    /// The intermediate's validity is over.
    IntermediateExpired = IdentityExpired, "INTERMEDIATE_EXPIRED";
    /// The intermediate's validity has not begun.
    IntermediateNotYetValid = IdentityExpired, "INTERMEDIATE_NOT_YET_VALID";
    /// A file name that is not on the allow-list.
    FileName = InvalidBundle, "FILE_NAME";
    /// `pass.json`, `manifest.json` and `signature` are ours to write.
    ReservedName = InvalidBundle, "RESERVED_NAME";
    /// Two names that are one on a case-insensitive file system.
    DuplicateName = InvalidBundle, "DUPLICATE_NAME";
    /// No icon at all: Wallet opens such a pass nowhere.
    MissingIcon = InvalidBundle, "MISSING_ICON";
    /// More files than a bundle may have.
    TooManyFiles = InvalidBundle, "TOO_MANY_FILES";
    /// One file is too large.
    FileTooLarge = InvalidBundle, "FILE_TOO_LARGE";
    /// All files together are too large.
    BundleTooLarge = InvalidBundle, "BUNDLE_TOO_LARGE";
    /// `pass.json` is empty or too large.
    PassJsonSize = InvalidBundle, "PASS_JSON_SIZE";
    /// The document that `pass.json` is rendered from is not one.
    UnreadableDocument = InvalidBundle, "UNREADABLE_DOCUMENT";
    /// The line of a pass is not one.
    UnreadablePassData = InvalidBundle, "UNREADABLE_PASS_DATA";
    /// A pass has a value for a slot that its revision does not have.
    UnknownSlot = InvalidBundle, "UNKNOWN_SLOT";
    /// A value is not of its slot's type.
    WrongValue = InvalidBundle, "WRONG_VALUE";
    /// A required value is missing.
    MissingValue = InvalidBundle, "MISSING_VALUE";
    /// Not a PNG image, or a damaged header.
    NotAPng = InvalidBundle, "NOT_A_PNG";
    /// A PNG image with chunks that are cut, changed or missing.
    DamagedPng = InvalidBundle, "DAMAGED_PNG";
    /// More bytes or pixels than an image may have.
    ImageTooLarge = InvalidBundle, "IMAGE_TOO_LARGE";
    /// A `.pkpasses` holds 1 to 10 passes.
    PassCount = InvalidBundle, "PASS_COUNT";
    /// Not a zip as the signer writes it.
    UnreadableArchive = InvalidBundle, "UNREADABLE_ARCHIVE";
    /// `manifest.json` is missing or not a flat object of SHA-1 digests.
    UnreadableManifest = InvalidBundle, "UNREADABLE_MANIFEST";
    /// Manifest and archive do not list the same files.
    ManifestFiles = InvalidBundle, "MANIFEST_FILES";
    /// `signature` is missing or not a detached CMS of the required form.
    UnreadableSignature = InvalidBundle, "UNREADABLE_SIGNATURE";
    /// `pass.json` is not a JSON object, or names another pass type or team than the certificate.
    PassJsonIdentity = InvalidBundle, "PASS_JSON_IDENTITY";
    /// `pass.json` is not the one the digest was made from.
    PassJsonDigest = DigestMismatch, "PASS_JSON_DIGEST";
    /// The signature does not verify over this manifest.
    Signature = DigestMismatch, "SIGNATURE";
    /// A file is not the one the manifest names.
    FileDigest = DigestMismatch, "FILE_DIGEST";
    /// The CMS was made over another manifest.
    ManifestDigest = DigestMismatch, "MANIFEST_DIGEST";
    /// A sign-up token that is empty, too long, or could be read as a manifest.
    Token = InvalidToken, "TOKEN";
    /// A fresh signature did not verify with its own public key: a hardware or memory fault.
    SignatureCheck = SigningFailed, "SIGNATURE_CHECK";
    /// The crypto library refused.
    Cryptography = SigningFailed, "CRYPTOGRAPHY";
    /// A defect of the signer, contained at the border.
    Panic = SigningFailed, "PANIC";
}

/// A refusal: a stable reason, and a message for a human that says what to do next.
///
/// Messages name files, lengths and identifiers; they never contain key or password bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The stable reason.
    pub reason: Reason,
    /// What happened and what to do about it.
    pub message: String,
    /// Which pass of a batch it was, counted from 0.
    pub item: Option<usize>,
}

impl Error {
    /// A refusal that concerns the call as a whole.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), item: None }
    }

    /// The same refusal, of one pass of a batch.
    #[must_use]
    pub fn of_item(mut self, item: usize) -> Self {
        self.item = Some(item);
        self
    }

    /// The exception this becomes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.reason.kind()
    }
}

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    /// No token stands for two reasons, and the README lists them all.
    #[test]
    fn tokens_are_unique_and_listed() {
        let readme = include_str!("../../../README.md");
        let mut listed: Vec<&str> = readme.split_whitespace().collect();
        listed.sort_unstable();
        let mut tokens: Vec<&str> = Reason::ALL.iter().map(|reason| reason.token()).collect();
        tokens.sort_unstable();
        assert!(tokens.windows(2).all(|pair| pair[0] != pair[1]));
        for token in tokens {
            assert!(listed.binary_search(&token).is_ok(), "{token}");
        }
    }

    /// The item is added and nothing else changes.
    #[test]
    fn an_error_can_be_numbered() {
        let error = Error::new(Reason::PassJsonSize, "too large");
        assert_eq!(error.item, None);
        let numbered = error.clone().of_item(3);
        assert_eq!((numbered.item, numbered.to_string()), (Some(3), "too large".to_owned()));
        assert_eq!((numbered.reason, numbered.kind()), (error.reason, Kind::InvalidBundle));
    }
}
