//! Byte streams to a server.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::BoxFuture;
use crate::address::Address;
#[cfg(feature = "tls")]
use crate::tls::Connector;

/// What a connection reads and writes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type BoxStream = Box<dyn Stream>;

/// Opens a stream in place of a TCP connection.
pub(crate) type Dial = Arc<dyn Fn(String, u16) -> BoxFuture<io::Result<BoxStream>> + Send + Sync>;

/// How streams are opened.
#[derive(Clone)]
pub(crate) struct Dialer {
    /// The application's; TCP otherwise.
    pub(crate) dial: Option<Dial>,
    /// Present if an address needs it.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Connector>,
}

impl Dialer {
    /// Opens a stream to this address, with TLS if its URL says so.
    pub(crate) async fn open(&self, address: &Address) -> io::Result<BoxStream> {
        let stream = match &self.dial {
            Some(dial) => dial(address.host.clone(), address.port).await?,
            None => {
                let stream = TcpStream::connect((&*address.host, address.port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        self.secure(stream, address).await
    }

    /// Adds TLS to a stream, if its URL says so.
    #[cfg(feature = "tls")]
    pub(crate) async fn secure(
        &self,
        stream: BoxStream,
        address: &Address,
    ) -> io::Result<BoxStream> {
        match &self.tls {
            Some(tls) if address.tls => tls.connect(stream, &address.host).await,
            _ => Ok(stream),
        }
    }

    /// Without the feature `tls`, addresses that need it were refused.
    #[cfg(not(feature = "tls"))]
    pub(crate) async fn secure(&self, stream: BoxStream, _: &Address) -> io::Result<BoxStream> {
        Ok(stream)
    }
}
