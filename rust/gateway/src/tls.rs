//! How does a stick that can speak TLS do so? The same frames, the same limits, one layer more.
//!
//! Sticks in the field speak plain TCP and cannot be changed; this is for gateways and newer devices.
//! TLS 1.2 and 1.3 by rustls, the server shows a certificate, clients show none: a serial number is
//! still what identifies them.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Answers that wait inside the TLS layer of one connection, as bytes.
const BUFFER_BYTES: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("certificate {path}: {error}")]
    Certificate { path: String, error: String },
    #[error("key {path}: {error}")]
    Key { path: String, error: String },
    /// The two files do not belong together, or the key is of an unknown kind.
    #[error("certificate and key do not fit: {0}")]
    Pair(rustls::Error),
}

/// A certificate chain with its key, ready to accept connections.
#[derive(Debug, Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl TlsIdentity {
    /// Reads a chain (own certificate first) and its private key from PEM files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain_error = |error: String| TlsError::Certificate {
            path: certificate.display().to_string(),
            error,
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| chain_error(error.to_string()))?;
        if chain.is_empty() {
            return Err(chain_error("holds no certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key {
            path: key.display().to_string(),
            error: error.to_string(),
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn accept(&self, stream: TcpStream) -> Result<Stream, rustls::Error> {
        let mut connection = ServerConnection::new(Arc::clone(&self.0))?;
        connection.set_buffer_limit(Some(BUFFER_BYTES));
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, stream))))
    }
}

/// A stick's socket, with or without TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    pub(crate) fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Whether a read that did not fill the buffer has emptied the socket (epoll(7), question 9).
    /// Under TLS one record is read at a time.
    pub(crate) fn short_read_drains(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether the TLS layer holds bytes that the kernel did not take yet.
    pub(crate) fn holds_output(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.conn.wants_write(),
        }
    }

    /// Says goodbye as far as the kernel takes it.
    pub(crate) fn say_goodbye(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            // The peer may be gone; the socket is closed in any case.
            let _flushed = stream.flush();
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => match stream.read(buffer) {
                // Most devices hang up without saying goodbye; a frame cut short is never taken.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            // A full buffer of the TLS layer shows as zero bytes taken.
            Self::Tls(stream) => match stream.write(bytes)? {
                0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
                count => Ok(count),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
