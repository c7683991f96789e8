//! TLS to a mail server, and what its failures mean.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, Error};
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::meaning::Meaning;
use super::transcript::Scribe;
use super::wire::Connection;
use crate::outbound::{CaBundle, Recent};

/// Configurations beyond this many are dropped, least recently used first.
const MOST_CONFIGURATIONS: usize = 16;

/// Why no TLS connection can be made at all.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The process has no TLS provider.
    #[error("no TLS provider is installed: call rustls::crypto::ring::default_provider().install_default() in main")]
    NoTlsProvider,
    /// There is nobody to trust.
    #[error("cannot use TLS: check that CA certificates are installed, or set SSL_CERT_FILE")]
    NoAuthorities(#[source] Error),
}

/// TLS configurations: one per CA bundle, since reading the platform's authorities is dear.
pub(super) struct Authorities {
    everywhere: Option<CaBundle>,
    made: Mutex<Recent<Option<[u8; 32]>, Arc<ClientConfig>>>,
}

impl Authorities {
    /// Trusts the platform's authorities, and `everywhere`.
    pub(super) fn new(everywhere: Option<CaBundle>) -> Result<Self, MailError> {
        let authorities = Self {
            everywhere,
            made: Mutex::new(Recent::holding(MOST_CONFIGURATIONS)),
        };
        authorities.configuration(None)?;
        Ok(authorities)
    }

    /// For one host, that `authority` may vouch for too.
    pub(super) fn tls(&self, host: &str, authority: Option<&CaBundle>) -> Result<Tls, MailError> {
        Ok(Tls {
            configuration: self.configuration(authority)?,
            host: host.to_owned(),
        })
    }

    fn configuration(&self, authority: Option<&CaBundle>) -> Result<Arc<ClientConfig>, MailError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get_or_make(authority.map(CaBundle::fingerprint), || self.make(authority))
    }

    fn make(&self, authority: Option<&CaBundle>) -> Result<Arc<ClientConfig>, MailError> {
        let provider = CryptoProvider::get_default().cloned().ok_or(MailError::NoTlsProvider)?;
        let bundles = self.everywhere.iter().chain(authority);
        let roots = bundles.flat_map(CaBundle::certificates).cloned();
        let verifier =
            Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(MailError::NoAuthorities)?;
        let mut configuration = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(MailError::NoAuthorities)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // A resumed session would not show that the certificate has expired since.
        configuration.resumption = Resumption::disabled();
        Ok(Arc::new(configuration))
    }
}

/// How TLS is spoken to one host.
pub(super) struct Tls {
    configuration: Arc<ClientConfig>,
    host: String,
}

impl Tls {
    /// Makes an encrypted connection out of an open one.
    pub(super) async fn handshake(
        &self,
        open: Box<dyn Connection>,
        deadline: Instant,
        scribe: &mut Scribe,
    ) -> Result<Box<dyn Connection>, Meaning> {
        let name = ServerName::try_from(self.host.clone()).map_err(|_| Meaning::WrongName)?;
        let connector = TlsConnector::from(Arc::clone(&self.configuration));
        match timeout_at(deadline, connector.connect(name, open)).await {
            Ok(Ok(stream)) => {
                let version = match stream.get_ref().1.protocol_version() {
                    Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
                    _ => "TLS 1.3",
                };
                scribe.note(format!("{version}, the certificate is valid for {}", self.host));
                Ok(Box::new(stream))
            }
            Ok(Err(error)) => Err(meaning(&error)),
            Err(_) => Err(Meaning::Silent),
        }
    }
}

fn meaning(error: &io::Error) -> Meaning {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        None => Meaning::HungUp,
        Some(Error::InvalidCertificate(problem)) => certificate_meaning(problem),
        // A server that greets in plain text.
        Some(Error::InvalidMessage(_)) => Meaning::NotTls,
        Some(_) => Meaning::TlsFailed,
    }
}

fn certificate_meaning(problem: &CertificateError) -> Meaning {
    match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Meaning::WrongName,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Meaning::CertificateExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Meaning::CertificateNotYetValid,
        // `Other`: an authority's own certificate on a server, as `openssl req -x509` makes it.
        CertificateError::UnknownIssuer | CertificateError::Other(_) => Meaning::UnknownAuthority,
        _ => Meaning::TlsFailed,
    }
}
