"""What can keep the embedded servers from running."""


class EmbeddedServerError(Exception):
    """A server did not start or stopped by itself; the message ends with its last log lines."""


class ServerNotFound(EmbeddedServerError):
    """No server binary on this machine; the message names what to install."""


class DataDirectoryInUse(EmbeddedServerError):
    """Another process runs its servers on the same data directory."""
