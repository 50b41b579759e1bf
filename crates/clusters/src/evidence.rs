//! The links that an analyst is shown.
//!
//! Invariants:
//! - Both accounts of a row belong to the row's cluster; `account_a < account_b`.
//! - The rows are linear in links and ownerships: a picture with the same bytes on n accounts gives n - 1 rows, a star around
//!   the account that showed it first; a link between two widely owned pictures gives at most [`FEW`] squared.

use std::collections::HashMap;

use records::tables::{EvidenceRow, LinkKind};

use crate::entities::Entities;
use crate::incidence::{Incidence, NOBODY};
use crate::input::{Input, Ownership};
use crate::typed::TypedLink;

/// Owners of a picture that stand for all of them in a link.
const FEW: usize = 6;
/// No cluster.
pub(crate) const NONE: u32 = u32::MAX;
/// Weight of a shared person, against a shared photo (as in the account graph).
const PERSON_WEIGHT: f64 = 0.06;

/// The best link found so far between two accounts.
#[derive(Clone, Copy)]
struct Best {
    cosine: f32,
    link: u32,
    /// Owner of the picture with the link's first face, and of the other.
    ends: (u32, u32),
}

/// Rows for every cluster; `cluster_of[account]` numbers clusters, `NONE` for accounts in none. Row `cluster_id`s are left
/// empty. Sorted by cluster, accounts, kind, photos.
pub(crate) fn evidence(
    input: &Input,
    entities: &Entities,
    inc: &Incidence,
    links: &[TypedLink],
    tau: f32,
    cluster_of: &[u32],
) -> Vec<(u32, EvidenceRow)> {
    // Owners of each picture that are in a cluster.
    let mut owned: Vec<&Ownership> =
        input.ownerships.iter().filter(|o| cluster_of[o.account as usize] != NONE).collect();
    owned.sort_by_key(|o| (o.photo, cluster_of[o.account as usize], o.observed_at, o.account));
    owned.dedup_by_key(|o| (o.photo, o.account));
    let mut first = vec![u32::MAX; input.photos.len()];
    for (at, own) in owned.iter().enumerate().rev() {
        first[own.photo as usize] = at as u32;
    }
    let owners = |photo: u32| {
        let from = first[photo as usize] as usize;
        owned.get(from..).unwrap_or_default().iter().take_while(move |o| o.photo == photo)
    };
    let mut photo_has_face = vec![false; input.photos.len()];
    input.faces.iter().for_each(|f| photo_has_face[f.photo as usize] = true);

    let row =
        |x: &Ownership, y: &Ownership, kind, similarity, pdq_distance, shared_by: usize, weight: f64| {
            let (a, b) = if x.account < y.account { (x, y) } else { (y, x) };
            let row = EvidenceRow {
                cluster_id: String::new(),
                account_a: input.accounts[a.account as usize].id.clone(),
                account_b: input.accounts[b.account as usize].id.clone(),
                kind,
                photo_a: a.photo_id.clone(),
                photo_b: b.photo_id.clone(),
                picture_a: input.photos[a.photo as usize].key,
                picture_b: input.photos[b.photo as usize].key,
                similarity,
                pdq_distance,
                owners: shared_by as i32,
                weight: weight.clamp(0.0, 1.0),
                observed_a: a.observed_at,
                observed_b: b.observed_at,
            };
            (cluster_of[a.account as usize], row)
        };
    let value = |entity: u32| inc.worth(entity) * inc.rarity(inc.photo_owners(entity));

    let mut rows = Vec::new();
    for group in owned.chunk_by(|x, y| {
        x.photo == y.photo && cluster_of[x.account as usize] == cluster_of[y.account as usize]
    }) {
        let photo = group[0].photo;
        if group.len() < 2 || !input.photos[photo as usize].hashed {
            continue;
        }
        let entity = entities.photo[photo as usize];
        let alike = photo_has_face[photo as usize].then_some(1.0);
        let all = inc.photo_owners(entity);
        for other in &group[1..] {
            rows.push(row(group[0], other, LinkKind::SameBytes, alike, Some(0), all, value(entity)));
        }
    }

    // Best link for each pair of accounts and photo entity (same photo), or pair of accounts alone (same person).
    let mut best: HashMap<(u32, u32, u32), Best> = HashMap::new();
    for (at, link) in links.iter().enumerate() {
        let photo = |face: u32| input.faces[face as usize].photo;
        let (pa, pb) = (photo(link.a), photo(link.b));
        if first[pa as usize] == u32::MAX || first[pb as usize] == u32::MAX {
            continue;
        }
        let thing = if link.kind == LinkKind::SamePhoto { entities.photo[pa as usize] } else { NOBODY };
        for x in owners(pa).take(FEW) {
            for y in owners(pb).take(FEW) {
                if x.account == y.account || cluster_of[x.account as usize] != cluster_of[y.account as usize]
                {
                    continue;
                }
                let key = (x.account.min(y.account), x.account.max(y.account), thing);
                let this = Best { cosine: link.cosine, link: at as u32, ends: (x.account, y.account) };
                let slot = best.entry(key).or_insert(this);
                if this.cosine.total_cmp(&slot.cosine).then(slot.link.cmp(&this.link)).is_gt() {
                    *slot = this;
                }
            }
        }
    }
    for best in best.into_values() {
        let (link, (x, y)) = (&links[best.link as usize], best.ends);
        let (pa, pb) = (input.faces[link.a as usize].photo, input.faces[link.b as usize].photo);
        let (Some(x), Some(y)) = (owners(pa).find(|o| o.account == x), owners(pb).find(|o| o.account == y))
        else {
            continue;
        };
        let (all, weight) = if link.kind == LinkKind::SamePhoto {
            let entity = entities.photo[pa as usize];
            (inc.photo_owners(entity), value(entity))
        } else {
            let person = entities.person[link.a as usize];
            let all = inc.person_owners(person).max(2);
            (all, PERSON_WEIGHT * inc.rarity(all))
        };
        let pdq = link.pdq.map(i32::from);
        rows.push(row(x, y, link.kind, Some(link.cosine), pdq, all, weight * link.probability(tau)));
    }
    rows.sort_by(|(c, x), (d, y)| {
        let key = |c: u32, r: &EvidenceRow| {
            (c, r.account_a.clone(), r.account_b.clone(), r.kind, r.picture_a, r.picture_b)
        };
        key(*c, x).cmp(&key(*d, y)).then_with(|| (&x.photo_a, &x.photo_b).cmp(&(&y.photo_a, &y.photo_b)))
    });
    rows
}
