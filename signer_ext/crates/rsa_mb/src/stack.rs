//! What secrets leave on the stack: registers the compiler spilled, and values it moved.

use zeroize::Zeroize;

/// Words overwritten: several times what the deepest of our calls takes.
const WORDS: usize = 4096;

/// Overwrites the stack below the caller's frame, and so the frames of calls that have returned to
/// it; those must not be inlined into it.
#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "the stack is what is to be overwritten")]
pub(crate) fn scrub() {
    let mut below = [0xa5_u64; WORDS];
    below.zeroize();
    core::hint::black_box(&below);
}
