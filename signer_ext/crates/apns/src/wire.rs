//! The encrypted connection, watched: HTTP/2 hides whether anything comes, and what ended it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::outcome::Cause;
use crate::tls::cause_of;

/// What was heard on a connection. Shared by its reader and its judge, which are one task.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    bytes: AtomicU64,
    refused: AtomicBool,
}

impl Heard {
    /// Bytes that came through TLS.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// What the end of the connection means: with TLS 1.3 our certificate is refused after the
    /// handshake, when we read.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.refused.load(Relaxed).then_some(Cause::Tls)
    }

    fn note(&self, result: &io::Result<()>) {
        if let Err(error) = result
            && cause_of(error) == Cause::Tls
        {
            self.refused.store(true, Relaxed);
        }
    }
}

/// The connection's bytes.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
    heard: Arc<Heard>,
}

impl Wire {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> (Self, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        (Self { stream, heard: Arc::clone(&heard) }, heard)
    }

    /// Where writing fails, there may be an alert to read that says why.
    fn last_words<T>(&mut self, result: io::Result<T>, context: &mut Context<'_>) -> io::Result<T> {
        if result.is_err() {
            let mut space = [0; 1024];
            let mut buffer = ReadBuf::new(&mut space);
            if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                self.heard.note(&read);
            }
        }
        result
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let more = buffer.filled().len().saturating_sub(before);
        self.heard.bytes.fetch_add(more as u64, Relaxed);
        self.heard.note(&result);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(context, buffer));
        Poll::Ready(self.last_words(result, context))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(context));
        Poll::Ready(self.last_words(result, context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, buffers));
        Poll::Ready(self.last_words(result, context))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
