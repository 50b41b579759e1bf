//! The picture pairs that tie a cluster together, and the thumbnails a page carries.
//!
//! Each thumbnail stands in the page once, however often it is shown, and a page stops taking thumbnails in when its
//! budget is used up.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use records::tables::{EvidenceRow, LinkKind};
use records::{AccountId, PhotoKey};

use crate::Thumbnails;

/// Two pictures (or one, shown by several accounts) and whom they tie.
pub(crate) struct PicturePair<'a> {
    pub pictures: (PhotoKey, PhotoKey),
    pub kind: LinkKind,
    /// Largest exact cosine among the links.
    pub similarity: Option<f32>,
    /// Smallest PDQ distance among the links.
    pub pdq_distance: Option<i32>,
    /// Accounts that share the face, as the index knows them.
    pub owners: i32,
    pub weight: f64,
    /// Who shows the first and the second picture.
    pub accounts: (BTreeSet<&'a AccountId>, BTreeSet<&'a AccountId>),
}

impl PicturePair<'_> {
    /// How many accounts it ties.
    pub fn reach(&self) -> usize {
        self.accounts.0.union(&self.accounts.1).count()
    }
}

/// The pairs worth looking at: those that tie most accounts first, but each with a picture not yet shown, as far as
/// there are such. Also says how many pairs there are.
pub(crate) fn pairs<'a>(evidence: &[&'a EvidenceRow], most: usize) -> (Vec<PicturePair<'a>>, usize) {
    let mut pairs: BTreeMap<(PhotoKey, PhotoKey), PicturePair<'a>> = BTreeMap::new();
    for row in evidence {
        let one = (row.picture_a, &row.account_a);
        let other = (row.picture_b, &row.account_b);
        let (one, other) = if one.0 <= other.0 { (one, other) } else { (other, one) };
        let pair = pairs.entry((one.0, other.0)).or_insert_with(|| PicturePair {
            pictures: (one.0, other.0),
            kind: row.kind,
            similarity: None,
            pdq_distance: None,
            owners: 0,
            weight: 0.0,
            accounts: Default::default(),
        });
        pair.kind = pair.kind.min(row.kind);
        pair.similarity = match (pair.similarity, row.similarity) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        pair.pdq_distance = match (pair.pdq_distance, row.pdq_distance) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        pair.owners = pair.owners.max(row.owners);
        pair.weight = pair.weight.max(row.weight);
        pair.accounts.0.insert(one.1);
        pair.accounts.1.insert(other.1);
    }
    let count = pairs.len();
    let mut ranked: Vec<PicturePair> = pairs.into_values().collect();
    ranked.sort_by(|a, b| {
        b.reach().cmp(&a.reach()).then(b.weight.total_cmp(&a.weight)).then(a.pictures.cmp(&b.pictures))
    });
    let mut seen = BTreeSet::new();
    let (fresh, rest): (Vec<_>, Vec<_>) = ranked.into_iter().partition(|pair| {
        let one = seen.insert(pair.pictures.0);
        seen.insert(pair.pictures.1) || one
    });
    (fresh.into_iter().chain(rest).take(most).collect(), count)
}

/// The thumbnails a page has taken in.
pub(crate) struct Album<'a> {
    source: Option<&'a Thumbnails>,
    budget: usize,
    places: BTreeMap<PhotoKey, Option<usize>>,
    /// Base64 of each JPEG, in the order of their numbers.
    pub images: Vec<String>,
    /// Thumbnails left out because the budget was used up.
    pub left_out: usize,
}

impl<'a> Album<'a> {
    /// An album that takes in at most `budget` bytes of base64; `None` as source takes in nothing.
    pub fn new(source: Option<&'a Thumbnails>, budget: usize) -> Self {
        Self { source, budget, places: BTreeMap::new(), images: Vec::new(), left_out: 0 }
    }

    /// The number of a picture's thumbnail within the page, if the page has it.
    pub fn number(&mut self, picture: &PhotoKey) -> Option<usize> {
        if let Some(place) = self.places.get(picture) {
            return *place;
        }
        let place = self.take_in(picture);
        self.places.insert(*picture, place);
        place
    }

    fn take_in(&mut self, picture: &PhotoKey) -> Option<usize> {
        let jpeg = self.source?.jpeg(picture)?;
        let text = base64::engine::general_purpose::STANDARD.encode(jpeg);
        if text.len() > self.budget {
            self.left_out += 1;
            return None;
        }
        self.budget -= text.len();
        self.images.push(text);
        Some(self.images.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use records::{PhotoId, Timestamp};

    use super::*;

    fn row(a: u8, b: u8, pictures: (u8, u8)) -> EvidenceRow {
        let account = |n: u8| AccountId::new(format!("a{n}")).unwrap();
        let picture = |n: u8| PhotoKey::from_sha256([n; 32]);
        EvidenceRow {
            cluster_id: "c".into(),
            account_a: account(a),
            account_b: account(b),
            kind: if pictures.0 == pictures.1 { LinkKind::SameBytes } else { LinkKind::SamePhoto },
            photo_a: PhotoId::new("p").unwrap(),
            photo_b: PhotoId::new("p").unwrap(),
            picture_a: picture(pictures.0),
            picture_b: picture(pictures.1),
            similarity: Some(0.9),
            pdq_distance: Some(4),
            owners: 3,
            weight: 0.5,
            observed_a: Timestamp::EPOCH,
            observed_b: Timestamp::EPOCH,
        }
    }

    #[test]
    fn one_file_on_many_accounts_is_one_pair() {
        let rows =
            [row(1, 2, (7, 7)), row(1, 3, (7, 7)), row(2, 3, (7, 7)), row(1, 4, (7, 8)), row(4, 1, (8, 7))];
        let (found, count) = pairs(&rows.iter().collect::<Vec<_>>(), 10);
        assert_eq!((found.len(), count), (2, 2));
        assert_eq!((found[0].kind, found[0].reach()), (LinkKind::SameBytes, 3));
        assert_eq!(found[1].accounts.1.iter().map(|a| a.as_str()).collect::<Vec<_>>(), ["a4"]);
    }

    #[test]
    fn pairs_with_new_pictures_come_first() {
        let rows = [row(1, 2, (1, 2)), row(1, 3, (1, 3)), row(2, 3, (2, 3)), row(4, 5, (4, 5))];
        let (found, count) = pairs(&rows.iter().collect::<Vec<_>>(), 3);
        let pictures: BTreeSet<_> = found.iter().flat_map(|p| [p.pictures.0, p.pictures.1]).collect();
        assert_eq!((pictures.len(), count), (5, 4));
    }

    #[test]
    fn a_page_carries_each_thumbnail_once_and_within_its_budget() {
        let picture = |n: u8| PhotoKey::from_sha256([n; 32]);
        let jpeg = |n: u8| [&[0xff, 0xd8, 0xff][..], &[n; 27][..]].concat();
        let mut stored: BTreeMap<_, _> = (1..=3).map(|n| (picture(n), jpeg(n))).collect();
        stored.insert(picture(9), b"<svg onload=...>".to_vec());
        let thumbnails = Thumbnails::in_memory(stored);
        let mut album = Album::new(Some(&thumbnails), 90);
        assert_eq!(
            [1, 1, 2, 3, 4, 9].map(|n| album.number(&picture(n))),
            [Some(0), Some(0), Some(1), None, None, None]
        );
        assert_eq!((album.images.len(), album.left_out), (2, 1));
    }
}
