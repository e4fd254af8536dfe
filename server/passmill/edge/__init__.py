"""What phones and people reach over HTTPS: rooms of one door, none of which holds a private key."""
