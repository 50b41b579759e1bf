//! Names to addresses: guarded, and remembered for a while.
//!
//! Invariants:
//! - Only permitted addresses are given out, so that nothing else can be connected to, whatever a host's DNS says the next
//!   time. They are judged once, when the answer comes, and the judged answer is what is remembered.
//! - A failed look-up is not remembered.
//! - A name is looked up once, however many connections wait for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::{Guard, Refused};

/// Names remembered at most.
const REMEMBERED: usize = 10_000;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Addresses = Arc<OnceCell<Arc<[SocketAddr]>>>;

/// The resolver of all connections.
#[derive(Clone)]
pub(crate) struct Resolver {
    guard: Guard,
    keep: Duration,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

struct Known {
    until: Instant,
    addresses: Addresses,
}

impl Resolver {
    /// Remembers answers for `keep`; zero looks up for every connection.
    pub(crate) fn new(guard: Guard, keep: Duration) -> Self {
        Self { guard, keep, known: Arc::default() }
    }

    fn slot(&self, name: &str) -> Addresses {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(name).filter(|entry| entry.until > now) {
            return Arc::clone(&entry.addresses);
        }
        if known.len() >= REMEMBERED {
            known.retain(|_, entry| entry.until > now);
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        let addresses = Addresses::default();
        let entry = Known { until: now + self.keep, addresses: Arc::clone(&addresses) };
        known.insert(name.to_owned(), entry);
        addresses
    }

    pub(crate) async fn addresses(&self, name: &str) -> Result<Arc<[SocketAddr]>, Error> {
        let slot = self.slot(name);
        slot.get_or_try_init(|| self.look_up(name)).await.cloned()
    }

    async fn look_up(&self, name: &str) -> Result<Arc<[SocketAddr]>, Error> {
        metrics::counter!("facering_fetch_dns_lookups_total").increment(1);
        // Port 0 is replaced by the URL's own.
        let found: Vec<_> = tokio::net::lookup_host((name, 0)).await?.collect();
        let permitted: Arc<[SocketAddr]> =
            found.iter().copied().filter(|address| self.guard.permits(address.ip())).collect();
        if found.is_empty() {
            return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
        }
        if permitted.is_empty() {
            return Err(Refused::Address { host: name.to_owned() }.into());
        }
        Ok(permitted)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            let found: Vec<_> = addresses.iter().copied().collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(allowed: &[&str], keep_ms: u64) -> Resolver {
        let guard = Guard::new(allowed.iter().map(|network| network.parse().unwrap()).collect());
        Resolver::new(guard, Duration::from_millis(keep_ms))
    }

    #[tokio::test]
    async fn names_that_lead_to_loopback_are_refused_unless_allowed() {
        let refused = resolver(&[], 1000).addresses("localhost").await.unwrap_err();
        assert!(refused.downcast_ref::<Refused>().is_some());
        let allowed = resolver(&["127.0.0.0/8", "::1/128"], 1000).addresses("localhost").await.unwrap();
        assert!(!allowed.is_empty());
    }

    #[tokio::test]
    async fn an_answer_is_remembered_for_a_while_and_a_failure_is_not() {
        let resolver = resolver(&["127.0.0.0/8", "::1/128"], 150);
        let first = resolver.addresses("localhost").await.unwrap();
        let again = resolver.addresses("localhost").await.unwrap();
        assert!(Arc::ptr_eq(&first, &again), "it was looked up again");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let later = resolver.addresses("localhost").await.unwrap();
        assert!(!Arc::ptr_eq(&first, &later), "it was remembered for too long");

        assert!(resolver.addresses("no-such-host.invalid").await.is_err());
        let slot = resolver.slot("no-such-host.invalid");
        assert!(slot.get().is_none(), "a failure was remembered");
    }

    #[tokio::test]
    async fn many_who_wait_for_one_name_look_it_up_once() {
        let resolver = resolver(&["127.0.0.0/8", "::1/128"], 60_000);
        let all = futures::future::join_all((0..50).map(|_| resolver.addresses("localhost"))).await;
        let first = all[0].as_ref().unwrap();
        assert!(all.iter().all(|found| Arc::ptr_eq(first, found.as_ref().unwrap())));
    }

    #[tokio::test]
    async fn a_flood_of_names_does_not_grow_without_bound() {
        let resolver = resolver(&[], 60_000);
        (0..3 * REMEMBERED).for_each(|n| drop(resolver.slot(&n.to_string())));
        assert!(resolver.known.lock().unwrap().len() <= REMEMBERED);
    }
}
