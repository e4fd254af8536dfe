//! Opening a connection: name, TCP, TLS, HTTP/2, and the service's first word.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::outcome::Cause;
use crate::tls::{HTTP2, SetupError, cause_of};
use crate::wire::{Heard, Wire};

/// Addresses of a name that are tried within the time for one connection.
const MOST_ADDRESSES: usize = 4;
/// Answers to pushes given up may come late, and must not be taken for the service's mistakes.
const REMEMBERED_STREAMS: usize = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
const MOST_HEADER_BYTES: u32 = 16 << 10;

/// Where the push service is, and how it is spoken to.
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
    /// For all of opening.
    within: Duration,
}

/// An open connection that the service has spoken on.
pub(crate) struct Dialed {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) connection: Connection<Wire, Bytes>,
    pub(crate) heard: Arc<Heard>,
}

impl Endpoint {
    pub(crate) fn new(
        host: &str,
        port: u16,
        tls: ClientConfig,
        within: Duration,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            host: host.to_owned(),
            port,
            name: ServerName::try_from(host.to_owned()).map_err(|_| SetupError::Host)?,
            tls: TlsConnector::from(Arc::new(tls)),
            within,
        })
    }

    /// The authority of requests.
    pub(crate) fn authority(&self) -> String {
        let host = &self.host;
        if host.contains(':') {
            format!("[{host}]:{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Opens one. The name is looked up each time, as Apple asks.
    pub(crate) async fn dial(&self) -> Result<Dialed, Cause> {
        timeout(self.within, self.open()).await.unwrap_or(Err(Cause::Timeout))
    }

    async fn open(&self) -> Result<Dialed, Cause> {
        let found = lookup_host((self.host.as_str(), self.port)).await.map_err(|_| Cause::Dns)?;
        let mut addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() {
            return Err(Cause::Dns);
        }
        fastrand::shuffle(&mut addresses);
        addresses.truncate(MOST_ADDRESSES);
        let tcp = self.connect(&addresses).await?;
        let tls =
            self.tls.connect(self.name.clone(), tcp).await.map_err(|error| cause_of(&error))?;
        if tls.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(Cause::Protocol);
        }
        greet(Wire::new(tls)).await
    }

    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Cause> {
        let mut cause = Cause::Connect;
        let share = self.within / u32::try_from(addresses.len()).unwrap_or(1).max(1);
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) if tcp.set_nodelay(true).is_ok() => return Ok(tcp),
                Ok(_) => cause = Cause::Connect,
                Err(_) => cause = Cause::Timeout,
            }
        }
        Err(cause)
    }
}

/// Speaks HTTP/2 until the service's settings came: before, it may still refuse our certificate,
/// and how many streams it takes is unknown.
async fn greet((wire, heard): (Wire, Arc<Heard>)) -> Result<Dialed, Cause> {
    let handshake = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(1)
        .max_header_list_size(MOST_HEADER_BYTES)
        .max_concurrent_reset_streams(REMEMBERED_STREAMS)
        .reset_stream_duration(REMEMBERED_FOR)
        .handshake::<_, Bytes>(wire)
        .await;
    let lost = |heard: &Heard| heard.cause().unwrap_or(Cause::Reset);
    let (send, mut connection) = handshake.map_err(|_| lost(&heard))?;
    poll_fn(|context| match Pin::new(&mut connection).poll(context) {
        Poll::Ready(_) => Poll::Ready(Err(lost(&heard))),
        Poll::Pending if heard.bytes() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    Ok(Dialed { send, connection, heard })
}
