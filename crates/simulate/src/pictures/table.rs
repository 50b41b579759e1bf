//! `profiles.parquet`: the events as rows.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray, StringBuilder,
    StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use records::{EventBody, PhotoRef, PhotoSource, ProfileEvent, ProfileFacts, Timestamp};

use crate::SimulateError;

/// Events in a record batch, so that inline pictures do not stand in memory twice.
const CHUNK: usize = 256;

/// Writes the events, with the pictures in place of URLs if they are given.
pub(super) fn write(
    events: &[ProfileEvent],
    inline: Option<&HashMap<String, Bytes>>,
    url_prefix: &str,
    path: &Path,
) -> Result<(), SimulateError> {
    let schema = schema();
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let file = File::create(path).map_err(SimulateError::file(path))?;
    let mut writer =
        ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(SimulateError::parquet(path))?;
    for events in events.chunks(CHUNK) {
        let batch = rows(events, inline, url_prefix, &schema).map_err(SimulateError::columns(path))?;
        writer.write(&batch).map_err(SimulateError::parquet(path))?;
        if inline.is_some() {
            writer.flush().map_err(SimulateError::parquet(path))?;
        }
    }
    writer.close().map_err(SimulateError::parquet(path))?;
    Ok(())
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn photo_fields() -> Fields {
    Fields::from(vec![
        Field::new("photo_id", DataType::Utf8, false),
        Field::new("url", DataType::Utf8, true),
        Field::new("image", DataType::Binary, true),
    ])
}

fn photo_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(photo_fields()), false))
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("account_id", DataType::Utf8, false),
        Field::new("observed_at", instant(), false),
        Field::new("photos", DataType::List(photo_item()), false),
        Field::new("username", DataType::Utf8, true),
        Field::new("full_name", DataType::Utf8, true),
        Field::new("followers", DataType::Int64, true),
        Field::new("following", DataType::Int64, true),
        Field::new("posts", DataType::Int64, true),
        Field::new("created_at", instant(), true),
        Field::new("verified", DataType::Boolean, true),
    ]))
}

fn rows(
    events: &[ProfileEvent],
    inline: Option<&HashMap<String, Bytes>>,
    url_prefix: &str,
    schema: &Arc<Schema>,
) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<(&ProfileEvent, &[PhotoRef], &ProfileFacts)> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Replace { photos, facts } => Some((event, photos.as_slice(), facts)),
            EventBody::Deleted | EventBody::Faces { .. } => None,
        })
        .collect();
    let (mut ids, mut urls, mut images) = (StringBuilder::new(), StringBuilder::new(), BinaryBuilder::new());
    for photo in rows.iter().flat_map(|(_, photos, _)| photos.iter()) {
        ids.append_value(photo.photo_id.as_str());
        let url = match &photo.source {
            PhotoSource::Url(url) => Some(url.expose()),
            PhotoSource::Inline(_) => None,
        };
        let image = inline.and_then(|all| all.get(url?.strip_prefix(url_prefix)?));
        images.append_option(image);
        urls.append_option(if image.is_some() { None } else { url });
    }
    let columns: Vec<ArrayRef> =
        vec![Arc::new(ids.finish()), Arc::new(urls.finish()), Arc::new(images.finish())];
    let photos = StructArray::try_new(photo_fields(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|(_, photos, _)| photos.len()));
    let photos = ListArray::try_new(photo_item(), offsets, Arc::new(photos), None)?;

    let facts = || rows.iter().map(|(_, _, facts)| *facts);
    let micros = |time: Timestamp| time.as_micros();
    let observed = rows.iter().map(|(event, _, _)| Some(event.observed_at.as_micros()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(event, _, _)| event.account.as_str()))),
        Arc::new(TimestampMicrosecondArray::from_iter(observed).with_timezone("UTC")),
        Arc::new(photos),
        Arc::new(StringArray::from_iter(facts().map(|f| f.username.as_deref()))),
        Arc::new(StringArray::from_iter(facts().map(|f| f.full_name.as_deref()))),
        Arc::new(Int64Array::from_iter(facts().map(|f| f.followers))),
        Arc::new(Int64Array::from_iter(facts().map(|f| f.following))),
        Arc::new(Int64Array::from_iter(facts().map(|f| f.posts))),
        Arc::new(
            TimestampMicrosecondArray::from_iter(facts().map(|f| f.created_at.map(micros)))
                .with_timezone("UTC"),
        ),
        Arc::new(BooleanArray::from_iter(facts().map(|f| f.verified))),
    ];
    RecordBatch::try_new(schema.clone(), columns)
}
