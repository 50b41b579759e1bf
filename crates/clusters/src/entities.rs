//! Copies of one photo become one entity, faces of one person another.
//!
//! Invariants:
//! - Two faces of one photo (or of two copies of it) are never one person.
//! - A link between two sets of faces or photos that share no neighbour and are more than a pair is taken for chance: single
//!   links chain, and at tau(N) one query in a hundred meets a stranger.
//! - Entities are numbered by their smallest member, so they do not depend on the order of links.

use std::collections::HashSet;

use records::tables::LinkKind;

use crate::input::Input;
use crate::typed::TypedLink;
use crate::union_find::UnionFind;

/// What each photo and face belongs to.
#[derive(Debug, Default)]
pub(crate) struct Entities {
    /// Photo -> photo entity (the smallest photo among its copies).
    pub(crate) photo: Vec<u32>,
    /// Face -> person (the smallest face of that person).
    pub(crate) person: Vec<u32>,
    /// Photo entity -> most faces that any of its copies shows.
    pub(crate) faces: Vec<u16>,
}

/// Neighbours of dense nodes, sorted.
struct Neighbours {
    starts: Vec<u32>,
    list: Vec<u32>,
}

impl Neighbours {
    fn new(nodes: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0u32; nodes + 1];
        for (a, b) in pairs.clone() {
            starts[a as usize + 1] += 1;
            starts[b as usize + 1] += 1;
        }
        for i in 0..nodes {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut list = vec![0; starts[nodes] as usize];
        for (a, b) in pairs {
            list[next[a as usize] as usize] = b;
            next[a as usize] += 1;
            list[next[b as usize] as usize] = a;
            next[b as usize] += 1;
        }
        for node in 0..nodes {
            list[starts[node] as usize..starts[node + 1] as usize].sort_unstable();
        }
        Self { starts, list }
    }

    fn of(&self, node: u32) -> &[u32] {
        &self.list[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }

    /// Whether a link has company: a common neighbour, or an end that knows nobody else.
    fn support(&self, a: u32, b: u32) -> bool {
        let (x, y) = (self.of(a), self.of(b));
        let alone = |list: &[u32], other: u32| list.iter().all(|n| *n == other);
        if alone(x, b) || alone(y, a) {
            return true;
        }
        let (mut i, mut j) = (0, 0);
        while i < x.len() && j < y.len() {
            match x[i].cmp(&y[j]) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => return true,
            }
        }
        false
    }
}

/// Groups photos and faces.
pub(crate) fn entities(input: &Input, links: &[TypedLink]) -> Entities {
    let faces = &input.faces;
    let photo_of = |face: u32| faces[face as usize].photo;
    let copies = links.iter().filter(|l| l.kind == LinkKind::SamePhoto);

    let near_photos =
        Neighbours::new(input.photos.len(), copies.clone().map(|l| (photo_of(l.a), photo_of(l.b))));
    let mut photos = UnionFind::new(input.photos.len());
    let mut people = UnionFind::new(faces.len());
    for link in copies {
        // A hash needs no witness; a cosine alone may be two frames of one series, or chance.
        if link.hashed || near_photos.support(photo_of(link.a), photo_of(link.b)) {
            photos.union(photo_of(link.a), photo_of(link.b));
            people.union(link.a, link.b);
        }
    }
    drop(near_photos);
    let photo = photos.into_roots();

    let mut face_count = vec![0u16; input.photos.len()];
    let mut at = 0;
    while at < faces.len() {
        let this = faces[at].photo;
        let run = faces[at..].iter().take_while(|f| f.photo == this).count();
        let entity = photo[this as usize] as usize;
        face_count[entity] = face_count[entity].max(run.min(usize::from(u16::MAX)) as u16);
        at += run;
    }

    let person = group_people(input, links, &photo, &face_count, people);
    Entities { photo, person, faces: face_count }
}

/// Joins faces of one person, most alike first, never two faces of one photo.
fn group_people(
    input: &Input,
    links: &[TypedLink],
    photo: &[u32],
    face_count: &[u16],
    mut people: UnionFind,
) -> Vec<u32> {
    let entity_of = |face: u32| photo[input.faces[face as usize].photo as usize];
    let near = Neighbours::new(input.faces.len(), links.iter().map(|l| (l.a, l.b)));
    // By number, which takes half of what references would: there may be tens of millions.
    let joins = |l: &TypedLink| l.kind == LinkKind::SamePerson && near.support(l.a, l.b);
    let mut joining: Vec<u32> = (0..).zip(links).filter(|(_, l)| joins(l)).map(|(at, _)| at).collect();
    drop(near);
    joining.sort_unstable_by(|x, y| {
        let (x, y) = (&links[*x as usize], &links[*y as usize]);
        y.cosine.total_cmp(&x.cosine).then((x.a, x.b).cmp(&(y.a, y.b)))
    });

    // Only photos with several faces can forbid a union, so only they are remembered, per person.
    let mut crowded: Vec<Option<Box<HashSet<u32>>>> = vec![None; input.faces.len()];
    for face in 0..input.faces.len() as u32 {
        let entity = entity_of(face);
        if face_count[entity as usize] > 1 {
            crowded[people.find(face) as usize].get_or_insert_with(Box::default).insert(entity);
        }
    }
    for link in joining.into_iter().map(|at| &links[at as usize]) {
        let (a, b) = (people.find(link.a), people.find(link.b));
        if a == b {
            continue;
        }
        let meets = match (&crowded[a as usize], &crowded[b as usize]) {
            (Some(x), Some(y)) => {
                let (small, large) = if x.len() < y.len() { (x, y) } else { (y, x) };
                small.iter().any(|e| large.contains(e))
            }
            _ => false,
        };
        if meets {
            continue;
        }
        if let Some((kept, absorbed)) = people.union(a, b) {
            let gone = crowded[absorbed as usize].take();
            let here = crowded[kept as usize].take();
            crowded[kept as usize] = match (here, gone) {
                (Some(x), Some(y)) => {
                    let (small, mut large) = if x.len() < y.len() { (x, y) } else { (y, x) };
                    large.extend(small.iter());
                    Some(large)
                }
                (x, y) => x.or(y),
            };
        }
    }
    people.into_roots()
}

#[cfg(test)]
mod tests {
    use records::{PhotoKey, Timestamp};

    use super::*;
    use crate::input::{Face, Photo};
    use crate::tail::PackCalibration;

    /// Photos with so many faces each, and links `(face, face, cosine, kind)`.
    fn group(faces: &[u32], links: &[(u32, u32, f32, LinkKind)]) -> Entities {
        let pack = PackCalibration { link_floor: 0.4, same_photo_cosine: 0.9, tail: vec![] };
        let mut input = Input::empty(Timestamp::EPOCH, pack);
        for (photo, count) in faces.iter().enumerate() {
            input.photos.push(Photo { key: PhotoKey::of_bytes(&[photo as u8]), hashed: false });
            for tag in 0..u64::from(*count) {
                input.faces.push(Face {
                    photo: photo as u32,
                    tag,
                    linkable: true,
                    main: tag == 0,
                    width_px: 80.0,
                    eye_alignment: None,
                });
            }
        }
        let typed = |(a, b, cosine, kind): &(u32, u32, f32, LinkKind)| TypedLink {
            a: *a,
            b: *b,
            cosine: *cosine,
            pdq: None,
            kind: *kind,
            hashed: false,
        };
        entities(&input, &links.iter().map(typed).collect::<Vec<_>>())
    }

    #[test]
    fn two_faces_of_one_photo_are_two_people() {
        // Photo 0 has faces 0 and 1, photo 1 has face 2, which is like both of them.
        let person = LinkKind::SamePerson;
        let found = group(&[2, 1], &[(0, 2, 0.8, person), (1, 2, 0.75, person)]);
        assert_eq!(found.person, [0, 1, 0], "the more alike one is the same person");
        // The same across copies: photo 2 (faces 3 and 4) is a copy of photo 0.
        let photo = LinkKind::SamePhoto;
        let mut links = vec![(0, 3, 0.97, photo), (1, 4, 0.97, photo)];
        links.extend(
            [(0, 2, 0.8), (2, 3, 0.78), (1, 2, 0.75), (2, 4, 0.74)].map(|(a, b, c)| (a, b, c, person)),
        );
        let found = group(&[2, 1, 2], &links);
        assert_eq!(found.photo, [0, 1, 0]);
        assert_eq!(found.person, [0, 1, 0, 0, 1]);
    }

    #[test]
    fn a_link_without_company_does_not_chain() {
        let person = LinkKind::SamePerson;
        let mut links = Vec::new();
        for base in [0, 3] {
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                links.push((base + a, base + b, 0.8, person));
            }
        }
        links.push((2, 3, 0.99, person));
        assert_eq!(group(&[1; 6], &links).person, [0, 0, 0, 3, 3, 3]);
    }
}
