//! Settings of the stage, the section `[fetch]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Network;

/// A setting's key, relative to its section, and what is wrong with it and what is allowed.
pub type Problem = (String, String);

/// How pictures are fetched and decoded.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConfig {
    /// What the hosts are told about who asks.
    pub user_agent: String,
    /// Longest wait for a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time for one request, its body included, in milliseconds.
    pub timeout_ms: u64,
    /// How long a host's addresses are remembered, in milliseconds; 0 asks the resolver for every connection.
    pub dns_keep_ms: u64,
    /// Largest file, in bytes, after a transport compression was undone.
    pub max_bytes: u64,
    /// Most pixels of a picture, judged by its header before it is decoded. A decoded picture takes 3 bytes a pixel.
    pub max_pixels: u64,
    /// Memory for decoded pictures that wait for the next stages, in MiB. Pictures beyond it wait as files and are decoded
    /// when their turn comes.
    pub decoded_mib: usize,
    /// Batches under way at once. A slow host holds up its own batch, not the next ones.
    pub batches: usize,
    /// Most redirects followed.
    pub max_redirects: usize,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Requests under way at once to one host.
    pub per_host: usize,
    /// Requests a second to one host; 0 means as many as `per_host` gives.
    pub per_host_per_second: f64,
    /// How often a request that may succeed later is repeated.
    pub retries: u32,
    /// Wait before the first repetition, in milliseconds; doubled each time, with a random part.
    pub backoff_ms: u64,
    /// Longest wait before a repetition, in milliseconds. A host that asks for more is given up.
    pub backoff_max_ms: u64,
    /// A host that left this many requests in a row unanswered, for `host_patience_ms` or longer, is not asked again for
    /// `host_pause_ms`; its pictures become dead letters at once, so that a dead host does not hold up the others. 0
    /// means never.
    pub host_failures: u32,
    /// See `host_failures`, in milliseconds.
    pub host_patience_ms: u64,
    /// How long a failing host is left alone, in milliseconds.
    pub host_pause_ms: u64,
    /// If a batch reaches nobody, and at least this many hosts among them answered earlier in this run, the fault is
    /// taken to lie here, and the run stops instead of giving everything up. 0 means never.
    pub outage_hosts: usize,
    /// URLs whose `ETag` or `Last-Modified` is remembered, so that unchanged pictures are not sent again.
    pub etag_entries: usize,
    /// Threads that decode; 0 means one a core.
    pub decode_threads: usize,
    /// Folders from which `file:` URLs may be read. Empty: none.
    pub allow_file_roots: Vec<PathBuf>,
    /// Buckets from which `s3://bucket/key` URLs may be read. Empty: none. Credentials come from the environment, as for
    /// other programs that read S3: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    pub allow_s3_buckets: Vec<String>,
    /// Where those buckets lie; a bucket is the first part of the path.
    pub s3_endpoint: String,
    /// The region that requests to it are signed for.
    pub s3_region: String,
    /// Networks that may be reached although they are private, loopback or otherwise refused, like `127.0.0.0/8`.
    /// Every URL in every event can then reach them.
    pub danger_allow_networks: Vec<String>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("facering/", env!("CARGO_PKG_VERSION")).into(),
            connect_timeout_ms: 5_000,
            timeout_ms: 20_000,
            dns_keep_ms: 60_000,
            max_bytes: 20 << 20,
            max_pixels: 40_000_000,
            decoded_mib: 512,
            batches: 4,
            max_redirects: 5,
            concurrency: 64,
            per_host: 16,
            per_host_per_second: 0.0,
            retries: 3,
            backoff_ms: 250,
            backoff_max_ms: 30_000,
            host_failures: 10,
            host_patience_ms: 10_000,
            host_pause_ms: 120_000,
            outage_hosts: 3,
            etag_entries: 65_536,
            decode_threads: 0,
            allow_file_roots: Vec::new(),
            allow_s3_buckets: Vec::new(),
            s3_endpoint: "https://s3.amazonaws.com".into(),
            s3_region: "us-east-1".into(),
            danger_allow_networks: Vec::new(),
        }
    }
}

impl FetchConfig {
    /// Everything that is wrong, at once.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut range = |key: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                found.push((key.to_owned(), format!("{value} is out of range, {low} to {high} is allowed")));
            }
        };
        range("connect_timeout_ms", self.connect_timeout_ms, 1, 600_000);
        range("timeout_ms", self.timeout_ms, 1, 3_600_000);
        range("dns_keep_ms", self.dns_keep_ms, 0, 86_400_000);
        range("max_bytes", self.max_bytes, 1024, 1 << 30);
        range("max_pixels", self.max_pixels, 1, 1_000_000_000);
        range("decoded_mib", self.decoded_mib as u64, 1, 1 << 20);
        // The state keeps pictures without owners for 32 batches, more than there are between fetch and commit.
        range("batches", self.batches as u64, 1, 16);
        range("max_redirects", self.max_redirects as u64, 0, 50);
        range("concurrency", self.concurrency as u64, 1, 10_000);
        range("per_host", self.per_host as u64, 1, 10_000);
        range("retries", u64::from(self.retries), 0, 20);
        range("backoff_ms", self.backoff_ms, 1, 600_000);
        range("backoff_max_ms", self.backoff_max_ms, 1, 3_600_000);
        range("host_patience_ms", self.host_patience_ms, 0, 3_600_000);
        range("host_pause_ms", self.host_pause_ms, 1, 86_400_000);
        range("etag_entries", self.etag_entries as u64, 0, 100_000_000);
        range("decode_threads", self.decode_threads as u64, 0, 4096);
        let mut add = |key: String, sentence: String| found.push((key, sentence));
        if !(self.per_host_per_second >= 0.0 && self.per_host_per_second <= 1e6) {
            let value = self.per_host_per_second;
            add(
                "per_host_per_second".into(),
                format!("{value} is out of range, 0 (no limit) to 1000000 is allowed"),
            );
        }
        let agent = &self.user_agent;
        if agent.trim().is_empty() || agent.chars().any(|c| !(' '..='~').contains(&c)) {
            add("user_agent".into(), "name the program that asks, in printable ASCII".into());
        }
        for (at, root) in self.allow_file_roots.iter().enumerate() {
            if !root.is_dir() {
                add(format!("allow_file_roots[{at}]"), format!("{} is no folder", root.display()));
            }
        }
        for (at, bucket) in self.allow_s3_buckets.iter().enumerate() {
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
            if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(fine) {
                add(format!("allow_s3_buckets[{at}]"), format!("{bucket:?} is no name of a bucket"));
            }
        }
        let endpoint = reqwest::Url::parse(&self.s3_endpoint);
        if !endpoint.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            add(
                "s3_endpoint".into(),
                "expected an address like https://s3.eu-central-1.amazonaws.com".into(),
            );
        }
        for (at, network) in self.danger_allow_networks.iter().enumerate() {
            if let Err(error) = network.parse::<Network>() {
                add(format!("danger_allow_networks[{at}]"), error.to_string());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_every_problem_is_named() {
        assert!(FetchConfig::default().problems().is_empty());
        let bad = FetchConfig {
            concurrency: 0,
            per_host_per_second: f64::NAN,
            user_agent: "a\nb".into(),
            danger_allow_networks: vec!["127.0.0.0/8".into(), "127/8".into()],
            allow_file_roots: vec!["/no/such/folder".into()],
            allow_s3_buckets: vec!["good-bucket".into(), "../x".into()],
            s3_endpoint: "s3".into(),
            ..Default::default()
        };
        let keys: Vec<_> = bad.problems().into_iter().map(|(key, _)| key).collect();
        let expected = [
            "concurrency",
            "per_host_per_second",
            "user_agent",
            "allow_file_roots[0]",
            "allow_s3_buckets[1]",
            "s3_endpoint",
            "danger_allow_networks[1]",
        ];
        assert_eq!(keys, expected);
    }
}
