//! `faces.parquet` and `truth.parquet`, streamed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, FixedSizeListArray, Float32Array, Float32Builder,
    Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Space, embedding, photo_pdq, photo_sha256};
use crate::SimulateError;
use crate::population::{Account, Population};
use crate::truth::TruthWriter;

/// Accounts whose rows are made and written together: bounds memory to some 10 MB at 128 dimensions.
const CHUNK: usize = 4_096;
/// Bytes of embeddings in a row group, which stand in memory until it is written.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// What `faces.parquet` holds besides accounts, photos, times, embeddings and widths.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct FaceOptions {
    /// Which network's embeddings are imitated.
    pub space: Space,
    /// Whether to write `photo_sha256`.
    pub sha256: bool,
    /// Whether to write `photo_pdq`.
    pub pdq: bool,
    /// Whether to write the profile columns.
    pub profiles: bool,
    /// The column `pack`, if it shall stand there.
    pub pack: Option<String>,
}

impl Default for FaceOptions {
    fn default() -> Self {
        Self { space: Space::default(), sha256: true, pdq: true, profiles: true, pack: None }
    }
}

/// What was written.
#[derive(Serialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Accounts.
    pub accounts: u64,
    /// Photos of accounts; one on ten accounts counts ten times.
    pub photos: u64,
    /// Faces, likewise.
    pub faces: u64,
    /// Bots.
    pub bots: u64,
    /// Victims.
    pub victims: u64,
    /// Rings.
    pub rings: u32,
    /// Files, in the order in which they were made.
    pub files: Vec<PathBuf>,
}

impl Written {
    pub(crate) fn count(&mut self, account: &Account) {
        use crate::population::TrueRole;
        self.accounts += 1;
        self.photos += account.photos.len() as u64;
        self.faces += account.photos.iter().map(|p| p.picture.original.faces.len() as u64).sum::<u64>();
        self.bots += u64::from(account.label.role == TrueRole::Bot);
        self.victims += u64::from(account.label.role == TrueRole::Victim);
    }
}

/// Writes `faces.parquet` and `truth.parquet` into a folder, which is made if need be. The same population and options
/// give the same bytes.
///
/// # Errors
/// [`SimulateError`] if the folder or the files cannot be written.
pub fn write_faces(
    population: &Population,
    options: &FaceOptions,
    folder: &Path,
) -> Result<Written, SimulateError> {
    std::fs::create_dir_all(folder).map_err(SimulateError::file(folder))?;
    let path = folder.join("faces.parquet");
    let mut truth = TruthWriter::create(&folder.join("truth.parquet"))?;
    let schema = schema(options);
    let file = File::create(&path).map_err(SimulateError::file(&path))?;
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties(options.space)))
        .map_err(SimulateError::parquet(&path))?;
    let mut written = Written { rings: population.rings(), ..Written::default() };
    for block in population.blocks() {
        for accounts in block.chunks(CHUNK) {
            let batch = rows(accounts, options, &schema).map_err(SimulateError::columns(&path))?;
            writer.write(&batch).map_err(SimulateError::parquet(&path))?;
            truth.write(accounts)?;
            accounts.iter().for_each(|account| written.count(account));
        }
    }
    writer.close().map_err(SimulateError::parquet(&path))?;
    written.files = vec![path, truth.close()?];
    Ok(written)
}

fn properties(space: Space) -> WriterProperties {
    let rows = ROW_GROUP_BYTES / (4 * space.dimension());
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(rows));
    // Random numbers and hashes gain nothing from a dictionary.
    for column in ["embedding.list.item", "photo_sha256", "photo_pdq"] {
        let column = column.split('.').map(str::to_owned).collect::<Vec<_>>();
        properties = properties.set_column_dictionary_enabled(ColumnPath::new(column), false);
    }
    properties.build()
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema(options: &FaceOptions) -> Arc<Schema> {
    let mut fields = vec![
        Field::new("account_id", DataType::Utf8, false),
        Field::new("photo_id", DataType::Utf8, false),
        Field::new("observed_at", instant(), false),
        Field::new("embedding", DataType::FixedSizeList(item(), options.space.dimension() as i32), true),
        Field::new("face_width_px", DataType::Float32, true),
    ];
    if options.sha256 {
        fields.push(Field::new("photo_sha256", DataType::FixedSizeBinary(32), false));
    }
    if options.pdq {
        fields.push(Field::new("photo_pdq", DataType::FixedSizeBinary(32), false));
    }
    if options.profiles {
        fields.extend([
            Field::new("username", DataType::Utf8, true),
            Field::new("full_name", DataType::Utf8, true),
            Field::new("followers", DataType::Int64, true),
            Field::new("following", DataType::Int64, true),
            Field::new("posts", DataType::Int64, true),
            Field::new("created_at", instant(), true),
            Field::new("verified", DataType::Boolean, true),
        ]);
    }
    if options.pack.is_some() {
        fields.push(Field::new("pack", DataType::Utf8, false));
    }
    Arc::new(Schema::new(fields))
}

/// One row a face, and one for a photo without a face.
fn rows(
    accounts: &[Account],
    options: &FaceOptions,
    schema: &Arc<Schema>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let dimension = options.space.dimension();
    let slots: Vec<_> = accounts
        .iter()
        .flat_map(|account| account.photos.iter().map(move |photo| (account, photo)))
        .flat_map(|(account, photo)| {
            let faces = &photo.picture.original.faces;
            let shown = faces.iter().map(Some).chain(faces.is_empty().then_some(None));
            shown.map(move |face| (account, photo, face))
        })
        .collect();
    let mut values = vec![0.0_f32; slots.len() * dimension];
    values.par_chunks_mut(dimension).zip(&slots).for_each(|(row, (_, photo, face))| {
        if let Some(face) = face {
            row.copy_from_slice(&embedding(options.space, &photo.picture, face));
        }
    });
    let present = NullBuffer::from_iter(slots.iter().map(|(_, _, face)| face.is_some()));

    let (mut ids, mut photos) = (StringBuilder::new(), StringBuilder::new());
    let mut observed = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut widths = Float32Builder::new();
    let (mut sha256, mut pdq) = (FixedSizeBinaryBuilder::new(32), FixedSizeBinaryBuilder::new(32));
    let (mut username, mut full_name) = (StringBuilder::new(), StringBuilder::new());
    let (mut followers, mut following, mut posts) =
        (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let mut created = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut verified = BooleanBuilder::new();
    let mut packs = StringBuilder::new();
    for (account, photo, face) in &slots {
        ids.append_value(account.id.as_str());
        photos.append_value(photo.id.as_str());
        observed.append_value(photo.observed_at.as_micros());
        widths.append_option(face.map(|face| photo.picture.face_width(face)));
        if options.sha256 {
            sha256.append_value(photo_sha256(&photo.picture))?;
        }
        if options.pdq {
            pdq.append_value(photo_pdq(&photo.picture).bits)?;
        }
        if options.profiles {
            let facts = &account.facts;
            username.append_option(facts.username.as_deref());
            full_name.append_option(facts.full_name.as_deref());
            followers.append_option(facts.followers);
            following.append_option(facts.following);
            posts.append_option(facts.posts);
            created.append_option(facts.created_at.map(|at| at.as_micros()));
            verified.append_option(facts.verified);
        }
        if let Some(pack) = &options.pack {
            packs.append_value(pack);
        }
    }
    let embeddings = FixedSizeListArray::try_new(
        item(),
        dimension as i32,
        Arc::new(Float32Array::from(values)),
        Some(present),
    )?;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(ids.finish()),
        Arc::new(photos.finish()),
        Arc::new(observed.finish()),
        Arc::new(embeddings),
        Arc::new(widths.finish()),
    ];
    if options.sha256 {
        columns.push(Arc::new(sha256.finish()));
    }
    if options.pdq {
        columns.push(Arc::new(pdq.finish()));
    }
    if options.profiles {
        columns.extend([
            Arc::new(username.finish()) as ArrayRef,
            Arc::new(full_name.finish()),
            Arc::new(followers.finish()),
            Arc::new(following.finish()),
            Arc::new(posts.finish()),
            Arc::new(created.finish()),
            Arc::new(verified.finish()),
        ]);
    }
    if options.pack.is_some() {
        columns.push(Arc::new(packs.finish()));
    }
    RecordBatch::try_new(schema.clone(), columns)
}
