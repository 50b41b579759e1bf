//! Erasing accounts everywhere, on request or by age, and saying so under signature.
//!
//! Invariants:
//! - State and index first; then a snapshot without the accounts is written, so that clusters keep their ids; then every
//!   snapshot that names one of them goes, and the report beside them.
//! - Nothing of an erased account is logged but how many there were.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use records::{AccountId, Timestamp};
use serde_json::{Value, json};
use store::Forgotten;

use crate::answers::Owner;
use crate::pipeline::Order;
use crate::receipts::{self, Signed};
use crate::{clock, erase};

/// Accounts erased by age in one go; more follow in the next, so that no commit waits long.
const AT_ONCE: usize = 5000;
/// How often it is looked for accounts that are too old.
const LOOK: Duration = Duration::from_secs(600);
const DAY: i64 = 86_400_000_000;

/// What an erasure did, and the receipt.
pub struct Erased {
    /// What went from the state.
    pub counts: Forgotten,
    /// Snapshots that went.
    pub snapshots: usize,
    /// The receipt.
    pub signed: Signed,
}

impl Owner {
    /// Erases an account everywhere; `None` if nobody here knows it.
    pub fn forget(&self, account: &AccountId) -> anyhow::Result<Option<Erased>> {
        let here = self.forget_here(account)?;
        let elsewhere = self.forget_elsewhere(account)?;
        Ok(match (here, elsewhere.into_iter().next()) {
            (Some(erased), _) => Some(erased),
            (None, Some(answer)) => Some(Erased {
                counts: Forgotten::default(),
                snapshots: 0,
                signed: serde_json::from_value(answer).context("the receipt of another state is none")?,
            }),
            (None, None) => None,
        })
    }

    /// Erases an account from this state and its output; `None` if they do not know it.
    pub fn forget_here(&self, account: &AccountId) -> anyhow::Result<Option<Erased>> {
        if !self.anything_of(account)? {
            return Ok(None);
        }
        let list = vec![account.clone()];
        let counts = self.forget_in_state(list.clone())?.into_iter().next().unwrap_or_default();
        let snapshots = self.forget_in_output(&list)?;
        let receipt = json!({
            "what": "facering erased this account",
            "account": account,
            "at": clock::now(),
            "pictures_erased": counts.photos,
            "pictures_of_others_kept": counts.photos_kept,
            "faces_erased": counts.faces,
            "links_erased": counts.links,
            "dead_letters_erased": counts.dead_letters,
            "decisions_cleared": counts.decisions,
            "snapshots_removed": snapshots,
            "commit": counts.commit,
            "facering": env!("CARGO_PKG_VERSION"),
        });
        let signed = receipts::sign(&self.receipt_key_file(), receipt.to_string())?;
        Ok(Some(Erased { counts, snapshots, signed }))
    }

    /// Whether anything here names the account; erasing rewrites files, which nobody should cause with a made-up id.
    fn anything_of(&self, account: &AccountId) -> anyhow::Result<bool> {
        let reader = self.reader();
        let nowhere = BTreeSet::new();
        if erase::unfinished(self.state_path())
            || reader.account(account)?.is_some()
            || reader.decisions()?.iter().any(|decision| decision.deed.without(account, &nowhere).is_some())
            || !erase::snapshots_naming(self.output(), std::slice::from_ref(account))?.is_empty()
        {
            return Ok(true);
        }
        let key = Some(account.as_str().as_bytes());
        for stored in reader.dead_letters(0) {
            let letter = stored?.letter;
            if letter.account.as_ref() == Some(account) || letter.origin.key.as_deref() == key {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn forget_in_state(&self, accounts: Vec<AccountId>) -> anyhow::Result<Vec<Forgotten>> {
        let ordered = accounts.clone();
        self.at_desk(|desk| desk.forget(&accounts), |answer| Order::Forget(ordered, answer))
    }

    /// Takes accounts out of what was written: returns how many snapshots went.
    fn forget_in_output(&self, accounts: &[AccountId]) -> anyhow::Result<usize> {
        let output = self.output();
        let naming = erase::snapshots_naming(output, accounts)?;
        if naming.is_empty() {
            return Ok(0);
        }
        erase::remove_report(output)?;
        // Made from the state without them, while the earlier ones still tell what each cluster was called.
        self.write_snapshot()
            .context("the accounts are erased from the state, but no snapshot without them can be written")?;
        erase::remove_snapshots(output, &naming)
    }

    /// The answer on the control socket.
    pub fn forget_and_tell(
        &self,
        account: &str,
        forget: impl FnOnce(&Self, &AccountId) -> anyhow::Result<Option<Erased>>,
    ) -> anyhow::Result<Value> {
        let account = AccountId::new(account)?;
        Ok(match forget(self, &account)? {
            None => json!({"known": false}),
            Some(erased) => {
                let mut answer = serde_json::to_value(&erased.signed)?;
                answer["known"] = json!(true);
                answer["snapshots_removed"] = json!(erased.snapshots);
                answer
            }
        })
    }

    /// Erases accounts that were last observed more than this many days ago, and dead letters as old. Returns how many
    /// accounts went.
    pub fn forget_older_than(&self, days: u32) -> anyhow::Result<usize> {
        let now = clock::now().as_micros();
        let Ok(limit) = Timestamp::from_micros(now - i64::from(days) * DAY) else { return Ok(0) };
        let reader = self.reader();
        let letters = reader.dead_letters(0).filter_map(|row| match row {
            Ok(stored) if stored.letter.observed_at.is_some_and(|at| at < limit) => Some(Ok(stored.sequence)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let letters: Vec<u64> = letters.collect::<Result<_, _>>()?;
        let old = reader.accounts().filter_map(|row| match row {
            Ok((id, account)) if account.last_seen < limit => Some(Ok(id)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let old: Vec<AccountId> = old.take(AT_ONCE).collect::<Result<_, _>>()?;
        // A reader keeps what it can see alive on disk.
        drop(reader);
        if !letters.is_empty() {
            self.at_desk(
                |desk| desk.drop_letters(&letters),
                |answer| Order::DropLetters(letters.clone(), answer),
            )?;
        }
        if old.is_empty() {
            return Ok(0);
        }
        let count = old.len();
        self.forget_in_state(old.clone())?;
        self.forget_in_output(&old)?;
        tracing::info!(accounts = count, "erased by age, as privacy.retain_days asks");
        Ok(count)
    }

    /// The same until none is left.
    pub fn forget_all_older_than(&self, days: u32) -> anyhow::Result<usize> {
        let mut erased = 0;
        loop {
            let some = self.forget_older_than(days)?;
            erased += some;
            if some < AT_ONCE {
                return Ok(erased);
            }
        }
    }
}

/// Erases by age as long as the pipeline runs.
pub async fn by_age(owner: std::sync::Arc<Owner>, days: u32) {
    loop {
        let owner = std::sync::Arc::clone(&owner);
        let erased = tokio::task::spawn_blocking(move || {
            owner.forget_all_older_than(days)?;
            owner.retain_elsewhere(days)
        });
        match erased.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!("accounts were not erased by age: {error:#}"),
            Err(error) => tracing::error!("accounts were not erased by age: {error}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
