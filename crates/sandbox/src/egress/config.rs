//! What may be reached from inside, as the operator writes it.

use ringfence_net::guard::Network;
use ringfence_net::host::{Authority, HostName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::refusal::Refusal;

/// LIMIT: rules of one project.
pub const HOSTS_MAX: usize = 256;
/// LIMIT: ports of one rule.
pub const PORTS_MAX: usize = 8;
/// The ports of a rule that names none: plain HTTP and TLS.
const PORTS_DEFAULT: [u16; 2] = [80, 443];

/// The `[egress]` table. Without hosts there is no way out at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressConfig {
    /// Hosts that may be reached: `api.example.org`, `*.example.org`, `api.example.org:8443,9443`.
    #[serde(with = "texts")]
    pub hosts: Vec<HostRule>,
    /// Whether programs that know no proxy are let out too, at ports 80 and 443.
    pub transparent: bool,
    /// Name servers, asked over TCP; none means those of the host's /etc/resolv.conf.
    pub resolvers: Vec<SocketAddr>,
    /// Private networks that a listed name may lead to, such as `10.1.0.0/16`.
    #[serde(with = "texts")]
    pub networks: Vec<Network>,
    /// LIMIT: MiB in both directions in one hour, for each sandbox.
    pub mib_per_hour_max: u64,
    /// LIMIT: connections of one sandbox at the same time.
    pub connections_max: usize,
    /// LIMIT: connections of one sandbox that begin in one minute.
    pub connections_per_minute_max: u32,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            transparent: false,
            resolvers: Vec::new(),
            networks: Vec::new(),
            mib_per_hour_max: 1024,
            connections_max: 64,
            connections_per_minute_max: 600,
        }
    }
}

impl EgressConfig {
    /// Whether there is a way out at all.
    pub fn is_open(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Whether a host may be reached at a port.
    pub(super) fn check(&self, to: &Authority) -> Result<(), Refusal> {
        let mut named = self
            .hosts
            .iter()
            .filter(|rule| rule.names(&to.host))
            .peekable();
        if named.peek().is_none() {
            return Err(Refusal::HostNotListed);
        }
        if named.any(|rule| rule.ports.contains(&to.port)) {
            Ok(())
        } else {
            Err(Refusal::PortNotListed(to.port))
        }
    }

    /// Whether a host may be reached at any port.
    pub(super) fn names(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|rule| rule.names(host))
    }

    /// The hosts that are listed by their whole name, in alphabetical order.
    pub(super) fn exact_names(&self) -> Vec<HostName> {
        let exact = self.hosts.iter().filter(|rule| !rule.below);
        let mut names: Vec<_> = exact.map(|rule| rule.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// One entry of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    name: HostName,
    /// Whether it is every host below the name, and not the name itself.
    below: bool,
    ports: Vec<u16>,
}

impl HostRule {
    fn names(&self, host: &HostName) -> bool {
        if !self.below {
            return self.name == *host;
        }
        let rest = host.as_str().strip_suffix(self.name.as_str());
        rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

/// A text that is not an entry of the allow-list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host, *.suffix or host:port,port")]
pub struct HostRuleError(String);

impl FromStr for HostRule {
    type Err = HostRuleError;

    fn from_str(text: &str) -> Result<Self, HostRuleError> {
        let wrong = || HostRuleError(text.chars().take(100).collect());
        let (host, ports) = match text.split_once(':') {
            Some((host, ports)) => (host, Some(ports)),
            None => (text, None),
        };
        let (below, name) = match host.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, host),
        };
        let name: HostName = name.parse().map_err(|_| wrong())?;
        // `*.org` would be a promise that nobody can want to make.
        if below && name.labels().count() < 2 {
            return Err(wrong());
        }
        let ports = match ports {
            None => PORTS_DEFAULT.to_vec(),
            Some(list) => list
                .split(',')
                .map(|port| port.parse().ok().filter(|n| *n != 0).ok_or_else(wrong))
                .collect::<Result<Vec<u16>, _>>()?,
        };
        if ports.len() > PORTS_MAX {
            return Err(wrong());
        }
        Ok(Self { name, below, ports })
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.below { "*." } else { "" };
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        write!(f, "{star}{}:{}", self.name, ports.join(","))
    }
}

/// Lists of things that are written as text.
mod texts {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        if texts.len() > super::HOSTS_MAX {
            let most = super::HOSTS_MAX;
            return Err(D::Error::custom(format!(
                "at most {most} entries are allowed"
            )));
        }
        let parsed = texts.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(hosts: &[&str]) -> EgressConfig {
        EgressConfig {
            hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(),
            ..EgressConfig::default()
        }
    }

    fn check(hosts: &[&str], to: &str) -> Result<(), Refusal> {
        config(hosts).check(&Authority::parse(to, 443).unwrap())
    }

    #[test]
    fn a_host_is_reached_by_its_own_name_and_ports_only() {
        let hosts = ["api.example.org", "repo.example.org:8443", "*.example.net"];
        for fine in [
            "api.example.org",
            "API.example.org.:80",
            "repo.example.org:8443",
            "a.b.example.net",
        ] {
            assert_eq!(check(&hosts, fine), Ok(()), "{fine}");
        }
        for other in [
            "example.org",
            "xapi.example.org",
            "a.api.example.org",
            "example.net",
            "badexample.net",
            "api.example.org.evil.net",
            "localhost",
        ] {
            assert_eq!(check(&hosts, other), Err(Refusal::HostNotListed), "{other}");
        }
        assert_eq!(
            check(&hosts, "api.example.org:22"),
            Err(Refusal::PortNotListed(22))
        );
        assert_eq!(
            check(&hosts, "repo.example.org:443"),
            Err(Refusal::PortNotListed(443))
        );
        assert_eq!(check(&[], "api.example.org"), Err(Refusal::HostNotListed));
    }

    #[test]
    fn rules_are_read_and_written_and_nothing_vague_is_one() {
        for (text, written) in [
            ("api.example.org", "api.example.org:80,443"),
            ("*.Example.org:443", "*.example.org:443"),
        ] {
            assert_eq!(text.parse::<HostRule>().unwrap().to_string(), written);
        }
        for text in [
            "",
            "*",
            "*.org",
            "*.",
            "a.*.org",
            "10.0.0.1",
            "[::1]",
            "a.org:0",
            "a.org:",
            "a.org:x",
            "https://a.org",
            "a.org/",
            "a.org:1,2,3,4,5,6,7,8,9",
        ] {
            assert!(text.parse::<HostRule>().is_err(), "{text}");
        }
        assert!("a.org:1,2,3,4,5,6,7,8".parse::<HostRule>().is_ok());
    }

    #[test]
    fn lists_are_accepted_at_the_limit_and_refused_one_above() {
        let with = |count: usize| {
            let hosts: Vec<String> = (0..count).map(|n| format!("h{n}.example.org")).collect();
            serde_json::from_value::<EgressConfig>(json!({ "hosts": hosts }))
        };
        assert_eq!(with(HOSTS_MAX).unwrap().hosts.len(), HOSTS_MAX);
        assert!(with(HOSTS_MAX + 1).is_err());
        assert!(serde_json::from_value::<EgressConfig>(json!({"host": []})).is_err());
    }
}
