//! What the push service answers, one answer after another, each a status, headers and a body: the push
//! ends whatever they are, is sent as often and as soon as it may be, and leaves words and times only.
#![no_main]

use std::time::Duration;

use apns::Outcome;
use apns::rehearsal::rehearse;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

const WITHIN: Duration = Duration::from_secs(15);
const SPACING: Duration = Duration::from_secs(1);
const ATTEMPTS: u8 = 8;
const YEAR_10000_MS: i64 = 253_402_300_800_000;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    signer_fuzz::mutate_parts(data, size, max_size, seed, signer_fuzz::mutate_bytes)
});

/// Headers are `name:value` a line; those that HTTP/2 would not let pass are left out.
fn answer<'a>(status: &[u8], headers: &[u8], body: &'a [u8]) -> Option<Response<&'a [u8]>> {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_bytes(status).ok()?;
    for line in headers.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(halves.next()?);
        let value = HeaderValue::from_bytes(halves.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            answer.headers_mut().try_append(name, value).ok()?;
        }
    }
    Some(answer)
}

fn is_word(reason: &str) -> bool {
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    reason.len() <= 64 && reason.bytes().all(may_stand)
}

fuzz_target!(|data: &[u8]| {
    let parts = signer_fuzz::parts(data);
    let triples = parts.as_chunks().0.iter();
    let answers: Vec<_> =
        triples.filter_map(|[status, headers, body]| answer(status, headers, body)).collect();
    let ended = rehearse(answers.iter().cloned(), WITHIN, ATTEMPTS, data.len() as u64);

    let sent = &ended.sent;
    assert!((1..=usize::from(ATTEMPTS)).contains(&sent.len()), "sent {} times", sent.len());
    assert!(sent.windows(2).all(|pair| pair[1] >= pair[0] + SPACING), "sent too soon: {sent:?}");
    assert!(sent.iter().all(|at| *at < WITHIN), "sent after the deadline: {sent:?}");
    // Of the last answer that was heard; the last time there may have been none.
    let heard = answers[..sent.len().min(answers.len())].last().map(|last| last.status().as_u16());
    match ended.outcome {
        Outcome::Accepted => assert_eq!(heard, Some(200)),
        Outcome::Rejected { status, reason } => {
            assert_eq!(heard, Some(status));
            assert!(status != 200 && is_word(&reason));
        }
        Outcome::Invalidated { at_ms, reason } => {
            assert_eq!(heard, Some(410));
            assert!((1..YEAR_10000_MS).contains(&at_ms) && is_word(&reason));
        }
        Outcome::Unreachable { .. } => assert_eq!(heard, None),
    }
});
