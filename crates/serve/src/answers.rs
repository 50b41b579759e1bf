//! The bodies of answers: the tables' rows and the state's data in the API's own words, as OpenAPI documents them.

use records::ProfileFacts;
use records::tables::{ClusterRow, EvidenceRow, MemberRow, Reason, WeakestLink};
use serde::Serialize;
use utoipa::ToSchema;

use crate::review::Status;
use crate::state::{AccountView, ForgetReceipt, Match, PhotoView};
use crate::uncertainty::Doubt;

/// Counts of what the state holds.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// Always `ok`: the process answers.
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Whether requests can be answered, and what the state holds.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReadyAnswer {
    ready: bool,
    /// What is being waited for.
    waiting_for: Option<String>,
    accounts: u64,
    photos: u64,
    faces: u64,
    links: u64,
    /// Greatest `observed_at` of the data, RFC 3339.
    as_of: Option<String>,
}

impl From<crate::state::Status> for ReadyAnswer {
    fn from(status: crate::state::Status) -> Self {
        Self {
            ready: status.waiting_for.is_none(),
            waiting_for: status.waiting_for,
            accounts: status.accounts,
            photos: status.photos,
            faces: status.faces,
            links: status.links,
            as_of: status.as_of.map(|time| time.to_string()),
        }
    }
}

/// A page of clusters, best score first.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClusterPage {
    /// The snapshot they stand in.
    pub snapshot: String,
    pub clusters: Vec<Cluster>,
    /// Give this as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// A suspected network.
#[derive(Serialize, ToSchema)]
pub(crate) struct Cluster {
    cluster_id: String,
    /// Calibrated probability that this is a bot network, 0 to 1.
    score: f64,
    accounts: i32,
    photos: i32,
    identities: i32,
    first_seen: String,
    last_seen: String,
    /// `same_bytes`, `same_photo`, `same_person`.
    kinds: Vec<&'static str>,
    reasons: Vec<ReasonAnswer>,
    weakest_link: Option<WeakestLinkAnswer>,
    /// `new`, `grown`, `shrunk`, `merged`, `split` or `unchanged`.
    change: &'static str,
    parents: Vec<String>,
    /// What was decided: `open`, `returned` (dismissed, with something new since), `confirmed` or `dismissed`.
    status: &'static str,
    /// The decision that says so.
    decision: Option<u64>,
    /// Members that are new since that decision.
    joined: Vec<String>,
    /// How many links are new since that decision.
    new_links: usize,
    /// 0 (sure) to 1: how middling the score and the members' scores are, or how much hangs on one link.
    uncertainty: f64,
    /// What the review queue is ordered by, 0 to 1.
    priority: f64,
}

/// One signal's share in a score.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReasonAnswer {
    signal: String,
    log_odds: f64,
    detail: String,
}

/// The link whose loss would break the cluster most easily.
#[derive(Serialize, ToSchema)]
pub(crate) struct WeakestLinkAnswer {
    account_a: String,
    account_b: String,
    weight: f64,
    separates: i32,
}

impl Cluster {
    pub fn new(row: &ClusterRow, doubt: Doubt, status: &Status) -> Self {
        let weakest = |link: &WeakestLink| WeakestLinkAnswer {
            account_a: link.account_a.to_string(),
            account_b: link.account_b.to_string(),
            weight: link.weight,
            separates: link.separates,
        };
        Self {
            cluster_id: row.cluster_id.clone(),
            score: row.score,
            accounts: row.accounts,
            photos: row.photos,
            identities: row.identities,
            first_seen: row.first_seen.to_string(),
            last_seen: row.last_seen.to_string(),
            kinds: row.kinds.iter().map(|kind| kind.as_str()).collect(),
            reasons: reasons(&row.reasons),
            weakest_link: row.weakest_link.as_ref().map(weakest),
            change: row.change.as_str(),
            parents: row.parents.clone(),
            status: status.verdict.as_str(),
            decision: status.decision.map(|decision| decision.0),
            joined: status.joined.iter().map(ToString::to_string).collect(),
            new_links: status.links,
            uncertainty: doubt.uncertainty,
            priority: doubt.priority,
        }
    }
}

fn reasons(reasons: &[Reason]) -> Vec<ReasonAnswer> {
    let answer = |reason: &Reason| ReasonAnswer {
        signal: reason.signal.clone(),
        log_odds: reason.log_odds,
        detail: reason.detail.clone(),
    };
    reasons.iter().map(answer).collect()
}

/// A suspected network with all that belongs to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClusterDetail {
    pub snapshot: String,
    pub cluster: Cluster,
    /// Suspected accounts.
    pub members: Vec<Member>,
    /// Likely owners of the stolen pictures; not accused.
    pub victims: Vec<Member>,
    pub evidence: Vec<Evidence>,
    /// Links there are; more than `evidence` holds if it was cut at `evidence_limit`.
    pub evidence_total: usize,
}

/// An account's place in a cluster.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    account_id: String,
    /// `member` (suspected) or `victim` (likely owner of a stolen picture; not accused).
    role: &'static str,
    score: f64,
    reasons: Vec<ReasonAnswer>,
    profile: Option<Profile>,
}

impl Member {
    pub fn new(row: &MemberRow, facts: Option<&ProfileFacts>) -> Self {
        Self {
            account_id: row.account_id.to_string(),
            role: row.role.as_str(),
            score: row.score,
            reasons: reasons(&row.reasons),
            profile: facts.map(Profile::from),
        }
    }
}

/// Facts of a profile.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profile {
    username: Option<String>,
    full_name: Option<String>,
    followers: Option<i64>,
    following: Option<i64>,
    posts: Option<i64>,
    created_at: Option<String>,
    verified: Option<bool>,
}

impl From<&ProfileFacts> for Profile {
    fn from(facts: &ProfileFacts) -> Self {
        Self {
            username: facts.username.clone(),
            full_name: facts.full_name.clone(),
            followers: facts.followers,
            following: facts.following,
            posts: facts.posts,
            created_at: facts.created_at.map(|time| time.to_string()),
            verified: facts.verified,
        }
    }
}

/// A link between two accounts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Evidence {
    account_a: String,
    account_b: String,
    /// `same_bytes`, `same_photo` or `same_person`.
    kind: &'static str,
    photo_a: String,
    photo_b: String,
    picture_a: String,
    picture_b: String,
    similarity: Option<f32>,
    pdq_distance: Option<i32>,
    owners: i32,
    weight: f64,
    observed_a: String,
    observed_b: String,
}

impl From<&EvidenceRow> for Evidence {
    fn from(row: &EvidenceRow) -> Self {
        Self {
            account_a: row.account_a.to_string(),
            account_b: row.account_b.to_string(),
            kind: row.kind.as_str(),
            photo_a: row.photo_a.to_string(),
            photo_b: row.photo_b.to_string(),
            picture_a: row.picture_a.to_string(),
            picture_b: row.picture_b.to_string(),
            similarity: row.similarity,
            pdq_distance: row.pdq_distance,
            owners: row.owners,
            weight: row.weight,
            observed_a: row.observed_a.to_string(),
            observed_b: row.observed_b.to_string(),
        }
    }
}

/// An account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Account {
    account_id: String,
    profile: Profile,
    observed_at: String,
    photos: Vec<Photo>,
    /// Its places in the newest snapshot.
    clusters: Vec<Membership>,
}

/// A photo of an account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Photo {
    photo_id: String,
    /// SHA-256 of the picture.
    picture: String,
    faces: Vec<String>,
}

/// An account's place in a cluster, seen from the account.
#[derive(Serialize, ToSchema)]
pub(crate) struct Membership {
    cluster_id: String,
    role: &'static str,
    score: f64,
}

impl Account {
    pub fn new<'a>(id: String, view: AccountView, places: impl Iterator<Item = &'a MemberRow>) -> Self {
        let photo = |photo: PhotoView| Photo {
            photo_id: photo.photo_id.to_string(),
            picture: photo.picture.to_string(),
            faces: photo.faces.iter().map(ToString::to_string).collect(),
        };
        let membership = |row: &MemberRow| Membership {
            cluster_id: row.cluster_id.clone(),
            role: row.role.as_str(),
            score: row.score,
        };
        Self {
            account_id: id,
            profile: Profile::from(&view.facts),
            observed_at: view.observed_at.to_string(),
            photos: view.photos.into_iter().map(photo).collect(),
            clusters: places.map(membership).collect(),
        }
    }
}

/// The answers to a search, in the order of its queries.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchAnswer {
    pub results: Vec<QueryAnswer>,
}

/// The answer to one query.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueryAnswer {
    /// One for a vector; one a face for a picture, largest face first.
    pub faces: Vec<FaceAnswer>,
}

/// The photos most like one face, most alike first.
#[derive(Serialize, ToSchema)]
pub(crate) struct FaceAnswer {
    matches: Vec<MatchAnswer>,
}

/// A photo that shows a face like the one asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct MatchAnswer {
    account_id: String,
    photo_id: String,
    /// SHA-256 of the picture.
    picture: String,
    face: String,
    /// Exact cosine, -1 to 1.
    cosine: f32,
    /// Squared Euclidean distance of the unit vectors, `2 - 2 * cosine`, as L2 face-search services answer.
    distance: f32,
}

impl From<Vec<Match>> for FaceAnswer {
    fn from(matches: Vec<Match>) -> Self {
        let answer = |found: Match| MatchAnswer {
            account_id: found.account.to_string(),
            photo_id: found.photo.to_string(),
            picture: found.face.photo.to_string(),
            face: found.face.to_string(),
            cosine: found.cosine.get(),
            distance: 2.0 - 2.0 * found.cosine.get(),
        };
        Self { matches: matches.into_iter().map(answer).collect() }
    }
}

/// What an erasure removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Forgotten {
    account_id: String,
    photos: u64,
    /// Pictures that nobody else shows.
    pictures: u64,
    faces: u64,
    /// The receipt to keep: JSON, signed as text.
    receipt: String,
    /// Ed25519 signature of the receipt's text, base64.
    signature: String,
    /// The key that it was signed with, base64.
    public_key: String,
}

impl Forgotten {
    pub fn new(account_id: String, receipt: ForgetReceipt) -> Self {
        Self {
            account_id,
            photos: receipt.photos,
            pictures: receipt.pictures,
            faces: receipt.faces,
            receipt: receipt.receipt,
            signature: receipt.signature,
            public_key: receipt.public_key,
        }
    }
}
