//! Where and under which limits the service listens.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The section `serve` of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address and port, like `127.0.0.1:8321`. Anything but a loopback address needs `tokens_path`.
    pub listen: String,
    /// TOML file of bearer tokens (see [`crate::Tokens`]). Without one, whoever reaches the loopback address may do
    /// everything.
    pub tokens_path: Option<PathBuf>,
    /// Whether faces may be searched for. Off until the operator decides otherwise.
    pub search_enabled: bool,
    /// File to which every face search and every erasure is appended, one JSON object a line. Needed for
    /// `search_enabled`; erasures are refused without it too.
    pub audit_path: Option<PathBuf>,
    /// Largest request body in bytes, 1 KiB to 256 MiB.
    pub max_body_bytes: usize,
    /// Longest time for one request in seconds, 1 to 600.
    pub request_timeout_seconds: u64,
    /// Requests worked on at one time, 1 to 4,096; more are told to come back.
    pub max_concurrent: usize,
    /// Most queries in one search, 1 to 10,000.
    pub max_queries: usize,
    /// Queries that one caller may search for within a minute, at least 1.
    pub queries_per_minute: u32,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8321".to_owned(),
            tokens_path: None,
            search_enabled: false,
            audit_path: None,
            max_body_bytes: 16 << 20,
            request_timeout_seconds: 30,
            max_concurrent: 64,
            max_queries: 256,
            queries_per_minute: 1200,
        }
    }
}

impl ServeConfig {
    /// The address to listen on, if `listen` is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    /// Everything that is wrong, as (key, what is wrong and what is allowed).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, why: String| problems.push((key.to_owned(), why));
        match self.address() {
            None => wrong("listen", format!("{:?} is no address and port, like 127.0.0.1:8321", self.listen)),
            Some(address) if !address.ip().is_loopback() && self.tokens_path.is_none() => {
                wrong(
                    "listen",
                    format!(
                        "{address} can be reached from other machines, which needs tokens_path; or listen on 127.0.0.1"
                    ),
                );
            }
            Some(_) => {}
        }
        if self.search_enabled && self.audit_path.is_none() {
            wrong("audit_path", "is missing; search_enabled needs a file for the audit log".to_owned());
        }
        let mut range = |key: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                wrong(key, format!("is {value}; allowed are {low} to {high}"));
            }
        };
        range("max_body_bytes", self.max_body_bytes as u64, 1024, 256 << 20);
        range("request_timeout_seconds", self.request_timeout_seconds, 1, 600);
        range("max_concurrent", self.max_concurrent as u64, 1, 4096);
        range("max_queries", self.max_queries as u64, 1, 10_000);
        range("queries_per_minute", u64::from(self.queries_per_minute), 1, u64::from(u32::MAX));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound() {
        assert_eq!(ServeConfig::default().problems(), []);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let config = ServeConfig {
            listen: "0.0.0.0:80".into(),
            search_enabled: true,
            max_body_bytes: 3,
            max_concurrent: 0,
            ..ServeConfig::default()
        };
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["listen", "audit_path", "max_body_bytes", "max_concurrent"]);
        let nowhere = ServeConfig { listen: "here".into(), ..ServeConfig::default() };
        assert_eq!(nowhere.problems().len(), 1);
    }
}
