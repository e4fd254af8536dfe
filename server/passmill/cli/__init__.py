"""The command line: parses arguments, calls one part, says what happened."""
