//! Accounts and what they own, as rows.

use records::{AccountId, ContentHash, PhotoId, PhotoKey, ProfileFacts, Timestamp};

use crate::codec::{Dec, Enc, Malformed, Row};

/// What the events seen so far say of an account. The same set of events gives the same value in any order:
///
/// - The *base* is the replacing or deleting event with the greatest `(observed_at, content_hash)`. One that arrives
///   again is applied again and only adds (a replayed dead letter brings the photos that were missing).
/// - Events that add (`faces` rows) count if they are strictly later than the base, and are superseded otherwise.
/// - The facts are those of the latest counting event that has any; among adding events of one time, those with the
///   larger SHA-256.
/// - `first_seen` and `last_seen` span all events seen except deletions, superseded ones included.
/// - The account is deleted if its base is a deletion and no adding event is later.
#[derive(Clone, PartialEq, Debug)]
pub struct Account {
    /// The profile; default where no counting event has one.
    pub facts: ProfileFacts,
    /// Earliest observation.
    pub first_seen: Timestamp,
    /// Latest observation.
    pub last_seen: Timestamp,
    /// Time and hash of the base, if a replacing or deleting event was seen.
    pub base: Option<(Timestamp, ContentHash)>,
    /// Whether the account counts as deleted. Its row stays, so that older events do not bring it back.
    pub deleted: bool,
}

/// A photo an account shows now.
///
/// An account's photos are those of its base and of every later adding event. Where several of these name one
/// `photo_id`, the latest counts, then the larger photo key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ownership {
    /// The account.
    pub account: AccountId,
    /// The account's name for the photo.
    pub photo_id: PhotoId,
    /// The distinct picture.
    pub photo: PhotoKey,
    /// The earliest of all events seen, superseded ones included, that name this picture as this photo of the account.
    pub first_observed: Timestamp,
    /// The latest of them.
    pub last_observed: Timestamp,
}

/// The replacing or deleting event that counts. Ordered by time, then hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Base {
    pub at: i64,
    pub hash: ContentHash,
    pub deleted: bool,
}

/// Facts and the version they have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VersionedFacts {
    pub at: i64,
    pub hash: ContentHash,
    pub facts: ProfileFacts,
}

/// The stored form of [`Account`]. Times in microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AccountRow {
    pub base: Option<Base>,
    pub facts: Option<VersionedFacts>,
    /// Earliest and latest event that is no deletion.
    pub seen: Option<(i64, i64)>,
    /// Latest adding event.
    pub added_at: Option<i64>,
}

impl AccountRow {
    pub fn deleted(&self) -> bool {
        self.base.is_some_and(|base| base.deleted && self.added_at.is_none_or(|added| added <= base.at))
    }

    pub fn into_account(self) -> Result<Account, Malformed> {
        let deleted = self.deleted();
        let time = |micros| Timestamp::from_micros(micros).map_err(|_| Malformed("a time is out of range"));
        let (first, last) = self
            .seen
            .or(self.base.map(|base| (base.at, base.at)))
            .ok_or(Malformed("it stands for no event at all"))?;
        Ok(Account {
            facts: self.facts.map(|versioned| versioned.facts).unwrap_or_default(),
            first_seen: time(first)?,
            last_seen: time(last)?,
            base: self.base.map(|base| Ok((time(base.at)?, base.hash))).transpose()?,
            deleted,
        })
    }
}

impl Row for AccountRow {
    const KEYSPACE: &'static str = "accounts";

    fn encode(&self, to: &mut Enc) {
        to.opt(self.base, |to, base| {
            to.i64(base.at);
            to.fixed(&base.hash);
            to.bool(base.deleted);
        });
        to.opt(self.facts.as_ref(), |to, versioned| {
            to.i64(versioned.at);
            to.fixed(&versioned.hash);
            encode_facts(&versioned.facts, to);
        });
        to.opt(self.seen, |to, (first, last)| {
            to.i64(first);
            to.i64(last);
        });
        to.opt(self.added_at, Enc::i64);
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            base: from.opt(|f| Ok(Base { at: f.i64()?, hash: f.fixed()?, deleted: f.bool()? }))?,
            facts: from
                .opt(|f| Ok(VersionedFacts { at: f.i64()?, hash: f.fixed()?, facts: decode_facts(f)? }))?,
            seen: from.opt(|f| Ok((f.i64()?, f.i64()?)))?,
            added_at: from.opt(Dec::i64)?,
        })
    }
}

/// Feeds the facts; also the form whose hash orders facts of one time.
pub(crate) fn encode_facts(facts: &ProfileFacts, to: &mut Enc) {
    to.opt(facts.username.as_deref(), Enc::text);
    to.opt(facts.full_name.as_deref(), Enc::text);
    to.opt(facts.followers, Enc::i64);
    to.opt(facts.following, Enc::i64);
    to.opt(facts.posts, Enc::i64);
    to.opt(facts.created_at.map(Timestamp::as_micros), Enc::i64);
    to.opt(facts.verified, Enc::bool);
}

fn decode_facts(from: &mut Dec<'_>) -> Result<ProfileFacts, Malformed> {
    Ok(ProfileFacts {
        username: from.opt(|f| f.text().map(str::to_owned))?,
        full_name: from.opt(|f| f.text().map(str::to_owned))?,
        followers: from.opt(Dec::i64)?,
        following: from.opt(Dec::i64)?,
        posts: from.opt(Dec::i64)?,
        created_at: from.opt(decode_time)?,
        verified: from.opt(Dec::bool)?,
    })
}

/// Reads a time within the range of [`Timestamp`].
pub(crate) fn decode_time(from: &mut Dec<'_>) -> Result<Timestamp, Malformed> {
    Timestamp::from_micros(from.i64()?).map_err(|_| Malformed("a time is out of range"))
}

/// The stored form of [`Ownership`]; the ids stand in the key. Rows of photos that the account does not show any more
/// stay, since a later event may bring them back and their first observation must not depend on the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OwnershipRow {
    pub first: i64,
    pub last: i64,
    /// The time of the latest counting event that names it; `None` if the account does not show it now.
    pub current: Option<i64>,
}

impl OwnershipRow {
    pub fn into_ownership(
        self,
        (account, photo_id, photo): (AccountId, PhotoId, PhotoKey),
    ) -> Result<Ownership, crate::StoreError> {
        let time = |micros| {
            Timestamp::from_micros(micros).map_err(|_| crate::StoreError::Malformed {
                keyspace: Self::KEYSPACE,
                what: "a time is out of range",
            })
        };
        Ok(Ownership {
            account,
            photo_id,
            photo,
            first_observed: time(self.first)?,
            last_observed: time(self.last)?,
        })
    }
}

impl Row for OwnershipRow {
    const KEYSPACE: &'static str = "ownerships";

    fn encode(&self, to: &mut Enc) {
        to.i64(self.first);
        to.i64(self.last);
        to.opt(self.current, Enc::i64);
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Self { first: from.i64()?, last: from.i64()?, current: from.opt(Dec::i64)? })
    }
}
