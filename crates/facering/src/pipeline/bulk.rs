//! The bulk road of a backfill: the index trained before the first row, the faces of a batch compared and added as one
//! block. What comes out is what the road one by one gives.

use std::collections::HashMap;

use anyhow::Context;
use index::{Ahead, Block, FaceIndex, Reach};
use ingest::SourceConfig;
use rayon::prelude::*;
use records::{Batch, EmbeddedEvent, FaceKey, FaceLink, FaceOrdinal};
use store::{Committed, LogEntry, NewFace, Reader};

use super::neighbours::{CommittedFaces, Hashes, MOST_LINKS, StoredVectors, link, stored_form};
use super::vector_cache::VectorCache;
use crate::config::Settings;
use crate::state::State;

/// Fewer new faces than this are compared one by one: a block visits every list.
const FROM: usize = 1024;

/// Whether so many new faces are worth a block, and their ordinals are as a block wants them.
pub fn fits(new: &[NewFace]) -> bool {
    new.len() >= FROM && new.windows(2).all(|pair| pair[0].ordinal.0 + 1 == pair[1].ordinal.0)
}

/// The faces of a batch, with what the index can work out before it is known which of them are new: by far the largest
/// part of it while the batch before this one is still being committed.
pub struct FacesAhead {
    rows: HashMap<FaceKey, u32>,
    index: Ahead,
}

impl FacesAhead {
    /// Of a batch with enough faces for a block, for an index with lists; otherwise `None`.
    ///
    /// # Errors
    /// If the index fails. Faces of another dimension are left for whoever commits the batch to refuse.
    pub fn of(batch: &Batch<EmbeddedEvent>, index: &FaceIndex) -> anyhow::Result<Option<Self>> {
        let photos = batch.items.iter().flat_map(|event| event.photos());
        let contents = photos.filter_map(|photo| Some((photo.key, photo.content.as_ref()?)));
        let faces = contents.flat_map(|(photo, content)| content.faces.iter().map(move |face| (photo, face)));
        let faces: Vec<_> =
            faces.filter(|(_, face)| face.embedding.dimension() == index.dimension()).collect();
        if faces.len() < FROM || !index.has_lists()? {
            return Ok(None);
        }
        let keys: Vec<FaceKey> =
            faces.par_iter().map(|(photo, face)| FaceKey::new(*photo, &face.embedding)).collect();
        // A face that stands there twice has the same vector in both places.
        let rows: HashMap<FaceKey, u32> = keys.into_iter().zip(0..).collect();
        let mut vectors = vec![0.0; faces.len() * index.dimension()];
        vectors
            .par_chunks_exact_mut(index.dimension())
            .zip(&faces)
            .for_each(|(row, (_, face))| row.copy_from_slice(&stored_form(face.embedding.as_slice())));
        let ahead = index.work_ahead(vectors).context("the lists of new faces cannot be found")?;
        Ok(Some(Self { rows, index: ahead }))
    }

    /// The rows of these faces, if all are among them.
    fn rows_of(&self, new: &[NewFace]) -> Option<Vec<u32>> {
        new.iter().map(|face| self.rows.get(&face.key).copied()).collect()
    }
}

/// Links between the new faces and the committed ones, and among the new faces; and the block to feed the index with.
pub fn links(
    new: &[NewFace],
    ahead: Option<&FacesAhead>,
    reader: &Reader,
    index: &FaceIndex,
    cache: &VectorCache,
    reach: Reach,
) -> anyhow::Result<(Vec<FaceLink>, Block)> {
    let first = new.first().map_or(0, |face| face.ordinal.0);
    let told = "the neighbours of new faces cannot be searched";
    let block = match ahead.and_then(|ahead| Some((ahead, ahead.rows_of(new)?))) {
        Some((ahead, rows)) => index.block_of(first, &ahead.index, &rows),
        None => {
            let vectors: Vec<Vec<f32>> =
                new.par_iter().map(|face| stored_form(face.embedding.as_slice())).collect();
            index.block(first, vectors.concat())
        }
    };
    let mut block = block.context(told)?;
    let asking: Vec<u32> = (0..).zip(new).filter(|(_, face)| face.linkable).map(|(row, _)| row).collect();
    let exact = StoredVectors::cached(reader, index.dimension(), cache);
    let mut found = index.block_neighbours(&mut block, &asking, reach, &exact).context(told)?;
    found.iter_mut().for_each(|neighbours| neighbours.truncate(MOST_LINKS));

    let named = found.iter().flatten().map(|neighbour| neighbour.ordinal);
    let committed = CommittedFaces::read(reader, named.filter(|ordinal| *ordinal < first).collect())?;
    let face_at = |ordinal: u64| match ordinal.checked_sub(first) {
        None => committed.get(FaceOrdinal(ordinal)).copied(),
        Some(row) => {
            let face = new.get(usize::try_from(row).ok()?)?;
            face.linkable.then(|| (face.key, Hashes::of(face)))
        }
    };
    let mut links: Vec<FaceLink> = asking
        .par_iter()
        .zip(found)
        .flat_map_iter(|(row, neighbours)| {
            let asked = &new[*row as usize];
            let (key, hashes) = (asked.key, Hashes::of(asked));
            neighbours.into_iter().filter_map(move |neighbour| {
                let (other, others) = face_at(neighbour.ordinal)?;
                let numbers = (asked.ordinal, FaceOrdinal(neighbour.ordinal));
                // Two faces of a picture are two people.
                let apart = key.photo != other.photo;
                apart.then(|| link(numbers, neighbour.cosine, (&hashes, &others))).flatten()
            })
        })
        .collect();
    // Two faces of one block find each other from either side.
    links.par_sort_unstable_by_key(|link| (link.newer, link.older));
    links.dedup_by_key(|link| (link.newer, link.older));
    Ok((links, block))
}

/// Lets the index take in what was committed with the block. What it does not take it gets from the log.
pub fn feed(index: &FaceIndex, committed: &Committed, block: &Block) -> anyhow::Result<()> {
    let (Some((first, _)), Some((last, _))) = (committed.log.first(), committed.log.last()) else {
        return Ok(());
    };
    let removed: Vec<u64> = committed
        .log
        .iter()
        .filter_map(|(_, entry)| match entry {
            LogEntry::Removed { ordinal } => Some(ordinal.0),
            LogEntry::Added { .. } => None,
        })
        .collect();
    let whole = committed.log.len() - removed.len() == block.len();
    let follows = index.live_sequence()?.is_none_or(|applied| applied + 1 == *first);
    if whole && follows {
        index.apply_block(*last, block, &removed).context("the face index cannot follow the state")?;
    }
    Ok(())
}

/// Trains the index on a sample of the faces that a backfill is about to read, where the configuration asks for an index
/// that wants training and there is none yet.
pub async fn train_first(settings: &Settings, state: &State) -> anyhow::Result<()> {
    let SourceConfig::Parquet(source) = &settings.source else { return Ok(()) };
    let (source, store, index) = (source.clone(), state.store.clone(), std::sync::Arc::clone(&state.index));
    let training = tokio::task::spawn_blocking(move || {
        let reader = store.reader();
        let Some(ahead) = ingest::FacesAhead::open(&source)? else { return Ok(()) };
        let read: u64 = reader.checkpoint().iter().map(|(_, position)| position.0).sum();
        let Some((factory, wanted)) = index.first_training(ahead.rows().saturating_sub(read))? else {
            return Ok(());
        };
        tracing::info!(factory, sample = wanted, rows = ahead.rows(), "training the face index on a sample");
        let started = std::time::Instant::now();
        let mut sample = index.begin_sample()?;
        let mut failed = None;
        ahead.sample(wanted, &mut |vector| {
            if failed.is_none() {
                failed = sample.push(vector).err();
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        let exact = StoredVectors::new(&reader, index.dimension());
        let trained =
            index.train_on(&factory, sample, &exact, &|step| tracing::debug!(?step, "training the index"));
        trained.context("the face index cannot be trained on a sample of the source")?;
        tracing::info!("the face index was trained in {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    });
    training.await.context("training the face index panicked")?
}
