"""The counter's side of Passmill: `passmill-pos`."""
