//! What can be wrong with a key or a signing call. Messages never contain key bytes.

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Neither PKCS#8 nor PKCS#1 with two primes.
    #[error("not an RSA private key in PKCS#8 or PKCS#1")]
    Encoding,
    /// The modulus has not 2048 bits, or the primes not 1024 each.
    #[error("not a key of 2048 bits from two primes of 1024")]
    Size,
    /// The public exponent is even, below 3 or of more than 32 bits.
    #[error("the public exponent is not an odd number from 3 to 32 bits")]
    PublicExponent,
    /// The numbers do not belong together.
    #[error("the parts of the key do not belong together")]
    Inconsistent,
}

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The vector kernel was demanded, and this processor cannot run it.
    #[error("this processor has no AVX-512 IFMA")]
    Unavailable,
    /// A signature failed the check by the public key, and so did the second attempt.
    #[error("a fresh signature did not verify with its own public key")]
    Check,
    /// The crypto library refused to sign.
    #[error("the crypto library could not sign")]
    Library,
}
