//! Which proxy the API server is reached through.
//!
//! kube 5.0 compares `NO_PROXY` with the *proxy's* host, not with the API server's, so a proxy is used where none should be. What it found is replaced by the
//! rules that kubectl has: a `proxy-url` of the kubeconfig is used whatever `NO_PROXY` says; else `HTTPS_PROXY`, unless the API server is on this machine or
//! `NO_PROXY` names it (golang.org/x/net/http/httpproxy).

use std::net::IpAddr;

/// The proxy to use for an API server, if any.
pub(super) fn proxy(
    server: &http::Uri,
    of_kubeconfig: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<http::Uri>, http::uri::InvalidUri> {
    if let Some(proxy) = of_kubeconfig.filter(|proxy| !proxy.is_empty()) {
        return proxy.parse().map(Some);
    }
    let either = |upper: &str, lower: &str| {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        set(upper).or_else(|| set(lower))
    };
    let wanted = match server.scheme_str() {
        Some("http") => either("HTTP_PROXY", "http_proxy"),
        _ => either("HTTPS_PROXY", "https_proxy"),
    };
    let Some(wanted) = wanted else { return Ok(None) };
    let exceptions = either("NO_PROXY", "no_proxy").unwrap_or_default();
    if is_excepted(server, &exceptions) {
        return Ok(None);
    }
    // As curl and Go take it: without a scheme, it is http.
    let wanted = if wanted.contains("://") {
        wanted
    } else {
        format!("http://{wanted}")
    };
    wanted.parse().map(Some)
}

fn is_excepted(server: &http::Uri, exceptions: &str) -> bool {
    let host = server
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let port = server
        .port_u16()
        .unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    let mut entries = exceptions
        .split(',')
        .map(|entry| entry.trim().to_lowercase())
        .filter(|entry| !entry.is_empty());
    entries.any(|entry| covers(&entry, &host, address, port))
}

fn covers(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, length)) = entry.split_once('/') {
        let network = network.parse().ok().zip(length.parse().ok());
        return network
            .zip(address)
            .is_some_and(|((network, length), address)| is_within(address, network, length));
    }
    if let Ok(named) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address == Some(named);
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, digits)) => match digits.parse::<u16>() {
            Ok(wanted) => (name.trim_matches(['[', ']']), Some(wanted)),
            Err(_) => return false,
        },
        None => (entry, None),
    };
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(named) = name.parse::<IpAddr>() {
        return address == Some(named);
    }
    let below = name.trim_start_matches('*');
    match below.strip_prefix('.') {
        // `.example.com` and `*.example.com`: only what is below.
        Some(parent) => host.ends_with(&format!(".{parent}")),
        None => host == below || host.ends_with(&format!(".{below}")),
    }
}

fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or_default();
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or_default();
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(server: &str, exceptions: &str) -> bool {
        let server: http::Uri = server.parse().unwrap();
        let variable = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://proxy.corp:3128".to_owned()),
            "NO_PROXY" => Some(exceptions.to_owned()),
            _ => None,
        };
        proxy(&server, None, variable).unwrap().is_some()
    }

    #[test]
    fn no_proxy_is_about_the_api_server_and_not_about_the_proxy() {
        assert!(used("https://api.example.com:6443", "proxy.corp"));
        assert!(!used("https://api.example.com:6443", "api.example.com"));
    }

    #[test]
    fn no_proxy_means_what_kubectl_makes_of_it() {
        for (server, exceptions, through_proxy) in [
            ("https://api.example.com", "", true),
            ("https://api.example.com", "*", false),
            ("https://api.example.com", "example.com", false),
            ("https://api.example.com", ".example.com", false),
            ("https://api.example.com", "*.example.com", false),
            ("https://example.com", ".example.com", true),
            ("https://notexample.com", "example.com", true),
            ("https://api.example.com:6443", "api.example.com:6443", false),
            ("https://api.example.com:6443", "api.example.com:443", true),
            ("https://10.1.2.3:6443", "10.0.0.0/8", false),
            ("https://11.1.2.3:6443", "10.0.0.0/8", true),
            ("https://10.1.2.3", "10.1.2.3", false),
            ("https://[fd00::1]:6443", "fd00::/8", false),
            ("https://127.0.0.1:6443", "", false),
            ("https://localhost:6443", "", false),
            ("https://api.example.com", " , api.example.com,", false),
        ] {
            assert_eq!(used(server, exceptions), through_proxy, "{server} with {exceptions:?}");
        }
    }

    #[test]
    fn a_proxy_of_the_kubeconfig_is_used_whatever_the_environment_says() {
        let server: http::Uri = "https://api.example.com".parse().unwrap();
        let found = proxy(&server, Some("socks5://127.0.0.1:1080"), |_| Some("*".to_owned()));
        assert_eq!(found.unwrap().unwrap().to_string(), "socks5://127.0.0.1:1080/");
    }
}
