"""A simulated Wallet: does what Apple's devices do, and is stricter where the protocol allows."""
