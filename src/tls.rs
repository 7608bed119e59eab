//! TLS by rustls: the certificate and its key, as the files say now.
//!
//! HTTP/1.1 alone is offered, so that the timeouts of plain connections are those of encrypted ones.

pub(crate) mod client;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config;
use crate::metrics::Metrics;

/// Changed files are seen after about this.
const LOOK: Duration = Duration::from_secs(1);

/// Why a certificate cannot be used. Each message names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}; check [server] tls_cert and tls_key", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no certificate in the file.
    #[error("{} holds no certificate in PEM: {reason}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// There is no private key in the file.
    #[error("{} holds no private key in PEM", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The two do not belong together, or rustls cannot use them.
    #[error("the certificate {} cannot be used with the key {}: {source}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate in use, replaced when its files are.
pub struct Tls {
    files: config::Tls,
    seen: Option<Pem>,
    served: RustlsConfig,
}

impl Tls {
    /// Reads the certificate and the key, and checks that they belong together.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn open(files: &config::Tls) -> Result<Self, TlsError> {
        let pem = Pem::read(files)?;
        let served = RustlsConfig::from_config(pem.configure(files)?);
        Ok(Self { files: files.clone(), seen: Some(pem), served })
    }

    /// What new connections are accepted with. Clones follow later certificates.
    pub fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// Takes new files as they come; connections that are open stay as they are. What cannot be used is told and counted
    /// once, and the certificate before it stays. Runs until it is dropped.
    pub async fn follow(mut self, metrics: &Metrics) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.look() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!("a new certificate is in use");
                    metrics.tls_reloaded(true);
                }
                Err(error) => {
                    tracing::error!(%error, "the new certificate is refused; the one before it stays in use");
                    metrics.tls_reloaded(false);
                }
            }
        }
    }

    /// Whether there was a new certificate. The same bytes are tried once.
    fn look(&mut self) -> Result<bool, TlsError> {
        let pem = match Pem::read(&self.files) {
            Ok(pem) => pem,
            Err(error) => return if self.seen.take().is_some() { Err(error) } else { Ok(false) },
        };
        if self.seen.as_ref() == Some(&pem) {
            return Ok(false);
        }
        let configured = pem.configure(&self.files);
        self.seen = Some(pem);
        self.served.reload_from_config(configured?);
        Ok(true)
    }
}

impl Pem {
    fn read(files: &config::Tls) -> Result<Self, TlsError> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source });
        Ok(Self { cert: read(&files.cert)?, key: read(&files.key)? })
    }

    fn configure(&self, files: &config::Tls) -> Result<Arc<ServerConfig>, TlsError> {
        let no_certificate = |reason: String| TlsError::NoCertificate { path: files.cert.clone(), reason };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(|e| no_certificate(e.to_string()))?;
        if chain.is_empty() {
            return Err(no_certificate("there is none".to_owned()));
        }
        // What the parser says is left out: it may quote the key.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey { path: files.key.clone() })?;
        let unusable = |source| TlsError::Unusable { cert: files.cert.clone(), key: files.key.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
