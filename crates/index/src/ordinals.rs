//! Sets of ordinals as bitmaps in chunks that are shared between versions.
//!
//! Invariant: a clone costs one reference for each 65,536 ordinals, and a change to one version copies only the chunks
//! it touches. So each snapshot of the index has its own tombstones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::IndexError;

const WORDS: usize = 1024;
const CHUNK_BITS: u32 = 16;
/// Ordinals at or above this are a mistake: the chunk table alone would take 128 MB.
pub const ORDINAL_LIMIT: u64 = 1 << 40;

type Chunk = [u64; WORDS];

/// A set of ordinals; about one bit for each up to the greatest.
#[derive(Clone, Default)]
pub struct OrdinalSet {
    chunks: Vec<Option<Arc<Chunk>>>,
    count: u64,
}

fn place(ordinal: u64) -> (usize, usize, u64) {
    let bit = ordinal & 0xffff;
    ((ordinal >> CHUNK_BITS) as usize, (bit >> 6) as usize, 1 << (bit & 63))
}

impl OrdinalSet {
    /// Whether the ordinal is in the set.
    pub fn contains(&self, ordinal: u64) -> bool {
        let (chunk, word, bit) = place(ordinal);
        self.chunks.get(chunk).and_then(Option::as_ref).is_some_and(|chunk| chunk[word] & bit != 0)
    }

    /// Adds an ordinal below [`ORDINAL_LIMIT`]; whether it was new.
    pub fn insert(&mut self, ordinal: u64) -> bool {
        let (chunk, word, bit) = place(ordinal);
        if self.chunks.len() <= chunk {
            self.chunks.resize(chunk + 1, None);
        }
        let chunk = Arc::make_mut(self.chunks[chunk].get_or_insert_with(|| Arc::new([0; WORDS])));
        let new = chunk[word] & bit == 0;
        chunk[word] |= bit;
        self.count += u64::from(new);
        new
    }

    /// How many are in it.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The greatest one, `None` if there is none.
    pub fn greatest(&self) -> Option<u64> {
        let (at, chunk) = self.chunks.iter().enumerate().rev().find_map(|(at, chunk)| {
            chunk.as_ref().filter(|words| words.iter().any(|word| *word != 0)).map(|words| (at, words))
        })?;
        let word = chunk.iter().rposition(|word| *word != 0)?;
        let bit = 63 - u64::from(chunk[word].leading_zeros());
        Some(((at as u64) << CHUNK_BITS) + 64 * word as u64 + bit)
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        (self.chunks.len() * 8 + self.chunks.iter().flatten().count() * WORDS * 8) as u64
    }

    /// Pointers to the chunks, null where a chunk is missing, as the shim's selector reads them. They stay valid as
    /// long as this set does.
    pub fn pointers(&self) -> Vec<*const u64> {
        let pointer = |chunk: &Option<Arc<Chunk>>| chunk.as_ref().map_or(std::ptr::null(), |c| c.as_ptr());
        self.chunks.iter().map(pointer).collect()
    }

    /// The set as runs of neighbouring ordinals.
    fn runs(&self) -> impl Iterator<Item = Range<u64>> {
        let mut pending: Option<Range<u64>> = None;
        let ordinals =
            self.chunks.iter().enumerate().filter_map(|(i, c)| c.as_ref().map(|c| (i, c))).flat_map(
                |(at, chunk)| {
                    let base = (at as u64) << CHUNK_BITS;
                    (0..1u64 << CHUNK_BITS)
                        .filter(|bit| chunk[(bit >> 6) as usize] >> (bit & 63) & 1 == 1)
                        .map(move |bit| base + bit)
                },
            );
        let mut ordinals = ordinals.map(Some).chain([None]);
        std::iter::from_fn(move || {
            for ordinal in ordinals.by_ref() {
                match (&mut pending, ordinal) {
                    (Some(run), Some(o)) if run.end == o => run.end += 1,
                    (_, Some(o)) => {
                        if let Some(done) = pending.replace(o..o + 1) {
                            return Some(done);
                        }
                    }
                    (_, None) => return pending.take(),
                }
            }
            None
        })
    }

    /// As bytes: for each chunk that holds any, its number (u64, little-endian), the kind (0 runs of u16 start and
    /// length - 1, preceded by their number as u16; 1 the 1,024 words), and the content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut runs: BTreeMap<u64, Vec<(u16, u16)>> = BTreeMap::new();
        for run in self.runs() {
            let mut start = run.start;
            while start < run.end {
                let end = run.end.min(((start >> CHUNK_BITS) + 1) << CHUNK_BITS);
                let piece = ((start & 0xffff) as u16, (end - start - 1) as u16);
                runs.entry(start >> CHUNK_BITS).or_default().push(piece);
                start = end;
            }
        }
        let mut bytes = Vec::new();
        for (number, runs) in runs {
            bytes.extend(number.to_le_bytes());
            if runs.len() < WORDS {
                bytes.push(0);
                bytes.extend((runs.len() as u16).to_le_bytes());
                for (start, length) in runs {
                    bytes.extend(start.to_le_bytes());
                    bytes.extend(length.to_le_bytes());
                }
            } else if let Some(chunk) = &self.chunks[number as usize] {
                bytes.push(1);
                bytes.extend(chunk.iter().flat_map(|word| word.to_le_bytes()));
            }
        }
        bytes
    }

    /// Reads what [`OrdinalSet::to_bytes`] wrote; `None` if it is damaged.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (head, rest) = bytes.split_first_chunk::<N>()?;
            *bytes = rest;
            Some(*head)
        }
        let mut set = Self::default();
        while !bytes.is_empty() {
            let number = u64::from_le_bytes(take(&mut bytes)?);
            if number >= ORDINAL_LIMIT >> CHUNK_BITS {
                return None;
            }
            let mut chunk = [0u64; WORDS];
            match take::<1>(&mut bytes)? {
                [0] => {
                    for _ in 0..u16::from_le_bytes(take(&mut bytes)?) {
                        let start = usize::from(u16::from_le_bytes(take(&mut bytes)?));
                        let end = start + usize::from(u16::from_le_bytes(take(&mut bytes)?)) + 1;
                        if end > 1 << CHUNK_BITS {
                            return None;
                        }
                        (start..end).for_each(|bit| chunk[bit >> 6] |= 1 << (bit & 63));
                    }
                }
                [1] => {
                    for word in &mut chunk {
                        *word = u64::from_le_bytes(take(&mut bytes)?);
                    }
                }
                _ => return None,
            }
            let number = number as usize;
            if set.chunks.len() <= number {
                set.chunks.resize(number + 1, None);
            }
            set.count += chunk.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
            set.chunks[number] = Some(Arc::new(chunk));
        }
        Some(set)
    }
}

/// Refuses ordinals that cannot be dense.
pub fn check_ordinal(ordinal: u64) -> Result<(), IndexError> {
    if ordinal < ORDINAL_LIMIT { Ok(()) } else { Err(IndexError::OrdinalOutOfRange(ordinal)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(ordinals in prop::collection::vec(0u64..300_000, 0..400), dense in 0u64..140_000) {
            let mut set = OrdinalSet::default();
            let mut model = BTreeSet::new();
            for ordinal in ordinals.into_iter().chain(70_000..70_000 + dense / 20) {
                prop_assert_eq!(set.insert(ordinal), model.insert(ordinal));
            }
            let old = set.clone();
            let back = OrdinalSet::from_bytes(&set.to_bytes()).unwrap();
            prop_assert_eq!(back.len(), model.len() as u64);
            prop_assert_eq!(back.greatest(), model.last().copied());
            prop_assert!(model.iter().all(|o| back.contains(*o)));
            set.insert(299_999);
            prop_assert_eq!(old.contains(299_999), model.contains(&299_999), "a clone does not change");
        }
    }

    #[test]
    fn a_scattered_chunk_is_kept_as_words() {
        let mut set = OrdinalSet::default();
        (0..65_536).step_by(2).for_each(|o| assert!(set.insert(o)));
        let bytes = set.to_bytes();
        assert_eq!(bytes.len(), 9 + 8192);
        assert_eq!(OrdinalSet::from_bytes(&bytes).unwrap().len(), 32_768);
        assert!(OrdinalSet::from_bytes(&bytes[..100]).is_none());
    }
}
