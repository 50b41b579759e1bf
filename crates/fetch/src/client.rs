//! One picture from one URL: guarded, limited, repeated where that may help.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use records::{DeadLetterReason as Reason, PhotoKey, PhotoUrl};
use reqwest::header::{self, HeaderMap};
use reqwest::{Response, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::buckets::Buckets;
use crate::dns::Resolver;
use crate::etag::{Validator, Validators};
use crate::hosts::{Host, Hosts};
use crate::{Failure, FetchConfig, FetchError, Guard, KnownPhotos, Refused, Rule, rule};

/// What a URL gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file, and its SHA-256.
    File {
        /// The bytes, after a transport compression was undone.
        bytes: Bytes,
        /// Their key.
        key: PhotoKey,
    },
    /// The host says that it is the picture it was before, and the state still knows that one.
    Unchanged {
        /// The picture.
        key: PhotoKey,
        /// Its size in bytes, as fetched before.
        file_bytes: u64,
    },
}

/// Fetches pictures.
pub struct Client {
    /// For strangers' URLs: connects to permitted addresses only.
    http: reqwest::Client,
    /// For the operator's own buckets, wherever they lie.
    trusted: reqwest::Client,
    buckets: Buckets,
    config: FetchConfig,
    guard: Guard,
    hosts: Hosts,
    slots: Semaphore,
    validators: Validators,
}

/// A failed attempt.
struct Attempt {
    failure: Failure,
    rule: Rule,
    /// How long the host asked to wait.
    retry_after: Option<Duration>,
    /// The host that failed, the last one of several redirects.
    host: Option<Arc<Host>>,
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self { rule: rule(failure.reason), failure, retry_after: None, host: None }
    }
}

impl Client {
    /// Makes a client. Proxies from environment variables are not used: behind one the guard could not see addresses.
    ///
    /// # Errors
    /// [`FetchError::Setup`] if TLS cannot be set up or a setting is invalid.
    pub fn new(config: &FetchConfig) -> Result<Self, FetchError> {
        let setup = |detail: String| FetchError::Setup { detail };
        let allowed = config.danger_allow_networks.iter().map(|n| n.parse()).collect::<Result<_, _>>();
        let guard = Guard::new(allowed.map_err(|e: crate::NetworkError| setup(e.to_string()))?);
        let builder = || {
            reqwest::Client::builder()
                .user_agent(&config.user_agent)
                .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
                .timeout(Duration::from_millis(config.timeout_ms))
                .pool_max_idle_per_host(config.per_host)
                .redirect(reqwest::redirect::Policy::none())
        };
        let http = builder()
            .dns_resolver(Resolver::new(guard.clone(), Duration::from_millis(config.dns_keep_ms)))
            .no_proxy()
            .build()
            .map_err(|e| setup(explain(&e)))?;
        Ok(Self {
            http,
            trusted: builder().build().map_err(|e| setup(explain(&e)))?,
            buckets: Buckets::new(config).map_err(setup)?,
            guard,
            hosts: Hosts::new(config),
            slots: Semaphore::new(config.concurrency.max(1)),
            validators: Validators::new(config.etag_entries),
            config: config.clone(),
        })
    }

    /// Fetches a picture; repeats what may succeed later.
    ///
    /// # Errors
    /// [`Failure`] with the reason for a dead letter.
    pub async fn get(&self, url: &PhotoUrl, known: &dyn KnownPhotos) -> Result<Fetched, Failure> {
        let parsed = Url::parse(url.expose().trim())
            .map_err(|e| Failure::new(Reason::UrlRefused, format!("{url} is no URL: {e}")))?;
        if parsed.scheme() == "file" {
            return self.read_file(url, &parsed).await;
        }
        let mut repeated = 0;
        loop {
            let bucket = parsed.scheme() == "s3";
            let target = if bucket { self.buckets.signed(&parsed) } else { Some(parsed.clone()) };
            let target = target.ok_or_else(|| {
                let detail = format!("{url} lies in no bucket of allow_s3_buckets");
                Failure::new(Reason::UrlRefused, detail)
            })?;
            let Attempt { mut failure, rule, retry_after, host } =
                match self.attempt(url, &parsed, target, bucket, known).await {
                    Ok(fetched) => return Ok(fetched),
                    Err(attempt) => attempt,
                };
            let longest = Duration::from_millis(self.config.backoff_max_ms);
            let too_long = retry_after.filter(|wait| *wait > longest);
            if let Some(wait) = too_long {
                failure.detail = format!("{} and asks to wait for {} s", failure.detail, wait.as_secs());
            }
            if rule == Rule::DeadLetter {
                return Err(failure);
            }
            let suspect = host.is_some_and(|host| host.is_suspect());
            if too_long.is_some() || suspect || repeated >= self.config.retries {
                return Err(failure);
            }
            metrics::counter!("facering_fetch_retries_total", "reason" => failure.reason.as_str())
                .increment(1);
            tokio::time::sleep(retry_after.unwrap_or_default().max(self.backoff(repeated))).await;
            repeated += 1;
        }
    }

    /// The host of a URL, if it answered before and so was reachable from here.
    pub(crate) fn answered_before(&self, url: &PhotoUrl) -> Option<String> {
        let name = host_name(&Url::parse(url.expose().trim()).ok()?);
        self.hosts.get(&name).has_answered().then_some(name)
    }

    /// Doubled with every repetition; a random part keeps many requests from coming back all at once.
    fn backoff(&self, repeated: u32) -> Duration {
        let doubled =
            self.config.backoff_ms.saturating_mul(1 << repeated.min(20)).min(self.config.backoff_max_ms);
        Duration::from_millis(doubled).mul_f64(rand::random_range(0.5..1.0))
    }

    /// One request with its redirects. What is trusted goes to an address that the operator named; where it redirects to
    /// is a stranger's again.
    async fn attempt(
        &self,
        named: &PhotoUrl,
        first: &Url,
        mut url: Url,
        mut trusted: bool,
        known: &dyn KnownPhotos,
    ) -> Result<Fetched, Attempt> {
        let validator = self.validators.get(first.as_str()).filter(|v| known.knows(&v.key));
        for _ in 0..=self.config.max_redirects {
            if !trusted {
                self.guard.check(&url).map_err(|e| refused(named, &e))?;
            }
            let name = host_name(&url);
            let host = self.hosts.get(&name);
            // A host that is left alone is not to be waited for.
            let alone = |failure| Attempt { rule: Rule::DeadLetter, ..Attempt::from(failure) };
            let _turn = self.hosts.turn(&host, &name).await.map_err(alone)?;
            let _slot = self.slots.acquire().await.map_err(|_| closed(named))?;
            let began = Instant::now();
            let http = if trusted { &self.trusted } else { &self.http };
            let answer = self.ask(http, named, &url, validator.as_ref()).await.map_err(|failed| {
                let longest = Duration::from_millis(self.config.backoff_max_ms);
                match failed.rule {
                    Rule::Retry => {
                        if let Some(wait) = failed.retry_after.filter(|wait| *wait <= longest) {
                            host.hold(wait);
                        }
                        self.hosts.failed(&host, began, failed.failure.reason);
                    }
                    Rule::DeadLetter => host.answered(),
                }
                Attempt { host: Some(Arc::clone(&host)), ..failed }
            })?;
            host.answered();
            match answer {
                Answer::Redirect(next) => (url, trusted) = (next, false),
                Answer::Unchanged => {
                    return match validator {
                        Some(v) => Ok(Fetched::Unchanged { key: v.key, file_bytes: v.file_bytes }),
                        None => Err(unexpected(named, StatusCode::NOT_MODIFIED).into()),
                    };
                }
                Answer::File(bytes, headers) => {
                    let key = PhotoKey::of_bytes(&bytes);
                    let validator = Validator {
                        etag: headers.get(header::ETAG).cloned(),
                        modified: headers.get(header::LAST_MODIFIED).cloned(),
                        key,
                        file_bytes: bytes.len() as u64,
                    };
                    self.validators.put(first.as_str(), validator);
                    return Ok(Fetched::File { bytes, key });
                }
            }
        }
        let detail = format!("{named} redirects more than {} times", self.config.max_redirects);
        Err(Failure::new(Reason::TooManyRedirects, detail).into())
    }

    /// One request without its redirects.
    async fn ask(
        &self,
        http: &reqwest::Client,
        named: &PhotoUrl,
        url: &Url,
        validator: Option<&Validator>,
    ) -> Result<Answer, Attempt> {
        let mut request = http.get(url.clone()).header(header::ACCEPT, "image/*,*/*;q=0.5");
        if let Some(validator) = validator {
            if let Some(etag) = &validator.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(modified) = &validator.modified {
                request = request.header(header::IF_MODIFIED_SINCE, modified);
            }
        }
        let response = request.send().await.map_err(|e| self.broken(named, e))?;
        match response.status() {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                let headers = response.headers().clone();
                Ok(Answer::File(self.body(named, response).await?, headers))
            }
            StatusCode::NOT_MODIFIED => Ok(Answer::Unchanged),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => redirect(named, url, &response),
            status => Err(judge(named, status, response.headers())),
        }
    }

    async fn body(&self, named: &PhotoUrl, mut response: Response) -> Result<Bytes, Attempt> {
        let limit = self.config.max_bytes;
        let too_large = || {
            let detail = format!("{named} is larger than {limit} bytes");
            Attempt::from(Failure::new(Reason::TooLarge, detail))
        };
        // Only a promise, and of the compressed size; what really comes is counted below.
        let promised = response.content_length().unwrap_or(0);
        if promised > limit {
            return Err(too_large());
        }
        let mut body = BytesMut::with_capacity(usize::try_from(promised.min(1 << 20)).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(named, e))? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        metrics::counter!("facering_fetch_bytes_total").increment(body.len() as u64);
        Ok(body.freeze())
    }

    /// What an error of the transport means.
    fn broken(&self, named: &PhotoUrl, error: reqwest::Error) -> Attempt {
        // Its URL holds the query.
        let error = error.without_url();
        if let Some(refused_by_guard) = cause::<Refused>(&error) {
            return refused(named, refused_by_guard).into();
        }
        let (reason, detail) = if error.is_timeout() {
            let waited =
                if error.is_connect() { self.config.connect_timeout_ms } else { self.config.timeout_ms };
            (Reason::Timeout, format!("{named} gave no whole answer within {waited} ms"))
        } else if error.is_decode() && is_garbled(&error) {
            (Reason::CorruptImage, format!("{named} came with a broken transport compression"))
        } else if error.is_builder() {
            (Reason::UrlRefused, format!("{named} cannot be asked for: {}", explain(&error)))
        } else if error.is_body() || error.is_decode() {
            (Reason::Unreachable, format!("{named} broke off: {}", explain(&error)))
        } else {
            (Reason::Unreachable, format!("{named} cannot be reached: {}", explain(&error)))
        };
        Failure::new(reason, detail).into()
    }

    /// A `file:` URL below one of the configured folders.
    async fn read_file(&self, named: &PhotoUrl, url: &Url) -> Result<Fetched, Failure> {
        let refused =
            || Failure::new(Reason::UrlRefused, format!("{named} lies in no folder of allow_file_roots"));
        let path = url.to_file_path().map_err(|()| refused())?;
        let roots = self.config.allow_file_roots.clone();
        let limit = self.config.max_bytes;
        let read = tokio::task::spawn_blocking(move || {
            // Links are followed first, so that none leads out of the folders.
            let real = path.canonicalize()?;
            if !roots.iter().filter_map(|root| root.canonicalize().ok()).any(|root| real.starts_with(root)) {
                return Ok(None);
            }
            let file = std::fs::File::open(real)?;
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(file, limit + 1), &mut bytes)?;
            std::io::Result::Ok(Some(bytes))
        });
        match read.await {
            Ok(Ok(Some(bytes))) if bytes.len() as u64 > limit => {
                Err(Failure::new(Reason::TooLarge, format!("{named} is larger than {limit} bytes")))
            }
            Ok(Ok(Some(bytes))) => {
                let key = PhotoKey::of_bytes(&bytes);
                Ok(Fetched::File { bytes: bytes.into(), key })
            }
            // Without roots nobody learns whether a file is there.
            Ok(Err(e))
                if e.kind() == std::io::ErrorKind::NotFound && !self.config.allow_file_roots.is_empty() =>
            {
                Err(Failure::new(Reason::NotFound, format!("{named} does not exist")))
            }
            Ok(Err(e)) if !self.config.allow_file_roots.is_empty() => {
                Err(Failure::new(Reason::Denied, format!("{named} cannot be read: {e}")))
            }
            _ => Err(refused()),
        }
    }
}

/// What a host said, if it was no failure.
enum Answer {
    File(Bytes, HeaderMap),
    Redirect(Url),
    Unchanged,
}

fn closed(named: &PhotoUrl) -> Failure {
    Failure::new(Reason::Unreachable, format!("{named}: shutting down"))
}

fn refused(named: &PhotoUrl, refused: &Refused) -> Failure {
    let reason = match refused {
        Refused::Address { .. } => Reason::AddressRefused,
        Refused::Scheme(_) | Refused::NoHost => Reason::UrlRefused,
    };
    Failure::new(reason, format!("{named}: {refused}"))
}

fn unexpected(named: &PhotoUrl, status: StatusCode) -> Failure {
    Failure::new(Reason::UnexpectedStatus, format!("{named} answered {}", status.as_u16()))
}

fn redirect(named: &PhotoUrl, from: &Url, response: &Response) -> Result<Answer, Attempt> {
    let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    match to.and_then(|to| from.join(to).ok()) {
        Some(next) => Ok(Answer::Redirect(next)),
        // The host is broken in a way that the next attempt would meet again.
        None => {
            let detail = format!("{named} redirects to nowhere");
            Err(Failure::new(Reason::UrlRefused, detail).into())
        }
    }
}

/// What a status that is no success means.
fn judge(named: &PhotoUrl, status: StatusCode, headers: &HeaderMap) -> Attempt {
    let says = |reason, what: &str| Failure::new(reason, format!("{named} {what} ({})", status.as_u16()));
    let failure = match status.as_u16() {
        404 | 410 => says(Reason::NotFound, "does not exist"),
        401 | 403 | 407 | 451 => says(Reason::Denied, "is not given out"),
        408 | 425 | 429 | 503 => says(Reason::Throttled, "is held back by its host"),
        413 => says(Reason::TooLarge, "is too large for its host"),
        _ => unexpected(named, status),
    };
    // A host that understood and said something else than a picture would say it again.
    let rule = match failure.reason {
        Reason::UnexpectedStatus if !status.is_server_error() => Rule::DeadLetter,
        reason => rule(reason),
    };
    let retry_after = headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(retry_after);
    Attempt { failure, rule, retry_after, host: None }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    let wait = until.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// The host with its port, the unit of manners.
fn host_name(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// The first cause of that type.
fn cause<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error names the cause of what it wraps as its own, and so leaves out what it wraps.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped as &dyn std::error::Error));
    }
    None
}

/// Whether a body came whole but could not be decompressed. Every fault of a body is called one of decoding, also when
/// the connection broke off or its framing was broken, which the transport says.
fn is_garbled(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    cause::<hyper::Error>(error).is_none()
        && cause::<std::io::Error>(error).is_some_and(|e| matches!(e.kind(), InvalidData | InvalidInput))
}

/// The deepest cause: the outer ones only repeat that something failed.
pub(crate) fn explain(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100);
        let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let wait = retry_after(&date).unwrap().as_secs();
        assert!((95..=100).contains(&wait), "{wait}");
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-5"), None);
    }

    #[test]
    fn statuses_have_their_reasons() {
        let url = PhotoUrl::new("https://h.example/x?secret=1");
        let judged =
            |status: u16| judge(&url, StatusCode::from_u16(status).unwrap(), &HeaderMap::new()).failure;
        for (status, reason) in [
            (404, Reason::NotFound),
            (410, Reason::NotFound),
            (403, Reason::Denied),
            (451, Reason::Denied),
            (429, Reason::Throttled),
            (503, Reason::Throttled),
            (500, Reason::UnexpectedStatus),
            (502, Reason::UnexpectedStatus),
            (418, Reason::UnexpectedStatus),
            (206, Reason::UnexpectedStatus),
        ] {
            assert_eq!(judged(status).reason, reason, "{status}");
            assert!(!judged(status).detail.contains("secret"));
        }
    }
}
