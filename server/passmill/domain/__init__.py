"""What Passmill is about, as plain values and rules: no I/O, no await, no clock, no protobuf."""
