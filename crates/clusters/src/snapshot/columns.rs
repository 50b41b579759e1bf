//! From rows to columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use records::Timestamp;
use records::tables::{AccountRow, ClusterRow, EvidenceRow, MemberRow, Reason, TABLES_VERSION};

use crate::snapshot::schema;

fn texts<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn ints(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn times(values: impl Iterator<Item = Timestamp>) -> ArrayRef {
    let micros = TimestampMicrosecondArray::from_iter_values(values.map(Timestamp::as_micros));
    Arc::new(micros.with_timezone("UTC"))
}

fn list(lengths: impl Iterator<Item = usize>, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let item = Arc::new(Field::new("item", values.data_type().clone(), false));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?))
}

fn reasons<'a>(rows: impl Iterator<Item = &'a [Reason]> + Clone) -> Result<ArrayRef, ArrowError> {
    let all = || rows.clone().flatten();
    let columns = vec![
        texts(all().map(|r| &r.signal)),
        floats(all().map(|r| r.log_odds)),
        texts(all().map(|r| &r.detail)),
    ];
    let values = StructArray::try_new(schema::reason(), columns, None)?;
    list(rows.map(<[Reason]>::len), Arc::new(values))
}

fn batch(schema: Schema, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    // Readers built on Arrow look for the version here, others in the file's own metadata; it stands in both.
    let version = [(schema::VERSION_KEY.to_owned(), TABLES_VERSION.to_owned())];
    RecordBatch::try_new(Arc::new(schema.with_metadata(version)), columns)
}

pub(crate) fn clusters(rows: &[ClusterRow]) -> Result<RecordBatch, ArrowError> {
    let weakest = || rows.iter().map(|r| r.weakest_link.as_ref());
    let account = |id: Option<&records::AccountId>| id.map_or_else(String::new, |a| a.as_str().to_owned());
    let present: NullBuffer = weakest().map(|w| w.is_some()).collect::<Vec<bool>>().into();
    let link = StructArray::try_new(
        schema::weakest_link(),
        vec![
            texts(weakest().map(|w| account(w.map(|w| &w.account_a)))),
            texts(weakest().map(|w| account(w.map(|w| &w.account_b)))),
            floats(weakest().map(|w| w.map_or(0.0, |w| w.weight))),
            ints(weakest().map(|w| w.map_or(0, |w| w.separates))),
        ],
        Some(present),
    )?;
    batch(
        schema::clusters(),
        vec![
            texts(rows.iter().map(|r| &r.cluster_id)),
            floats(rows.iter().map(|r| r.score)),
            ints(rows.iter().map(|r| r.accounts)),
            ints(rows.iter().map(|r| r.photos)),
            ints(rows.iter().map(|r| r.identities)),
            times(rows.iter().map(|r| r.first_seen)),
            times(rows.iter().map(|r| r.last_seen)),
            list(
                rows.iter().map(|r| r.kinds.len()),
                texts(rows.iter().flat_map(|r| r.kinds.iter().map(|k| k.as_str()))),
            )?,
            reasons(rows.iter().map(|r| r.reasons.as_slice()))?,
            Arc::new(link),
            texts(rows.iter().map(|r| r.change.as_str())),
            list(rows.iter().map(|r| r.parents.len()), texts(rows.iter().flat_map(|r| &r.parents)))?,
        ],
    )
}

pub(crate) fn members(rows: &[MemberRow]) -> Result<RecordBatch, ArrowError> {
    batch(
        schema::members(),
        vec![
            texts(rows.iter().map(|r| &r.cluster_id)),
            texts(rows.iter().map(|r| r.account_id.as_str())),
            floats(rows.iter().map(|r| r.score)),
            texts(rows.iter().map(|r| r.role.as_str())),
            reasons(rows.iter().map(|r| r.reasons.as_slice()))?,
        ],
    )
}

pub(crate) fn evidence(rows: &[EvidenceRow]) -> Result<RecordBatch, ArrowError> {
    batch(
        schema::evidence(),
        vec![
            texts(rows.iter().map(|r| &r.cluster_id)),
            texts(rows.iter().map(|r| r.account_a.as_str())),
            texts(rows.iter().map(|r| r.account_b.as_str())),
            texts(rows.iter().map(|r| r.kind.as_str())),
            texts(rows.iter().map(|r| r.photo_a.as_str())),
            texts(rows.iter().map(|r| r.photo_b.as_str())),
            texts(rows.iter().map(|r| r.picture_a.to_string())),
            texts(rows.iter().map(|r| r.picture_b.to_string())),
            Arc::new(rows.iter().map(|r| r.similarity).collect::<Float32Array>()),
            Arc::new(rows.iter().map(|r| r.pdq_distance).collect::<Int32Array>()),
            ints(rows.iter().map(|r| r.owners)),
            floats(rows.iter().map(|r| r.weight)),
            times(rows.iter().map(|r| r.observed_a)),
            times(rows.iter().map(|r| r.observed_b)),
        ],
    )
}

pub(crate) fn accounts(rows: &[AccountRow]) -> Result<RecordBatch, ArrowError> {
    let created = rows.iter().map(|r| r.facts.created_at.map(Timestamp::as_micros));
    let created = created.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    batch(
        schema::accounts(),
        vec![
            texts(rows.iter().map(|r| r.account_id.as_str())),
            Arc::new(rows.iter().map(|r| r.facts.username.as_deref()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.facts.full_name.as_deref()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.facts.followers).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.facts.following).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.facts.posts).collect::<Int64Array>()),
            Arc::new(created),
            Arc::new(rows.iter().map(|r| r.facts.verified).collect::<BooleanArray>()),
            times(rows.iter().map(|r| r.first_seen)),
            times(rows.iter().map(|r| r.last_seen)),
            ints(rows.iter().map(|r| r.photos)),
        ],
    )
}

/// Whether a file has the columns that this program writes.
pub(crate) fn same_columns(found: &Schema, wanted: &Schema) -> bool {
    let shape = |s: &Schema| -> Vec<(String, DataType)> {
        s.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
    };
    shape(found) == shape(wanted)
}
