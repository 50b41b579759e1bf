//! Decisions of analysts: a log of its own, kept by the same one commit as everything else.

use std::collections::BTreeSet;

use records::{AccountId, Decision, DecisionId, Deed, PhotoKey, Standing, Timestamp};

use crate::codec::{Dec, Enc, Malformed, Row};
use crate::commit::Committer;
use crate::writes::Writes;
use crate::{Reader, StoreError, keys};

/// The stored form: JSON, since decisions are few and what they say will grow.
struct DecisionRow(Decision);

impl Row for DecisionRow {
    const KEYSPACE: &'static str = "decisions";

    fn encode(&self, to: &mut Enc) {
        // Texts, numbers and lists: this cannot fail.
        to.text(&serde_json::to_string(&self.0).unwrap_or_default());
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        let decision = serde_json::from_str(from.text()?);
        decision.map(Self).map_err(|_| Malformed("it is no decision this version knows"))
    }
}

impl Reader {
    /// Every decision, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn decisions(&self) -> Result<Vec<Decision>, StoreError> {
        self.scan(&self.keyspaces.decisions).map(|row| Ok(DecisionRow::from_bytes(&row?.1)?.0)).collect()
    }
}

impl Committer {
    /// Adds a decision to the log, in a commit of its own.
    ///
    /// # Errors
    /// [`StoreError::Decision`] if it cannot be taken: it contradicts itself, or undoes what is not there or undone
    /// already. Nothing was committed then. Otherwise as [`Committer::commit`].
    pub fn decide(&mut self, author: &str, at: Timestamp, deed: Deed) -> Result<Decision, StoreError> {
        let engine = self.engine.clone();
        let mut writes = Writes::new(&engine);
        let log = writes.before.decisions()?;
        let refused = |why: String| Err(StoreError::Decision { why });
        if let Some(why) = deed.problem() {
            return refused(why);
        }
        if let Deed::Undo { decision: earlier, .. } = &deed {
            let known = log.iter().any(|known| known.id == *earlier && known.deed != Deed::Erased);
            if !known {
                return refused(format!("there is no decision {earlier}"));
            }
            if let Some(by) = Standing::of(&log).undone_by(*earlier) {
                return refused(format!("decision {earlier} was undone already, by decision {by}"));
            }
        }
        let id = DecisionId(log.last().map_or(1, |last| last.id.0 + 1));
        let decision = Decision { id, author: author.to_owned(), at, deed };
        let row = DecisionRow(decision.clone()).to_bytes();
        writes.put(&engine.keyspaces.decisions, id.0.to_be_bytes(), row);
        self.write(writes)?;
        Ok(decision)
    }

    /// Takes over the log of another state of the same accounts, in a commit of its own. A decision that both have is
    /// written once more as it stands there.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub fn adopt_decisions(&mut self, log: &[Decision]) -> Result<(), StoreError> {
        let engine = self.engine.clone();
        let mut writes = Writes::new(&engine);
        for decision in log {
            let row = DecisionRow(decision.clone()).to_bytes();
            writes.put(&engine.keyspaces.decisions, decision.id.0.to_be_bytes(), row);
        }
        if log.is_empty() { Ok(()) } else { self.write(writes).map(drop) }
    }
}

/// Takes an account, and pictures that go with it, out of the log. What only spoke of it stays as an empty place, so
/// that numbers are never given twice. Returns how many decisions changed.
pub(crate) fn erase(
    writes: &mut Writes<'_>,
    account: &AccountId,
    pictures: &BTreeSet<PhotoKey>,
) -> Result<u64, StoreError> {
    let keyspace = writes.before.keyspaces.decisions.clone();
    let mut changed = 0;
    for decision in writes.before.decisions()? {
        if let Some(deed) = decision.deed.without(account, pictures) {
            let key = decision.id.0.to_be_bytes();
            writes.put(&keyspace, key, DecisionRow(Decision { deed, ..decision }).to_bytes());
            changed += 1;
        }
    }
    Ok(changed)
}

/// Whether this keyspace may lack the number of the last commit: a state written before there were decisions has none.
pub(crate) fn may_be_new(name: &str, reader: &Reader) -> Result<bool, StoreError> {
    let keyspace = &reader.keyspaces.decisions;
    Ok(name == DecisionRow::KEYSPACE
        && reader.get(keyspace, keys::STAMP)?.is_none()
        && reader.scan(keyspace).next().is_none())
}
