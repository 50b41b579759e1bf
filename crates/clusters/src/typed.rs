//! What a link means: copies of one photo, or one person on two photos.

use records::tables::LinkKind;

use crate::ClustersConfig;
use crate::input::{Input, Link};

/// A link with its meaning. Links that mean nothing at the present tau(N) are not kept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct TypedLink {
    /// Face.
    pub(crate) a: u32,
    /// Face; `a < b`.
    pub(crate) b: u32,
    /// Cosine.
    pub(crate) cosine: f32,
    /// Smaller of the two PDQ distances, if any is known.
    pub(crate) pdq: Option<u16>,
    /// `SamePhoto` or `SamePerson`.
    pub(crate) kind: LinkKind,
    /// Whether a perceptual hash says so, not the cosine alone.
    pub(crate) hashed: bool,
}

impl TypedLink {
    /// Probability that the link is what it is called, 0 to 1.
    pub(crate) fn probability(&self, tau: f32) -> f64 {
        match (self.kind, self.hashed) {
            (LinkKind::SameBytes, _) => 1.0,
            (LinkKind::SamePhoto, true) => 0.99,
            (LinkKind::SamePhoto, false) => 0.95,
            // At tau itself the budget leaves about one false link in ten true ones; well above, nearly none.
            (LinkKind::SamePerson, _) => {
                let above = f64::from((self.cosine - tau) / (1.0 - tau).max(1e-3));
                0.9 + 0.1 * (above * 3.0).clamp(0.0, 1.0)
            }
        }
    }
}

/// tau(N) for this data: N counts the faces that may make links.
pub(crate) fn tau(input: &Input, config: &ClustersConfig) -> f32 {
    let linkable = input.faces.iter().filter(|f| f.linkable).count() as u64;
    input.pack.tau(linkable, config.false_neighbours)
}

/// Types every link between two faces that may make one, in their order. Uses the links up, and their memory: there are
/// more of them than of anything else.
pub(crate) fn typed_links(input: &mut Input, config: &ClustersConfig, tau: f32) -> Vec<TypedLink> {
    let links = std::mem::take(&mut input.links);
    let faces = &input.faces;
    let mut typed: Vec<TypedLink> = links
        .into_iter()
        .filter(|l| faces[l.a as usize].linkable && faces[l.b as usize].linkable)
        .filter_map(|l| type_link(&l, input.pack.same_photo_cosine, config, tau))
        .collect();
    typed.shrink_to_fit();
    typed
}

/// The link with its meaning, if its faces may make one and it means anything.
pub(crate) fn type_link(
    link: &Link,
    same_photo_cosine: f32,
    config: &ClustersConfig,
    tau: f32,
) -> Option<TypedLink> {
    let near = |d: Option<u16>| d.is_some_and(|d| d <= config.pdq_distance);
    let (whole, crop) = (link.relation.pdq_distance, link.relation.crop_distance);
    let hashed = (near(whole) || near(crop)) && link.cosine >= config.copy_cosine;
    // A far whole-picture hash does not speak against a crop; only when the aligned faces differ as well has the cosine to
    // be nearly one (a caption or a filter over the same face).
    let alike = if whole.is_some() && crop.is_some() {
        f32::midpoint(same_photo_cosine, 1.0)
    } else {
        same_photo_cosine
    };
    let kind = if hashed || link.cosine >= alike.max(tau.min(0.999)) {
        LinkKind::SamePhoto
    } else if link.cosine >= tau {
        LinkKind::SamePerson
    } else {
        return None;
    };
    let pdq = match (whole, crop) {
        (Some(w), Some(c)) => Some(w.min(c)),
        (w, c) => w.or(c),
    };
    Some(TypedLink { a: link.a, b: link.b, cosine: link.cosine, pdq, kind, hashed })
}

#[cfg(test)]
mod tests {
    use records::PhotoRelation;

    use super::*;

    fn kind(cosine: f32, whole: Option<u16>, crop: Option<u16>) -> Option<LinkKind> {
        let relation = PhotoRelation { pdq_distance: whole, crop_distance: crop, mirrored: false };
        let link = Link { a: 0, b: 1, cosine, relation };
        type_link(&link, 0.9, &ClustersConfig::default(), 0.6).map(|l| l.kind)
    }

    #[test]
    fn the_table_of_meanings() {
        let (photo, person) = (Some(LinkKind::SamePhoto), Some(LinkKind::SamePerson));
        assert_eq!(kind(0.97, Some(4), Some(100)), photo, "a near hash");
        assert_eq!(kind(0.85, Some(120), Some(10)), photo, "a crop");
        assert_eq!(kind(0.65, Some(4), None), person, "near hash, but another face");
        assert_eq!(kind(0.93, None, None), photo, "no hashes: the cosine decides");
        assert_eq!(kind(0.93, Some(120), None), photo, "a far whole-picture hash may be a crop");
        assert_eq!(kind(0.93, Some(120), Some(120)), person, "both hashes far");
        assert_eq!(kind(0.97, Some(120), Some(120)), photo, "both far, but nearly the same face");
        assert_eq!(kind(0.75, None, None), person);
        assert_eq!(kind(0.55, None, None), None, "below tau");
    }
}
