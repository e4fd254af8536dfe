//! Tells devices that their passes changed, over Apple's push service (APNs): HTTP/2 over TLS with
//! the pass type's own certificate.
//!
//! An [`Engine`] is a few threads; a [`Pool`] keeps the connections of one signing identity open
//! for hours on them. [`Pool::push_many`] blocks until every push has ended, at the latest by its
//! deadline, and gives what became of each: an [`Outcome`] is a value, not an error. No
//! connection is tied to a call: what a lost one left unanswered goes over the next.
//!
//! Sources: Apple, "Sending notification requests to APNs", "Communicating with APNs" and "Handling
//! notification responses from APNs"; RFC 9113.

mod backoff;
mod batch;
mod dial;
mod engine;
mod flight;
mod link;
mod outcome;
mod pool;
mod progress;
mod pushes;
mod refusal;
#[doc(hidden)]
pub mod rehearsal;
mod tls;
mod wire;

pub use engine::Engine;
pub use outcome::{Cause, Outcome, Outcomes};
pub use pool::{Counters, Pool, Settings};
pub use pushes::{Pushes, Token};
pub use refusal::Refusal;
pub use tls::SetupError;
