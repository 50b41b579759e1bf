//! `s3://bucket/key` URLs of the operator's own buckets.
//!
//! Invariants: only buckets that the settings name are read; a key cannot lead out of its bucket; credentials come from the
//! environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`) and never stand in a log or an error.

use std::collections::HashMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use rusty_s3::actions::{GetObject, S3Action};
use rusty_s3::{Bucket, Credentials, UrlStyle};

use crate::FetchConfig;

/// How long a signed request may be used; it is used at once.
const VALID: Duration = Duration::from_secs(600);

/// The buckets that may be read.
pub(crate) struct Buckets {
    by_name: HashMap<String, Bucket>,
    credentials: Option<Credentials>,
}

impl Buckets {
    /// Those of the settings.
    ///
    /// # Errors
    /// A sentence, if the endpoint cannot be used.
    pub(crate) fn new(config: &FetchConfig) -> Result<Self, String> {
        let mut by_name = HashMap::new();
        for name in &config.allow_s3_buckets {
            let endpoint = Url::parse(&config.s3_endpoint).map_err(|e| format!("s3_endpoint: {e}"))?;
            let bucket = Bucket::new(endpoint, UrlStyle::Path, name.clone(), config.s3_region.clone());
            by_name.insert(name.clone(), bucket.map_err(|e| format!("s3_endpoint: {e}"))?);
        }
        Ok(Self { by_name, credentials: Credentials::from_env() })
    }

    /// The request for the object that a `s3:` URL names, signed if there are credentials; `None` if it may not be read.
    pub(crate) fn signed(&self, url: &Url) -> Option<Url> {
        let bucket = self.by_name.get(url.host_str()?)?;
        let key = percent_decode_str(url.path().strip_prefix('/')?).decode_utf8().ok()?;
        // Such segments are resolved like those of a path, and would lead into another bucket.
        if key.is_empty() || key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return None;
        }
        Some(GetObject::new(bucket, self.credentials.as_ref(), &key).sign(VALID))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(credentials: Option<Credentials>) -> Buckets {
        let config = FetchConfig {
            allow_s3_buckets: vec!["pictures".into()],
            s3_endpoint: "https://s3.example:9000".into(),
            ..FetchConfig::default()
        };
        Buckets { credentials, ..Buckets::new(&config).unwrap() }
    }

    fn signed(buckets: &Buckets, url: &str) -> Option<String> {
        buckets.signed(&Url::parse(url).unwrap()).map(String::from)
    }

    #[test]
    fn only_named_buckets_are_read_and_keys_stay_inside() {
        let open = buckets(None);
        assert_eq!(
            signed(&open, "s3://pictures/a/b%20c.jpg").as_deref(),
            Some("https://s3.example:9000/pictures/a/b%20c.jpg")
        );
        for url in ["s3://other/a.jpg", "s3://pictures/", "s3://pictures", "s3:///pictures/a.jpg"] {
            assert_eq!(signed(&open, url), None, "{url}");
        }
        for key in ["../other/a.jpg", "%2e%2e/other/a.jpg", "a/../../other/a.jpg", "a/%2E%2E/%2e./x"] {
            let found = signed(&open, &format!("s3://pictures/{key}"));
            assert!(found.as_ref().is_none_or(|url| url.contains("/pictures/")), "{key}: {found:?}");
        }
    }

    #[test]
    fn requests_are_signed_where_there_are_credentials() {
        let url =
            signed(&buckets(Some(Credentials::new("the-key", "the-secret"))), "s3://pictures/a.jpg").unwrap();
        assert!(
            url.starts_with("https://s3.example:9000/pictures/a.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256"),
            "{url}"
        );
        assert!(url.contains("X-Amz-Signature=") && !url.contains("the-secret"), "{url}");
    }
}
