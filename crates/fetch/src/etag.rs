//! What hosts said of pictures fetched before, so that unchanged ones are not sent again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use records::PhotoKey;
use reqwest::header::HeaderValue;

/// What identifies one version of a picture at its host.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) modified: Option<HeaderValue>,
    pub(crate) key: PhotoKey,
    pub(crate) file_bytes: u64,
}

/// The newest validators, in memory only; the oldest ones are forgotten first.
pub(crate) struct Validators {
    inner: Mutex<Inner>,
    limit: usize,
}

#[derive(Default)]
struct Inner {
    by_url: HashMap<String, Validator>,
    order: VecDeque<String>,
}

impl Validators {
    pub(crate) fn new(limit: usize) -> Self {
        Self { inner: Mutex::default(), limit }
    }

    pub(crate) fn get(&self, url: &str) -> Option<Validator> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).by_url.get(url).cloned()
    }

    pub(crate) fn put(&self, url: &str, validator: Validator) {
        if self.limit == 0 || (validator.etag.is_none() && validator.modified.is_none()) {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.by_url.insert(url.to_owned(), validator).is_none() {
            inner.order.push_back(url.to_owned());
        }
        while inner.order.len() > self.limit {
            if let Some(oldest) = inner.order.pop_front() {
                inner.by_url.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_many_as_allowed_are_kept() {
        let validators = Validators::new(2);
        let validator = |etag: bool| Validator {
            etag: etag.then(|| HeaderValue::from_static("\"1\"")),
            modified: None,
            key: PhotoKey::of_bytes(b"x"),
            file_bytes: 1,
        };
        for url in ["a", "b", "b", "c"] {
            validators.put(url, validator(true));
        }
        validators.put("d", validator(false));
        let kept: Vec<_> = ["a", "b", "c", "d"].into_iter().filter(|u| validators.get(u).is_some()).collect();
        assert_eq!(kept, ["b", "c"]);
    }
}
