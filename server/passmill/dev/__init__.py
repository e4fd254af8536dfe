"""What only development, the demo and the tests need; production imports nothing from here."""
