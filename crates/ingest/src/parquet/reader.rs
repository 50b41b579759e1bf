//! Reads the files one after the other.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::{ChunkReader, Length};
use records::{Batch, CheckpointDelta, DeadLetter, EventBody, PartitionId, Position, ProfileEvent, Span};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::files::{SourceFile, find};
use super::layout::{Kind, Layout};
use super::{faces, profiles};
use crate::source::{Control, Sender};
use crate::{ParquetConfig, Positions, SourceError, SourceMessage};

/// Most rows decoded at once.
const PIECE_ROWS: usize = 1024;

/// A file whose footer was read and found good.
struct Checked {
    file: SourceFile,
    partition: PartitionId,
    rows: u64,
}

/// Files that fit each other, ready to be read.
pub(crate) struct Reader {
    config: ParquetConfig,
    positions: Arc<dyn Positions>,
    sender: Sender,
    control: Arc<Control>,
    stop: watch::Receiver<bool>,
    files: Vec<Checked>,
    kind: Kind,
    dimension: Option<usize>,
}

/// Why the reading ended before its end.
enum End {
    /// Nobody listens any more, or somebody said stop.
    Stopped,
    Failed(SourceError),
}

impl From<SourceError> for End {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

impl Reader {
    /// Finds the files and reads all their footers.
    ///
    /// # Errors
    /// [`SourceError::Path`], [`SourceError::Store`], [`SourceError::Damaged`] or [`SourceError::Schema`].
    pub(crate) fn open(
        config: &ParquetConfig,
        positions: Arc<dyn Positions>,
        sender: Sender,
        control: Arc<Control>,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, SourceError> {
        let mut files = Vec::new();
        let mut first: Option<(String, Layout)> = None;
        for file in find(config)? {
            let metadata = load(&file)?;
            let schema = |detail| SourceError::Schema { file: file.name.clone(), detail };
            let layout = Layout::of(metadata.schema()).map_err(schema)?;
            match &first {
                None => first = Some((file.name.clone(), layout)),
                Some((name, of_first)) => {
                    if let Some(difference) = of_first.difference(&layout) {
                        return Err(schema(format!("its columns differ from those of {name}: {difference}")));
                    }
                }
            }
            let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
            let partition = PartitionId::file(&format!("{}#{}", file.name, fingerprint(&file)?));
            files.push(Checked { file, partition, rows });
        }
        let kind = first.as_ref().map_or(Kind::Profiles, |(_, layout)| layout.kind);
        let dimension = first.and_then(|(_, layout)| layout.fixed_dimension());
        Ok(Self { config: config.clone(), positions, sender, control, stop, files, kind, dimension })
    }

    /// The dimension of every embedding, where the files' schema fixes one for one model pack.
    pub(crate) fn dimension(&self) -> Option<usize> {
        self.dimension
    }

    /// Rows of all files together that were not read yet.
    pub(crate) fn rows(&self) -> u64 {
        let read = |file: &Checked| self.positions.position(&file.partition).map_or(0, |position| position.0);
        self.files.iter().map(|file| file.rows.saturating_sub(read(file))).sum()
    }

    /// Reads from where the state stands to the end of the last file.
    pub(crate) fn run(self) {
        let ended = self.read();
        self.control.ended();
        if let Err(End::Failed(error)) = ended {
            tracing::error!(%error, "the source stops");
            let _ = self.sender.blocking_send(Err(error));
        }
    }

    fn read(&self) -> Result<(), End> {
        let partitions = self.files.iter().map(|file| file.partition.clone()).collect();
        self.send(SourceMessage::Assigned(partitions))?;
        for file in &self.files {
            let from = self.positions.position(&file.partition).map_or(0, |position| position.0);
            if from < file.rows {
                guarded(&file.file, || self.read_file(file, from))?;
            }
        }
        Ok(())
    }

    fn read_file(&self, file: &Checked, from: u64) -> Result<(), End> {
        tracing::info!(file = file.file.name, from, rows = file.rows, "reading");
        let metadata = load(&file.file)?;
        let layout = Layout::of(metadata.schema())
            .map_err(|detail| SourceError::Schema { file: file.file.name.clone(), detail })?;
        let damaged = |e: &dyn std::fmt::Display| file.file.damaged(e);
        let opened = file.file.open()?;
        let groups = metadata.metadata().row_groups();
        // Row groups that lie wholly before the position are never touched.
        let (mut skipped, mut before) = (0, 0);
        for group in groups {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            if before + rows > from {
                break;
            }
            skipped += 1;
            before += rows;
        }
        let names = layout.columns.iter().map(|(name, _)| *name);
        let mask = ProjectionMask::columns(metadata.parquet_schema(), names);
        let piece_rows = self.piece_rows(&metadata, &mask);
        let count = groups.len();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata)
            .with_projection(mask)
            .with_row_groups((skipped..count).collect())
            .with_offset(usize::try_from(from - before).unwrap_or(usize::MAX))
            .with_batch_size(piece_rows)
            .build()
            .map_err(|e| damaged(&e))?;
        let mut at = from;
        let mut cutter = Cutter::new(file.partition.clone(), from);
        for batch in reader {
            let batch = batch.map_err(|e| damaged(&e))?;
            self.take(file, &batch, at, &mut cutter)?;
            at += batch.num_rows() as u64;
            if at - cutter.from >= self.config.batch_rows as u64 || cutter.bytes >= self.config.batch_bytes {
                self.send(SourceMessage::Batch(cutter.cut(at)?))?;
            }
        }
        if cutter.from < at {
            self.send(SourceMessage::Batch(cutter.cut(at)?))?;
        }
        if at == file.rows {
            Ok(())
        } else {
            let detail = format!("its footer promises {} rows, but {at} could be read", file.rows);
            Err(End::Failed(SourceError::Damaged { file: file.file.name.clone(), detail }))
        }
    }

    /// Rows decoded at once: few enough that their columns stay within `batch_bytes`, judged by the widest row group. The
    /// columns' sizes are those of the encoded values, and a dictionary makes wide ones look narrow; so a batch is put
    /// together from several such pieces, whose real size is then known.
    fn piece_rows(&self, metadata: &ArrowReaderMetadata, mask: &ProjectionMask) -> usize {
        let width = |group: &parquet::file::metadata::RowGroupMetaData| {
            let columns = group.columns().iter().enumerate().filter(|(at, _)| mask.leaf_included(*at));
            let bytes: i64 = columns.map(|(_, column)| column.uncompressed_size()).sum();
            bytes / group.num_rows().max(1)
        };
        let widest = metadata.metadata().row_groups().iter().map(width).max().unwrap_or(1).max(1);
        let fitting = self.config.batch_bytes / usize::try_from(widest).unwrap_or(1);
        fitting.clamp(1, self.config.batch_rows.min(PIECE_ROWS))
    }

    /// Takes rows into the batch that is being put together; hands batches on that have enough photos.
    fn take(&self, file: &Checked, rows: &RecordBatch, first: u64, cutter: &mut Cutter) -> Result<(), End> {
        let read = match self.kind {
            Kind::Profiles => profiles::events(rows, &file.partition, first),
            Kind::Faces => faces::events(rows, &file.partition, first),
        };
        cutter.bytes += rows.get_array_memory_size();
        for event in read.map_err(|e| file.file.damaged(&e))? {
            if cutter.photos >= self.config.batch_photos {
                self.send(SourceMessage::Batch(cutter.cut(position(&event))?))?;
            }
            cutter.push(event);
        }
        Ok(())
    }

    fn send(&self, message: SourceMessage) -> Result<(), End> {
        if *self.stop.borrow() || self.control.is_closing() {
            return Err(End::Stopped);
        }
        self.sender.blocking_send(Ok(message)).map_err(|_| End::Stopped)
    }
}

/// Cuts the events of some rows into batches of not too many photos.
struct Cutter {
    partition: PartitionId,
    from: u64,
    photos: usize,
    /// Of the decoded columns.
    bytes: usize,
    items: Vec<ProfileEvent>,
    dead: Vec<DeadLetter>,
}

impl Cutter {
    fn new(partition: PartitionId, from: u64) -> Self {
        Self { partition, from, photos: 0, bytes: 0, items: Vec::new(), dead: Vec::new() }
    }

    fn push(&mut self, event: Result<ProfileEvent, Box<DeadLetter>>) {
        let outcome = if event.is_ok() { "event" } else { "dead" };
        metrics::counter!("facering_ingest_records_total", "outcome" => outcome).increment(1);
        match event {
            Ok(event) => {
                if let EventBody::Replace { photos, .. } = &event.body {
                    self.photos += photos.len();
                }
                self.items.push(event);
            }
            Err(letter) => self.dead.push(*letter),
        }
    }

    /// The batch up to the row `to`, exclusive; the next one starts there.
    fn cut(&mut self, to: u64) -> Result<Batch<ProfileEvent>, SourceError> {
        let mut delta = CheckpointDelta::default();
        delta.extend(self.partition.clone(), Span { from: Position(self.from), to: Position(to) })?;
        self.from = to;
        self.photos = 0;
        self.bytes = 0;
        Ok(Batch { items: std::mem::take(&mut self.items), dead: std::mem::take(&mut self.dead), delta })
    }
}

fn position(event: &Result<ProfileEvent, Box<DeadLetter>>) -> u64 {
    match event {
        Ok(event) => event.origin.position.0,
        Err(letter) => letter.origin.position.0,
    }
}

pub(super) fn load(file: &SourceFile) -> Result<ArrowReaderMetadata, SourceError> {
    let opened = file.open()?;
    guarded(file, || {
        ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new()).map_err(|e| file.damaged(&e))
    })
}

/// The last resort against a fault in the Parquet reader: a file that makes it panic is a damaged file.
fn guarded<T, E: From<SourceError>>(file: &SourceFile, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let reading = std::panic::AssertUnwindSafe(read);
    match std::panic::catch_unwind(reading) {
        Ok(result) => result,
        Err(_) => Err(file.damaged(&"the reader broke on it").into()),
    }
}

/// Tells a file's content from that of another file of the same name: the hash of its footer, which knows the sizes and
/// bounds of every column. So tomorrow's export under today's names is read, and today's is not read twice.
fn fingerprint(file: &SourceFile) -> Result<String, SourceError> {
    /// The length of the footer and the magic number.
    const TAIL: usize = 8;
    let opened = file.open()?;
    let read = |back: u64, length| -> parquet::errors::Result<bytes::Bytes> {
        opened.get_bytes(opened.len().saturating_sub(back), length)
    };
    let footer = read(TAIL as u64, TAIL).and_then(|tail| {
        let length = tail.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length));
        read(u64::from(length) + TAIL as u64, length as usize)
    });
    let footer = footer.map_err(|e| file.damaged(&e))?;
    let digest = Sha256::digest(&footer);
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
