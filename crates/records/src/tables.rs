//! The rows of the output tables, as `docs/tables.md` fixes them. `clusters` writes them as Parquet, `report` reads them.

use serde::{Deserialize, Serialize};

use sha2::{Digest, Sha256};

use crate::{AccountId, EvidenceKey, PhotoId, PhotoKey, ProfileFacts, Timestamp};

/// Version of the tables' schema, written into each file's metadata as `facering.schema`.
pub const TABLES_VERSION: &str = "1";

crate::vocabulary::vocabulary!(
    /// What became of a cluster since the snapshot before.
    Change {
        /// Not there before.
        New = "new",
        /// Has gained members.
        Grown = "grown",
        /// Has lost members.
        Shrunk = "shrunk",
        /// Made of several earlier ones (`parents`).
        Merged = "merged",
        /// Part of an earlier one (`parents`).
        Split = "split",
        /// Same members as before.
        Unchanged = "unchanged",
    }
);

crate::vocabulary::vocabulary!(
    /// What an account is to a cluster.
    Role {
        /// Suspected bot.
        Member = "member",
        /// Likely owner of a stolen photo; never accused.
        Victim = "victim",
    }
);

crate::vocabulary::vocabulary!(
    /// Why two accounts are linked, weakest last.
    LinkKind {
        /// Both show a file with the same bytes.
        SameBytes = "same_bytes",
        /// Both show the same picture, re-encoded, resized, cropped or mirrored.
        SamePhoto = "same_photo",
        /// Both show the same person. Never accuses by itself.
        SamePerson = "same_person",
    }
);

/// One signal's share in a score. The shares of a row and its `prior` signal add up to the score's log-odds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Name of the signal (`docs/detection.md` lists them).
    pub signal: String,
    /// What it adds to the log-odds, natural logarithm; negative speaks for the accounts.
    pub log_odds: f64,
    /// One sentence for the analyst.
    pub detail: String,
}

/// The link whose loss would break the cluster most easily.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WeakestLink {
    /// One end.
    pub account_a: AccountId,
    /// Other end.
    pub account_b: AccountId,
    /// Its weight, 0 to 1.
    pub weight: f64,
    /// How many members would be cut off without it; 0 if the cluster would hold.
    pub separates: i32,
}

/// A row of `clusters.parquet`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClusterRow {
    /// Stable across snapshots.
    pub cluster_id: String,
    /// Calibrated probability that this is a bot network, 0 to 1.
    pub score: f64,
    /// Members.
    pub accounts: i32,
    /// Distinct pictures in the evidence.
    pub photos: i32,
    /// Distinct people on them.
    pub identities: i32,
    /// Earliest observation among the evidence.
    pub first_seen: Timestamp,
    /// Latest observation among the evidence.
    pub last_seen: Timestamp,
    /// Kinds of links in it.
    pub kinds: Vec<LinkKind>,
    /// What makes the score.
    pub reasons: Vec<Reason>,
    /// The link that holds it together least; none for a star around one picture.
    pub weakest_link: Option<WeakestLink>,
    /// What became of it since the snapshot before.
    pub change: Change,
    /// The earlier clusters it came from.
    pub parents: Vec<String>,
}

/// A row of `members.parquet`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MemberRow {
    /// The cluster.
    pub cluster_id: String,
    /// The account.
    pub account_id: AccountId,
    /// Calibrated probability that this account is part of the network, 0 to 1; for victims that they are the owner.
    pub score: f64,
    /// Suspected bot or likely victim.
    pub role: Role,
    /// What makes the score.
    pub reasons: Vec<Reason>,
}

/// A row of `evidence.parquet`: one link between two accounts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EvidenceRow {
    /// The cluster.
    pub cluster_id: String,
    /// The smaller account id.
    pub account_a: AccountId,
    /// The larger account id.
    pub account_b: AccountId,
    /// Why they are linked.
    pub kind: LinkKind,
    /// The photo of `account_a`.
    pub photo_a: PhotoId,
    /// The photo of `account_b`.
    pub photo_b: PhotoId,
    /// The picture `photo_a` shows (names its thumbnail).
    pub picture_a: PhotoKey,
    /// The picture `photo_b` shows.
    pub picture_b: PhotoKey,
    /// Exact cosine of the faces; none where the pictures show no face.
    pub similarity: Option<f32>,
    /// PDQ distance of the pictures, 0 to 256, the smaller of direct, mirrored and face crop.
    pub pdq_distance: Option<i32>,
    /// Accounts that share this face.
    pub owners: i32,
    /// Weight of the link in the account graph, 0 to 1.
    pub weight: f64,
    /// When `photo_a` was first observed on `account_a`.
    pub observed_a: Timestamp,
    /// When `photo_b` was first observed on `account_b`.
    pub observed_b: Timestamp,
}

impl EvidenceRow {
    /// Names this link in every snapshot: two accounts, the two pictures they show, and the kind. What may move from
    /// one snapshot to the next (weight, similarity, number of owners) does not count.
    pub fn key(&self) -> EvidenceKey {
        let mut hasher = Sha256::new();
        hasher.update(b"facering evidence\0");
        for (account, picture) in [(&self.account_a, self.picture_a), (&self.account_b, self.picture_b)] {
            hasher.update(account.as_str());
            hasher.update([0]);
            hasher.update(picture.as_bytes());
        }
        hasher.update(self.kind.as_str());
        let digest: [u8; 32] = hasher.finalize().into();
        EvidenceKey(digest.iter().take(8).fold(0, |key, byte| (key << 8) | u64::from(*byte)))
    }
}

/// A row of `accounts.parquet`: an account named in the other tables.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AccountRow {
    /// The account.
    pub account_id: AccountId,
    /// Its profile as last seen.
    pub facts: ProfileFacts,
    /// First observation of the account.
    pub first_seen: Timestamp,
    /// Latest observation of the account.
    pub last_seen: Timestamp,
    /// Photos it has.
    pub photos: i32,
}

/// How a snapshot was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotKind {
    /// Out of everything: equal data give equal tables.
    #[default]
    Full,
    /// What a running stream had changed, put into the one before: figures of the whole population are those of the last
    /// full one.
    Update,
}

impl SnapshotKind {
    /// The word in `run.json`, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Update => "update",
        }
    }
}

/// `run.json`: what a snapshot was made from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunInfo {
    /// Version of the tables' schema.
    pub tables_version: String,
    /// Version of facering.
    pub facering_version: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// How it was made.
    #[serde(default)]
    pub kind: SnapshotKind,
    /// Greatest `observed_at` of the data: the "now" of every score.
    pub as_of: Timestamp,
    /// The model pack.
    pub pack: String,
    /// Accounts in the state.
    pub accounts: u64,
    /// Distinct pictures in the state.
    pub photos: u64,
    /// Faces in the state.
    pub faces: u64,
    /// Links in the state.
    pub links: u64,
    /// Dead letters by reason.
    pub dead_letters: std::collections::BTreeMap<String, u64>,
    /// How far each partition was read.
    pub checkpoint: crate::Checkpoint,
    /// Every threshold in force, by name.
    pub thresholds: std::collections::BTreeMap<String, f64>,
}

/// A whole snapshot.
#[derive(Clone, PartialEq, Debug)]
pub struct Tables {
    /// `clusters.parquet`.
    pub clusters: Vec<ClusterRow>,
    /// `members.parquet`.
    pub members: Vec<MemberRow>,
    /// `evidence.parquet`.
    pub evidence: Vec<EvidenceRow>,
    /// `accounts.parquet`.
    pub accounts: Vec<AccountRow>,
}
