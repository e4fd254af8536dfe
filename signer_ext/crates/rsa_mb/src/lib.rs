//! RSA-2048 signatures (RSASSA-PKCS1-v1_5 with SHA-256), eight at a time.
//!
//! One RSA signature cannot keep the multipliers of a modern core busy; eight independent ones can.
//! On processors with AVX-512 IFMA eight messages go through one pipeline of vector instructions,
//! one message in each lane, all with the same key. Everywhere else, and for fewer than three
//! messages, aws-lc signs.
//!
//! ```no_run
//! # fn load() -> Vec<u8> { Vec::new() }
//! let key = rsa_mb::Rsa2048Key::from_der(&load())?;
//! let mut signatures = Vec::new();
//! let stats = key.sign_many(&[[0; 32]; 500], &mut signatures)?;
//! assert_eq!(stats.repaired, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Algorithm
//! Chinese remainder theorem over two primes of 1024 bits, 20 limbs of 52 bits each; almost
//! Montgomery multiplication; fixed windows of five bits; Garner's recombination. Sources: Gueron and
//! Krasnov, "Software implementation of modular exponentiation, using advanced vector instructions
//! architectures" (WAIFI 2012) and their later work on AVX-512 IFMA; Menezes, van Oorschot and
//! Vanstone, "Handbook of Applied Cryptography", chapter 14.
//!
//! # Faults
//! A wrong signature made by CRT gives away the key: its difference from the right one is a
//! multiple of one prime (Boneh, `DeMillo` and Lipton 1997). So each signature is opened with the public
//! key, from the very bytes that would leave, and compared with the message encoded anew; it must
//! also be below `n`. One that fails is made again by aws-lc, counted, and never seen by anyone.
//!
//! # Why there is no blinding
//! Blinding the base hides from an attacker, who chooses messages and measures time, how the
//! numbers behind them are related to the primes. It is the answer to implementations whose time depends
//! on those numbers: a final subtraction done or not (Kocher 1996; Brumley and Boneh 2003), shorter
//! sums when a number is small, tables looked up by secret digits. Here nothing does:
//! - The sequence of instructions is fixed by the size of the key alone. There is no branch on a number
//!   or an exponent; the multiply instructions take the same time for all operands; a lane can neither
//!   leave early nor be treated apart.
//! - Addresses are fixed too: a table entry is chosen by reading all of them.
//! - Subtractions of the modulus are done always and chosen by mask.
//! - What is signed is not an attacker's number but the padding around a hash.
//! - Wrong results, the other way to the primes, do not leave (see above).
//! - Eight unrelated messages share each instruction, so that even what the power supply or the clock
//!   frequency tells is a sum over eight. An attacker with a probe on the machine is out of scope.
//!
//! Exponents are the same for all messages and lanes, digit by digit; blinding the base would not
//! hide them anyway. The example `timing` measures this: random against fixed exponents, keys and
//! messages, with a control that leaks on purpose.
//!
//! # Memory
//! Keys, tables and temporaries are wiped when dropped, and the stack below when a key was loaded and
//! when a call of the kernel ends. Registers are left to be overwritten.

mod der;
mod encoding;
mod error;
#[cfg(target_arch = "x86_64")]
mod fault;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod key;
#[cfg(all(test, feature = "wycheproof", target_arch = "x86_64"))]
mod known_answers;
mod natural;
#[cfg(all(feature = "timing-probe", target_arch = "x86_64"))]
mod probe;
mod sign;
mod stack;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vector;

pub use error::{KeyError, SignError};
#[cfg(all(feature = "fault-injection", target_arch = "x86_64"))]
pub use fault::{Fault, arm};
pub use key::Rsa2048Key;
#[cfg(all(feature = "timing-probe", target_arch = "x86_64"))]
pub use probe::{KeyProbe, Probe};
pub use sign::{Backend, SignStats, is_available};
