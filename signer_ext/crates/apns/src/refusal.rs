//! An answer other than 200: `{"reason":"…","timestamp":…}`, or whatever else may come.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde_json::Value;

/// Bytes of a body that are read; what Apple sends has less than 100.
pub(crate) const MOST_BODY_BYTES: usize = 4096;
/// Apple's longest reason has 29 characters.
const MOST_REASON_BYTES: usize = 64;
/// The year 9999: no later time is one.
const LAST_TIMESTAMP_MS: i64 = 253_402_300_799_999;
/// Longer waits are as good as a refusal.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// What an answer other than 200 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The reason: ASCII letters, digits, `-` and `_`; empty when there is none.
    pub reason: String,
    /// Since when the push token is dead, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The wait that the service asks for.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Takes the status line's part; the body may come later, or never.
    pub(crate) fn of_head(status: StatusCode, headers: &HeaderMap) -> Self {
        let seconds = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.trim().parse().ok());
        Self {
            status: status.as_u16(),
            reason: String::new(),
            timestamp_ms: None,
            retry_after: seconds.map(Duration::from_secs).map(|wait| wait.min(MOST_RETRY_AFTER)),
        }
    }

    /// Reads a body, which may be missing, cut, HTML or anything else: what cannot be read is left
    /// out.
    pub fn read_body(&mut self, body: &[u8]) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
        let reason = body.get("reason").and_then(Value::as_str).filter(|text| is_reason(text));
        reason.unwrap_or_default().clone_into(&mut self.reason);
        let timestamp = body.get("timestamp").and_then(Value::as_i64);
        self.timestamp_ms = timestamp.filter(|at| (1..=LAST_TIMESTAMP_MS).contains(at));
    }
}

/// Reasons end up in logs and tables: nothing but a word may pass.
fn is_reason(text: &str) -> bool {
    (1..=MOST_REASON_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> (String, Option<i64>) {
        let mut refusal = Refusal::of_head(StatusCode::GONE, &HeaderMap::new());
        refusal.read_body(body);
        (refusal.reason, refusal.timestamp_ms)
    }

    /// Apple's two forms are read.
    #[test]
    fn bodies_as_apple_sends_them() {
        assert_eq!(read(br#"{"reason":"BadDeviceToken"}"#), ("BadDeviceToken".to_owned(), None));
        assert_eq!(
            read(br#"{"reason":"Unregistered","timestamp":1764000000123}"#),
            ("Unregistered".to_owned(), Some(1_764_000_000_123))
        );
    }

    /// Everything else gives no reason, and no timestamp that is none.
    #[test]
    fn bodies_of_other_kinds() {
        let nothing = (String::new(), None);
        for body in [
            &b""[..],
            b"<html><body>Bad Gateway</body></html>",
            b"[]",
            b"{\"reason\":",
            b"{\"reason\":7,\"timestamp\":\"soon\"}",
            b"{\"reason\":\"a line\\nfeed\",\"timestamp\":-1}",
            b"{\"reason\":\"\",\"timestamp\":0}",
            b"\xff\xfe",
        ] {
            assert_eq!(read(body), nothing, "{body:?}");
        }
        assert_eq!(read(br#"{"timestamp":1e300,"more":{}}"#), nothing);
        assert_eq!(read(&[b'['; MOST_BODY_BYTES]), nothing);
    }

    /// Retry-After is read in seconds and bounded; a date is left out.
    #[test]
    fn waits_that_are_asked_for() {
        let of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            Refusal::of_head(StatusCode::SERVICE_UNAVAILABLE, &headers).retry_after
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("18446744073709551615"), Some(MOST_RETRY_AFTER));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(of("-1"), None);
    }
}
