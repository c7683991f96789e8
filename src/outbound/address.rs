//! Which addresses may be connected to. A person who may write an endpoint into a resource must not reach the node, the
//! sidecars or the cloud's metadata service through us (invariant 10).
//!
//! The check is made on the addresses that are connected to, after DNS: a name cannot be checked first and resolve
//! differently later. Addresses written in the URL never meet DNS and are checked by [`literal`].
//!
//! Private networks (RFC 1918, unique local IPv6) stay allowed: identity providers run inside clusters.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

/// Whether connections to loopback, link-local and metadata addresses are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PrivateAddresses {
    /// They are refused.
    #[default]
    Refuse,
    /// They are allowed: for tests and for sites that know what they do.
    Allow,
}

/// Cloud metadata services outside the link-local range.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle
    Ipv4Addr::new(168, 63, 129, 16),   // Azure WireServer
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google
];

/// Whether an address is one that no server of a provider has: loopback, link-local, unspecified, multicast, broadcast or metadata,
/// also when an IPv6 address only wraps it.
#[must_use]
pub fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => v4_is_off_limits(address),
        IpAddr::V6(address) => v6_is_off_limits(address),
    }
}

fn v4_is_off_limits(address: Ipv4Addr) -> bool {
    address.octets().first() == Some(&0)
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address)
}

fn v6_is_off_limits(address: Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || METADATA_V6.contains(&address)
        || embedded_v4(address).is_some_and(v4_is_off_limits)
}

/// The IPv4 address inside a mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056) address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let joined = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(joined(high, low))
        }
        _ => None,
    }
}

/// Whether the host in a URL is off limits by itself: an address, or a name that by RFC 6761 always means loopback.
#[must_use]
pub fn literal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => v4_is_off_limits(address),
        Some(Host::Ipv6(address)) => v6_is_off_limits(address),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => true,
    }
}

/// Why a name gave no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// DNS has no answer.
    #[error("the name cannot be resolved")]
    Lookup(#[source] io::Error),
    /// All its addresses are off limits.
    #[error("the name resolves only to loopback, link-local or metadata addresses")]
    OffLimits,
}

/// The addresses of a host that may be connected to, in the order in which the system's resolver gives them; at least one.
///
/// # Errors
/// [`ResolveError`].
pub async fn resolve(host: &str, port: u16, private: PrivateAddresses) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(ResolveError::Lookup)?;
    let allowed = |address: &SocketAddr| private == PrivateAddresses::Allow || !is_off_limits(address.ip());
    let addresses: Vec<SocketAddr> = found.filter(allowed).collect();
    if addresses.is_empty() {
        return Err(ResolveError::OffLimits);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_link_local_and_metadata_are_off_limits_in_every_spelling() {
        let spellings = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::",
        ];
        for address in spellings {
            assert!(is_off_limits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn public_and_private_networks_are_allowed() {
        let addresses = [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "8.8.8.8",
            "168.63.129.17",
            "fd00::1",
            "2a00:1450:4001::5f",
            "::ffff:10.0.0.1",
            "64:ff9b::8.8.8.8",
        ];
        for address in addresses {
            assert!(!is_off_limits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn hosts_in_urls_are_read_as_the_url_standard_reads_them() {
        let hosts = [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:7f00:1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "169.254.169.254",
        ];
        for host in hosts {
            assert!(
                literal(&Url::parse(&format!("https://{host}/token")).unwrap()),
                "{host}"
            );
        }
        for host in ["10.0.0.1", "example.com", "localhost.example.com"] {
            assert!(
                !literal(&Url::parse(&format!("https://{host}/token")).unwrap()),
                "{host}"
            );
        }
    }
}
