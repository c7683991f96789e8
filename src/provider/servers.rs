//! The mail servers in effect: the spec's block for a protocol over the catalogue entry's server.

use super::catalogue::{EntryServer, Offer};
use super::resolve::ResolveError;
use crate::api::{MailServer, Security, ServerStatus};

/// A mail server in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name, lower case.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: Security,
    /// Login name at this server.
    pub username: String,
}

impl Server {
    pub(super) fn to_status(&self) -> ServerStatus {
        ServerStatus {
            host: Some(self.host.clone()),
            port: Some(self.port.into()),
            security: Some(self.security),
            username: Some(self.username.clone()),
        }
    }
}

/// Whether the asset gets the entry's server, and asks for its scopes.
pub(super) fn is_offered(offer: &EntryServer, named: Option<&MailServer>) -> bool {
    offer.offer == Offer::Always || named.is_some()
}

/// What is known about a protocol whatever the server (RFC 8314 §7.3, IANA service names).
pub(super) struct Protocol {
    field: &'static str,
    tls_port: u16,
    start_tls_ports: &'static [u16],
}

pub(super) const SMTP: Protocol = Protocol {
    field: "spec.smtp",
    tls_port: 465,
    start_tls_ports: &[587, 25],
};
pub(super) const IMAP: Protocol = Protocol {
    field: "spec.imap",
    tls_port: 993,
    start_tls_ports: &[143],
};
pub(super) const POP3: Protocol = Protocol {
    field: "spec.pop3",
    tls_port: 995,
    start_tls_ports: &[110],
};

impl Protocol {
    /// What the port is known for.
    fn security_of(&self, port: u16) -> Option<Security> {
        match port {
            port if port == self.tls_port => Some(Security::Tls),
            port if self.start_tls_ports.contains(&port) => Some(Security::StartTls),
            _ => None,
        }
    }

    /// The port that is known for this.
    fn port_for(&self, security: Security) -> u16 {
        match security {
            Security::Tls => self.tls_port,
            Security::StartTls | Security::None => self.start_tls_ports.first().copied().unwrap_or(self.tls_port),
        }
    }
}

/// Puts the spec's block for a protocol and the entry's server together.
pub(super) fn server(
    protocol: &Protocol,
    named: Option<&MailServer>,
    offer: Option<&EntryServer>,
    username: &str,
) -> Result<Option<Server>, ResolveError> {
    let offer = offer.filter(|offer| is_offered(offer, named));
    let none = MailServer::default();
    let (named, offer) = match (named, offer) {
        (None, None) => return Ok(None),
        (named, offer) => (named.unwrap_or(&none), offer),
    };
    let field = protocol.field;
    let given_port = named.port.map(|port| to_port(field, port)).transpose()?;
    // A host of the spec's own owes nothing to the entry's port and security.
    let base = offer.filter(|_| named.host.is_none());
    let host = named
        .host
        .as_ref()
        .or(offer.map(|offer| &offer.host))
        .ok_or(ResolveError::NoMailHost { field })?;
    let security = named
        .security
        .or_else(|| given_port.and_then(|port| protocol.security_of(port)))
        .or_else(|| base.map(|base| base.security))
        .unwrap_or(Security::Tls);
    let base_port = base.filter(|base| base.security == security).map(|base| base.port);
    Ok(Some(Server {
        host: host.to_ascii_lowercase(),
        port: given_port.or(base_port).unwrap_or_else(|| protocol.port_for(security)),
        security,
        username: named.username.clone().unwrap_or_else(|| username.to_owned()),
    }))
}

fn to_port(field: &'static str, given: i32) -> Result<u16, ResolveError> {
    u16::try_from(given)
        .ok()
        .filter(|port| *port > 0)
        .ok_or(ResolveError::BadPort { field, given })
}
