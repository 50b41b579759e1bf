//! The opened state: store, index and model pack, which have to fit together.

use std::sync::Arc;

use anyhow::{Context, bail};
use embed::ModelPack;
use index::FaceIndex;
use store::{LogEntry, Reader, Store};

use crate::config::Settings;

/// Log entries fed to the index at once; bounds the vectors held in memory.
const FEED: usize = 8192;

/// Store, index and pack of one state folder.
pub struct State {
    /// The durable state.
    pub store: Store,
    /// The face index, caught up with the store's log.
    pub index: Arc<FaceIndex>,
    /// The model pack whose embeddings the state holds.
    pub pack: ModelPack,
}

impl State {
    /// Opens the folder and brings the index up to the store's log.
    ///
    /// With a runtime, an index of many lists assigns vectors to them several times faster.
    pub fn open(settings: &Settings, runtime: Option<&inference::Runtime>) -> anyhow::Result<Self> {
        let pack = embed::load_pack(&settings.models)?;
        let store = Store::open(&settings.state)?;
        let reader = store.reader();
        if let Some(state_pack) = reader.pack()
            && state_pack != pack.id()
        {
            bail!(
                "the state in {} holds faces of the model pack {state_pack}, but models.pack is {new}; set models.pack to \
                 {state_pack}, or bring in {new} beside it with `facering run --beside` and `facering models switch {new}`",
                settings.state.path.display(),
                new = pack.id()
            );
        }
        let folder = settings.state.path.join("index");
        let index = FaceIndex::open_with(&folder, pack.dimension(), &settings.index, runtime)
            .with_context(|| format!("the face index in {} cannot be opened", folder.display()))?;
        feed_index(&index, &reader)?;
        Ok(Self { store, index: Arc::new(index), pack })
    }
}

/// Lets the index apply what the store's log has beyond it.
pub fn feed_index(index: &FaceIndex, reader: &Reader) -> anyhow::Result<()> {
    let told = "the face index cannot follow the state";
    if index.live_sequence()?.map_or(0, |last| last + 1) < reader.log_range().start {
        refill_index(index, reader).context(told)?;
    }
    loop {
        let from = index.live_sequence()?.map_or(0, |last| last + 1);
        let entries = reader.log_since(from)?.take(FEED).collect::<Result<Vec<_>, _>>()?;
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (_, entry) in &entries {
            match entry {
                // A face that is gone already has no vector; the entry that removes it follows.
                LogEntry::Added { ordinal } => {
                    added.extend(reader.vector_of(*ordinal)?.map(|v| (ordinal.0, v)))
                }
                LogEntry::Removed { ordinal } => removed.push(ordinal.0),
            }
        }
        let borrowed: Vec<(u64, &[f32])> =
            added.iter().map(|(at, vector)| (*at, vector.as_slice())).collect();
        index.apply(*last, &borrowed, &removed).context(told)?;
    }
}

/// Fills an index that is behind the log's beginning (its folder was lost, or is an old copy) from the faces of the state.
/// Faces of the copy that the state no longer has stay in it; searches pass them over.
fn refill_index(index: &FaceIndex, reader: &Reader) -> anyhow::Result<()> {
    let end = reader.next_ordinal().0;
    tracing::warn!(faces = reader.counts().faces, "the face index is filled again from the state");
    let mut first = 0;
    while first < end {
        let next = end.min(first + FEED as u64);
        let ordinals: Vec<_> = (first..next).map(records::FaceOrdinal).collect();
        let vectors = reader.vectors(&ordinals)?;
        let added: Vec<(u64, &[f32])> = ordinals
            .iter()
            .zip(&vectors)
            .filter_map(|(ordinal, vector)| Some((ordinal.0, vector.as_deref()?)))
            .collect();
        index.add(&added)?;
        first = next;
    }
    // From here on the log knows everything.
    if let Some(last) = reader.log_range().start.checked_sub(1) {
        index.apply(last, &[], &[])?;
    }
    Ok(())
}
