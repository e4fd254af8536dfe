"""Identities, prepared revisions and seals: what lies between stored templates and the native
signer."""
