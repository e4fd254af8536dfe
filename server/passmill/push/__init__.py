"""What reaches phones: the fan-out index and windows in Redis, and the push engine."""
