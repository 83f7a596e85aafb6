//! The URLs that we can fetch: `http://`, an IPv4 address, perhaps a port, a path.

use core::fmt;
use core::str::FromStr;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// Where to connect to.
    pub addr: SocketAddrV4,
    /// Address and port as written: what the Host field says.
    pub authority: String,
    /// Path and query, starting with `/`.
    pub target: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text
            .get(..7)
            .filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let rest = scheme
            .and_then(|_| text.get(7..))
            .ok_or("only http:// can be fetched")?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (
                host,
                port.parse()
                    .ok()
                    .filter(|&port| port > 0)
                    .ok_or("the port is between 1 and 65535")?,
            ),
            None => (authority, 80),
        };
        let ip: Ipv4Addr = host
            .parse()
            .map_err(|_| format!("`{host}` is not an IPv4 address (names are not resolved)"))?;
        if !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("the path has characters that must be written as %XX".to_owned());
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            addr: SocketAddrV4::new(ip, port),
            authority: authority.to_owned(),
            target: format!("{slash}{target}"),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, addr, authority, target) in [
            ("http://10.0.0.1", "10.0.0.1:80", "10.0.0.1", "/"),
            (
                "HTTP://10.0.0.1:8080/a/b?c=d#e",
                "10.0.0.1:8080",
                "10.0.0.1:8080",
                "/a/b?c=d",
            ),
            ("http://10.0.0.1?q", "10.0.0.1:80", "10.0.0.1", "/?q"),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!(url.addr.to_string(), addr);
            assert_eq!(
                (url.authority.as_str(), url.target.as_str()),
                (authority, target)
            );
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "10.0.0.1",
            "https://10.0.0.1/",
            "http://host/",
            "http://10.0.0.1:0/",
            "http://10.0.0.1:x/",
            "http://[::1]/",
            "http://10.0.0.1/a b",
            "http://10.0.0.1/\r\nX: y",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text:?}");
        }
    }
}
