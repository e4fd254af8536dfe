//! What a call asks for: one push a token, all alike but for the path.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::tls::SetupError;

const PREFIX: &str = "/3/device/";
/// Wallet's tokens have 64 characters; Apple says they may grow.
const MOST_TOKEN_BYTES: usize = 512;
/// Pushes of one call, which bounds its memory.
const MOST_PUSHES: usize = 1_000_000;

/// A push token is never shown.
pub struct Token<'a>(pub &'a str);

/// The pushes of one call.
pub struct Pushes {
    /// All paths in a row; each request takes its piece without copying.
    paths: Bytes,
    ends: Vec<u32>,
    headers: HeaderMap,
    /// By when every push has ended.
    pub(crate) within: Duration,
    /// How often a push is sent at most.
    pub(crate) attempts: u8,
}

impl Pushes {
    /// `expiration` in Unix seconds: how long the service keeps a push for a device that is off.
    ///
    /// [`SetupError::Topic`] or [`SetupError::TooMany`] when the call cannot be made at all.
    pub fn new<'a>(
        tokens: impl ExactSizeIterator<Item = Token<'a>>,
        topic: &str,
        expiration: i64,
        within: Duration,
        attempts: u8,
    ) -> Result<Self, SetupError> {
        let count = tokens.len();
        if count > MOST_PUSHES {
            return Err(SetupError::TooMany(MOST_PUSHES));
        }
        let mut paths = String::with_capacity(count * (PREFIX.len() + 64));
        let mut ends = Vec::with_capacity(count);
        for Token(token) in tokens {
            // A bad one keeps its place, as an empty piece.
            if is_token(token) {
                paths.push_str(PREFIX);
                paths.push_str(token);
            }
            // At most a million of 522 bytes.
            ends.push(u32::try_from(paths.len()).unwrap_or(u32::MAX));
        }
        let headers = headers(topic, expiration)?;
        Ok(Self { paths: paths.into(), ends, headers, within, attempts: attempts.max(1) })
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The path of one push; none when its token cannot be one.
    pub(crate) fn path(&self, index: usize) -> Option<PathAndQuery> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        if start >= end || end > self.paths.len() {
            return None;
        }
        PathAndQuery::from_maybe_shared(self.paths.slice(start..end)).ok()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// What may stand in the path. Apple's tokens are hexadecimal, those of other wallets look alike.
fn is_token(token: &str) -> bool {
    (1..=MOST_TOKEN_BYTES).contains(&token.len())
        && token.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':')
        })
}

/// HPACK keeps all of them in its table: from the second push on they take a byte each.
fn headers(topic: &str, expiration: i64) -> Result<HeaderMap, SetupError> {
    let topic = HeaderValue::from_str(topic).map_err(|_| SetupError::Topic)?;
    Ok(HeaderMap::from_iter([
        (HeaderName::from_static("apns-topic"), topic),
        (HeaderName::from_static("apns-push-type"), HeaderValue::from_static("background")),
        (HeaderName::from_static("apns-priority"), HeaderValue::from_static("5")),
        (HeaderName::from_static("apns-expiration"), HeaderValue::from(expiration)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushes(tokens: &[&str]) -> Pushes {
        let tokens = tokens.iter().map(|token| Token(token));
        Pushes::new(tokens, "pass.example", 7, Duration::from_secs(1), 8).unwrap()
    }

    /// Each token gets its path, and one that could leave it gets none.
    #[test]
    fn tokens_become_paths() {
        let long = "a".repeat(MOST_TOKEN_BYTES + 1);
        let pushes =
            pushes(&["0aF9", "", "../x", "a b", "é", &long, "x-_~:.", "a?b", "a#b", "a%41"]);
        let paths: Vec<_> = (0..=pushes.len())
            .map(|index| pushes.path(index).map(|path| path.as_str().to_owned()))
            .collect();
        let mut wanted = vec![None; 11];
        wanted[0] = Some("/3/device/0aF9".to_owned());
        wanted[6] = Some("/3/device/x-_~:.".to_owned());
        assert_eq!(paths, wanted);
    }

    /// The headers are what Apple asks for of a background push.
    #[test]
    fn headers_are_apples() {
        let pushes = pushes(&["00"]);
        let mut headers: Vec<_> = pushes
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        headers.sort_unstable();
        assert_eq!(
            headers,
            [
                ("apns-expiration", "7"),
                ("apns-priority", "5"),
                ("apns-push-type", "background"),
                ("apns-topic", "pass.example"),
            ]
        );
    }

    /// A topic that is no header value is refused.
    #[test]
    fn topics_are_header_values() {
        let none = std::iter::empty::<Token<'_>>;
        assert!(matches!(
            Pushes::new(none().collect::<Vec<_>>().into_iter(), "a\nb", 0, Duration::ZERO, 1),
            Err(SetupError::Topic)
        ));
    }
}
