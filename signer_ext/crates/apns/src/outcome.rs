//! What becomes of a push.

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host's name has no address.
    Dns,
    /// No address took the connection, or none had room for this push in time.
    Connect,
    /// TLS was refused: by the service (our certificate) or by us (its certificate, no HTTP/2).
    Tls,
    /// Silence: while connecting, on the connection, or for this push alone.
    Timeout,
    /// The service said GOAWAY before it took the push.
    GoAway,
    /// The stream or the connection broke.
    Reset,
    /// What came was not HTTP/2.
    Protocol,
    /// The pool was closed.
    Closed,
}

impl Cause {
    /// The stable machine token, for example `TIMEOUT`.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Connect => "CONNECT",
            Self::Tls => "TLS",
            Self::Timeout => "TIMEOUT",
            Self::GoAway => "GOAWAY",
            Self::Reset => "RESET",
            Self::Protocol => "PROTOCOL",
            Self::Closed => "CLOSED",
        }
    }
}

/// How one push ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it (200); whether the device gets it, nobody says.
    Accepted,
    /// The service answered otherwise.
    Rejected {
        /// HTTP status.
        status: u16,
        /// The service's reason, or empty when it gave none that can be read.
        reason: String,
    },
    /// The push token is dead since `at_ms` (410 with a timestamp).
    Invalidated {
        /// Milliseconds since 1970, UTC.
        at_ms: i64,
        /// The service's reason.
        reason: String,
    },
    /// No answer came by the deadline, or within the attempts.
    Unreachable {
        /// The last cause.
        cause: Cause,
    },
}

/// How all pushes of a call ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// How many pushes there were.
    pub pushes: usize,
    /// The places and outcomes of all that were not accepted, by place.
    pub others: Vec<(usize, Outcome)>,
}
