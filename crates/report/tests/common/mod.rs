//! Snapshots to test with: written as Parquet by arrow alone, so that the reader meets files and not its own writer.
#![allow(dead_code)]

pub mod population;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use records::Timestamp;
use records::tables::{Reason, RunInfo, Tables};

/// How picture keys are written: both forms must read.
#[derive(Clone, Copy, PartialEq)]
pub enum Keys {
    Hex,
    Bytes,
}

pub fn write_snapshot(folder: &Path, tables: &Tables, run: &RunInfo, keys: Keys) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("run.json"), serde_json::to_vec_pretty(run).unwrap()).unwrap();
    write(folder, "clusters", clusters(tables));
    write(folder, "members", members(tables));
    write(folder, "evidence", evidence(tables, keys));
    write(folder, "accounts", accounts(tables));
}

pub fn write(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    let file = File::create(folder.join(format!("{name}.parquet"))).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn times(values: impl Iterator<Item = Option<Timestamp>>) -> ArrayRef {
    let micros: TimestampMicrosecondArray = values.map(|time| time.map(Timestamp::as_micros)).collect();
    Arc::new(micros.with_timezone("UTC"))
}

fn ints(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<Int32Array>())
}

fn longs(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn doubles(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<Float64Array>())
}

fn list_of_texts(lists: Vec<Vec<String>>) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
    let items = text(lists.iter().flatten().map(|item| Some(item.as_str())));
    Arc::new(ListArray::new(Arc::new(Field::new_list_field(DataType::Utf8, true)), offsets, items, None))
}

fn reasons<'a>(lists: impl Iterator<Item = &'a [Reason]> + Clone) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(lists.clone().map(<[Reason]>::len));
    let all = || lists.clone().flatten();
    let fields = Fields::from(vec![
        Field::new("signal", DataType::Utf8, true),
        Field::new("log_odds", DataType::Float64, true),
        Field::new("detail", DataType::Utf8, true),
    ]);
    let columns = vec![
        text(all().map(|r| Some(r.signal.as_str()))),
        doubles(all().map(|r| r.log_odds)),
        text(all().map(|r| Some(r.detail.as_str()))),
    ];
    let items = StructArray::new(fields.clone(), columns, None);
    let field = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    Arc::new(ListArray::new(field, offsets, Arc::new(items), None))
}

pub fn clusters(tables: &Tables) -> Vec<(&'static str, ArrayRef)> {
    let rows = || tables.clusters.iter();
    let weakest = || rows().map(|row| row.weakest_link.as_ref());
    let fields = Fields::from(vec![
        Field::new("account_a", DataType::Utf8, true),
        Field::new("account_b", DataType::Utf8, true),
        Field::new("weight", DataType::Float64, true),
        Field::new("separates", DataType::Int32, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        text(weakest().map(|w| w.map(|w| w.account_a.as_str()))),
        text(weakest().map(|w| w.map(|w| w.account_b.as_str()))),
        Arc::new(weakest().map(|w| w.map(|w| w.weight)).collect::<Float64Array>()),
        Arc::new(weakest().map(|w| w.map(|w| w.separates)).collect::<Int32Array>()),
    ];
    let valid = NullBuffer::from_iter(weakest().map(|w| w.is_some()));
    vec![
        ("cluster_id", text(rows().map(|r| Some(r.cluster_id.as_str())))),
        ("score", doubles(rows().map(|r| r.score))),
        ("accounts", ints(rows().map(|r| r.accounts))),
        ("photos", ints(rows().map(|r| r.photos))),
        ("identities", ints(rows().map(|r| r.identities))),
        ("first_seen", times(rows().map(|r| Some(r.first_seen)))),
        ("last_seen", times(rows().map(|r| Some(r.last_seen)))),
        ("kinds", list_of_texts(rows().map(|r| r.kinds.iter().map(ToString::to_string).collect()).collect())),
        ("reasons", reasons(rows().map(|r| r.reasons.as_slice()))),
        ("weakest_link", Arc::new(StructArray::new(fields, columns, Some(valid)))),
        ("change", text(rows().map(|r| Some(r.change.as_str())))),
        ("parents", list_of_texts(rows().map(|r| r.parents.clone()).collect())),
    ]
}

fn members(tables: &Tables) -> Vec<(&'static str, ArrayRef)> {
    let rows = || tables.members.iter();
    vec![
        ("cluster_id", text(rows().map(|r| Some(r.cluster_id.as_str())))),
        ("account_id", text(rows().map(|r| Some(r.account_id.as_str())))),
        ("score", doubles(rows().map(|r| r.score))),
        ("role", text(rows().map(|r| Some(r.role.as_str())))),
        ("reasons", reasons(rows().map(|r| r.reasons.as_slice()))),
    ]
}

fn evidence(tables: &Tables, keys: Keys) -> Vec<(&'static str, ArrayRef)> {
    let rows = || tables.evidence.iter();
    let pictures = |picture: fn(&records::tables::EvidenceRow) -> records::PhotoKey| -> ArrayRef {
        match keys {
            Keys::Hex => Arc::new(rows().map(|r| Some(picture(r).to_string())).collect::<StringArray>()),
            Keys::Bytes => {
                Arc::new(FixedSizeBinaryArray::try_from_iter(rows().map(|r| *picture(r).as_bytes())).unwrap())
            }
        }
    };
    vec![
        ("cluster_id", text(rows().map(|r| Some(r.cluster_id.as_str())))),
        ("account_a", text(rows().map(|r| Some(r.account_a.as_str())))),
        ("account_b", text(rows().map(|r| Some(r.account_b.as_str())))),
        ("kind", text(rows().map(|r| Some(r.kind.as_str())))),
        ("photo_a", text(rows().map(|r| Some(r.photo_a.as_str())))),
        ("photo_b", text(rows().map(|r| Some(r.photo_b.as_str())))),
        ("picture_a", pictures(|r| r.picture_a)),
        ("picture_b", pictures(|r| r.picture_b)),
        ("similarity", Arc::new(rows().map(|r| r.similarity).collect::<Float32Array>())),
        ("pdq_distance", Arc::new(rows().map(|r| r.pdq_distance).collect::<Int32Array>())),
        ("owners", ints(rows().map(|r| r.owners))),
        ("weight", doubles(rows().map(|r| r.weight))),
        ("observed_a", times(rows().map(|r| Some(r.observed_a)))),
        ("observed_b", times(rows().map(|r| Some(r.observed_b)))),
    ]
}

fn accounts(tables: &Tables) -> Vec<(&'static str, ArrayRef)> {
    let rows = || tables.accounts.iter();
    vec![
        ("account_id", text(rows().map(|r| Some(r.account_id.as_str())))),
        ("username", text(rows().map(|r| r.facts.username.as_deref()))),
        ("full_name", text(rows().map(|r| r.facts.full_name.as_deref()))),
        ("followers", longs(rows().map(|r| r.facts.followers))),
        ("following", longs(rows().map(|r| r.facts.following))),
        ("posts", longs(rows().map(|r| r.facts.posts))),
        ("created_at", times(rows().map(|r| r.facts.created_at))),
        ("verified", Arc::new(rows().map(|r| r.facts.verified).collect::<BooleanArray>())),
        ("first_seen", times(rows().map(|r| Some(r.first_seen)))),
        ("last_seen", times(rows().map(|r| Some(r.last_seen)))),
        ("photos", ints(rows().map(|r| r.photos))),
    ]
}
