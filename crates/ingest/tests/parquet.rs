//! The Parquet source on real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    Float16Array, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray, ListArray,
    RecordBatch, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type};
use ingest::{ParquetConfig, Source, SourceConfig, SourceError, SourceMessage};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use records::{
    Batch, Checkpoint, DeadLetterReason, EventBody, PartitionId, PhotoSource, Position, ProfileEvent,
};
use tokio::sync::watch;

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group_rows: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn times(seconds: &[i64]) -> ArrayRef {
    let micros: Vec<i64> = seconds.iter().map(|s| s * 1_000_000).collect();
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

fn vectors(rows: Vec<Option<Vec<Option<f32>>>>, length: i32) -> ArrayRef {
    Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, length))
}

fn faces(accounts: &[&str], photos: &[&str], seconds: &[i64]) -> Vec<(&'static str, ArrayRef)> {
    let vector = |n: usize| Some(vec![Some(1.0), Some(n as f32), Some(0.5), Some(0.0)]);
    vec![
        ("account_id", texts(accounts)),
        ("photo_id", texts(photos)),
        ("observed_at", times(seconds)),
        ("embedding", vectors((0..accounts.len()).map(vector).collect(), 4)),
    ]
}

async fn open(config: ParquetConfig, state: &Checkpoint) -> Result<Source, SourceError> {
    let state = state.clone();
    let (stop, stopped) = watch::channel(false);
    // Kept for the whole test, as the binary would.
    std::mem::forget(stop);
    let positions = Arc::new(move |partition: &PartitionId| state.position(partition));
    Source::open(&SourceConfig::Parquet(config), positions, stopped).await
}

fn config(path: &Path) -> ParquetConfig {
    ParquetConfig { path: path.into(), ..Default::default() }
}

async fn read(
    config: ParquetConfig,
    state: &mut Checkpoint,
) -> Result<Vec<Batch<ProfileEvent>>, SourceError> {
    let mut source = open(config, state).await?;
    let mut batches = Vec::new();
    while let Some(message) = source.next().await? {
        if let SourceMessage::Batch(batch) = message {
            state.apply(&batch.delta).unwrap();
            batches.push(batch);
        }
    }
    source.close().await;
    Ok(batches)
}

fn events(batches: Vec<Batch<ProfileEvent>>) -> Vec<ProfileEvent> {
    batches.into_iter().flat_map(|b| b.items).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_grouped_and_resumed_in_the_middle_of_a_row_group() {
    let folder = tempfile::tempdir().unwrap();
    let accounts: Vec<String> = (0..100).map(|n| format!("a{:02}", n / 3)).collect();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    write(&folder.path().join("x/faces.parquet"), faces(&accounts, &["p"; 100], &[5; 100]), 40);
    let mut state = Checkpoint::default();
    let whole = events(read(config(folder.path()), &mut state).await.unwrap());
    let (partition, end) = state.iter().map(|(of, end)| (of.clone(), end)).next().unwrap();
    assert!(partition.as_str().starts_with("file:x/faces.parquet#"), "{partition}");
    assert_eq!(end, Position(100));
    assert_eq!(whole.len(), 34, "three rows of an account are one event");
    assert_eq!(whole[1].origin.position, Position(3));
    let EventBody::Faces { faces: given, facts } = &whole[1].body else { panic!("no faces") };
    assert_eq!((given.len(), facts), (3, &None));
    let embedding = given[0].embedding.as_ref().unwrap();
    assert!((embedding.as_slice()[1] - 3.0 / (1.0f32 + 9.0 + 0.25).sqrt()).abs() < 1e-6, "normalised");

    for start in [1, 40, 57, 99, 100] {
        let mut state = Checkpoint::default();
        state.restore(partition.clone(), Position(start));
        let config = ParquetConfig { batch_rows: 7, ..config(folder.path()) };
        let batches = read(config, &mut state).await.unwrap();
        assert_eq!(state.position(&partition), Some(Position(100)));
        assert!(batches.iter().all(|b| b.items.len() <= 7));
        let rows: Vec<f32> = events(batches)
            .into_iter()
            .flat_map(|e| match e.body {
                EventBody::Faces { faces, .. } => faces,
                other => panic!("{other:?}"),
            })
            .map(|f| f.embedding.unwrap())
            .map(|e| (e.as_slice()[1] / e.as_slice()[0]).round())
            .collect();
        assert_eq!(rows, (start..100).map(|n| n as f32).collect::<Vec<_>>());
    }
    // Another file under the same name is read, and then the first one is still known.
    write(&folder.path().join("x/faces.parquet"), faces(&["b"], &["q"], &[5]), 40);
    assert_eq!(events(read(config(folder.path()), &mut state).await.unwrap()).len(), 1);
    assert_eq!((state.iter().count(), state.position(&partition)), (2, Some(Position(100))));
}

#[tokio::test(flavor = "multi_thread")]
async fn optional_columns_of_faces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    let hash: Vec<Vec<u8>> = vec![vec![0; 32], vec![7; 32], vec![1; 32]];
    let mut columns = faces(&["a", "b", "c"], &["p", "p", "p"], &[1, 2, 3]);
    columns[3].1 = vectors(vec![Some(vec![Some(1.0); 4]), None, Some(vec![Some(2.0); 4])], 4);
    columns.push(("photo_sha256", Arc::new(FixedSizeBinaryArray::try_from_iter(hash.iter()).unwrap())));
    columns
        .push(("photo_pdq", Arc::new(BinaryArray::from(vec![None, Some(&[3u8; 32][..]), Some(&[0; 32])]))));
    columns.push(("face_width_px", Arc::new(Float64Array::from(vec![Some(80.5), None, None]))));
    columns.push(("pack", Arc::new(StringArray::from(vec![None, None, Some("other-pack")]))));
    columns.push(("followers", Arc::new(Int32Array::from(vec![Some(4), None, Some(5)]))));
    columns.push(("ignored", texts(&["x", "y", "z"])));
    write(&path, columns, 100);
    let mut found = Vec::new();
    for event in events(read(config(&path), &mut Checkpoint::default()).await.unwrap()) {
        let EventBody::Faces { faces, facts } = event.body else { panic!("no faces") };
        found.push((faces[0].clone(), facts.unwrap().followers));
    }
    assert_eq!(found[0].0.photo_sha256, None, "all zero means unknown");
    assert_eq!(found[1].0.photo_sha256.unwrap().as_bytes(), &[7; 32]);
    assert_eq!((found[1].0.photo_pdq.unwrap().bits, found[2].0.photo_pdq), ([3; 32], None));
    assert!(found[1].0.embedding.is_none(), "a photo without a face");
    assert_eq!((found[0].0.face_width_px, found[1].0.face_width_px), (Some(80.5), None));
    assert_eq!(found[2].0.pack.as_ref().unwrap().as_str(), "other-pack");
    assert_eq!((found[0].1, found[1].1), (Some(4), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_tolerated() {
    let list = |values: ArrayRef, item: DataType| -> ArrayRef {
        let field = Arc::new(Field::new_list_field(item, true));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([2, 2]), values, None))
    };
    let half = |v: f32| half::f16::from_f32(v);
    let embeddings: Vec<ArrayRef> = vec![
        list(Arc::new(Float32Array::from(vec![3.0, 4.0, 1.0, 0.0])), DataType::Float32),
        list(Arc::new(Float64Array::from(vec![3.0, 4.0, 1.0, 0.0])), DataType::Float64),
        list(
            Arc::new(Float16Array::from(vec![half(3.0), half(4.0), half(1.0), half(0.0)])),
            DataType::Float16,
        ),
    ];
    let second = 1_700_000_000i64;
    let times: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from(vec![second * 1000; 2])),
        Arc::new(TimestampNanosecondArray::from(vec![second * 1_000_000_000; 2]).with_timezone("+02:00")),
        Arc::new(TimestampMicrosecondArray::from(vec![second * 1_000_000; 2]).with_timezone("Europe/Berlin")),
    ];
    let names: Vec<ArrayRef> = vec![
        Arc::new(LargeStringArray::from(vec!["a", "b"])),
        Arc::new(StringViewArray::from(vec!["a", "b"])),
        Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b"])),
    ];
    let folder = tempfile::tempdir().unwrap();
    for n in 0..3 {
        let path = folder.path().join(format!("{n}.parquet"));
        let columns = vec![
            ("account_id", names[n].clone()),
            ("photo_id", texts(&["p", "q"])),
            ("observed_at", times[n].clone()),
            ("embedding", embeddings[n].clone()),
        ];
        write(&path, columns, 100);
        let found = events(read(config(&path), &mut Checkpoint::default()).await.unwrap());
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].account.as_str(), found[0].observed_at.as_micros()), ("a", second * 1_000_000));
        let EventBody::Faces { faces, .. } = &found[0].body else { panic!("no faces") };
        assert_eq!(faces[0].embedding.as_ref().unwrap().as_slice(), [0.6, 0.8]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_dead_letters_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    let mut columns =
        faces(&["a", "", "c", "d", "e", "f"], &["p", "p", "", "p", "p", "p"], &[1, 2, 3, 4, 5, 6]);
    columns[3].1 = vectors(
        vec![
            Some(vec![Some(1.0); 4]),
            Some(vec![Some(1.0); 4]),
            Some(vec![Some(1.0); 4]),
            Some(vec![Some(0.0); 4]),
            Some(vec![None, Some(1.0), Some(1.0), Some(1.0)]),
            Some(vec![Some(1.0); 4]),
        ],
        4,
    );
    columns.push(("posts", Arc::new(UInt64Array::from(vec![1, 2, 3, 4, 5, u64::MAX]))));
    write(&path, columns, 100);
    let mut state = Checkpoint::default();
    let batches = read(config(&path), &mut state).await.unwrap();
    let dead: Vec<_> =
        batches.iter().flat_map(|b| &b.dead).map(|l| (l.origin.position.0, l.reason)).collect();
    use DeadLetterReason::{InvalidField, InvalidVector};
    assert_eq!(
        dead,
        [(1, InvalidField), (2, InvalidField), (3, InvalidVector), (4, InvalidVector), (5, InvalidField)]
    );
    assert_eq!(batches[0].dead[1].account.as_ref().unwrap().as_str(), "c");
    assert_eq!(events(batches).len(), 1);
    assert_eq!(state.iter().map(|(_, end)| end).collect::<Vec<_>>(), [Position(6)]);
}

fn profiles(image: bool) -> Vec<(&'static str, ArrayRef)> {
    let mut fields = vec![
        (Arc::new(Field::new("photo_id", DataType::Utf8, true)), texts(&["p", "q", "p", "p"])),
        (Arc::new(Field::new("url", DataType::Utf8, true)), texts(&["u1", "u2", "u3", "u4"])),
    ];
    if image {
        let images: ArrayRef =
            Arc::new(BinaryArray::from(vec![None, Some(&b"picture"[..]), None, Some(b"")]));
        fields.push((Arc::new(Field::new("image", DataType::Binary, true)), images));
    }
    let structs = StructArray::from(fields);
    let item = Arc::new(Field::new_list_field(DataType::Struct(structs.fields().clone()), true));
    let nulls = arrow::buffer::NullBuffer::from(vec![true, true, false, true]);
    let lists =
        ListArray::new(item, OffsetBuffer::from_lengths([2, 1, 0, 1]), Arc::new(structs), Some(nulls));
    vec![
        ("account_id", texts(&["a", "b", "c", "d"])),
        ("observed_at", times(&[1, 2, 3, 4])),
        ("photos", Arc::new(lists)),
        ("username", texts(&["un", "", "x", "y"])),
        ("followers", Arc::new(Int64Array::from(vec![Some(1), Some(-1), None, None]))),
        ("created_at", times(&[0, 0, 0, 0])),
        ("verified", Arc::new(BooleanArray::from(vec![true, false, false, true]))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_with_urls_and_inline_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profiles.parquet");
    write(&path, profiles(true), 2);
    let mut state = Checkpoint::default();
    let config = ParquetConfig { batch_photos: 1, ..config(&path) };
    let batches = read(config, &mut state).await.unwrap();
    assert!(batches.len() >= 2, "cut by the number of photos");
    let dead: Vec<_> =
        batches.iter().flat_map(|b| &b.dead).map(|l| (l.origin.position.0, l.reason)).collect();
    assert_eq!(dead, [(1, DeadLetterReason::InvalidField), (2, DeadLetterReason::MissingField)]);
    let found = events(batches);
    let EventBody::Replace { photos, facts } = &found[0].body else { panic!("no replacement") };
    assert!(matches!(&photos[0].source, PhotoSource::Url(url) if url.expose() == "u1"));
    assert!(matches!(&photos[1].source, PhotoSource::Inline(bytes) if &bytes[..] == b"picture"));
    assert_eq!(
        (facts.username.as_deref(), facts.followers, facts.verified),
        (Some("un"), Some(1), Some(true))
    );
    assert_eq!(facts.created_at.unwrap().as_micros(), 0);
    let EventBody::Replace { photos, .. } = &found[1].body else { panic!("no replacement") };
    assert!(matches!(photos[0].source, PhotoSource::Url(_)), "an empty picture is none");
    assert_eq!(state.iter().map(|(_, end)| end).collect::<Vec<_>>(), [Position(4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_stops_at_once_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let good = || faces(&["a"], &["p"], &[1]);
    let says = async |path: &Path, words: &[&str]| {
        let error = read(config(path), &mut Checkpoint::default()).await.unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
    };
    std::fs::create_dir(root.join("empty")).unwrap();
    says(&root.join("empty"), &["no file named *.parquet"]).await;
    says(&root.join("none.parquet"), &["no such file"]).await;

    let mut columns = good();
    columns.retain(|(name, _)| *name != "photo_id");
    write(&root.join("m.parquet"), columns, 10);
    says(&root.join("m.parquet"), &["m.parquet", "photo_id", "missing"]).await;

    let mut columns = good();
    columns[2].1 = texts(&["2026-01-01"]);
    write(&root.join("t.parquet"), columns, 10);
    says(&root.join("t.parquet"), &["observed_at", "Utf8", "timestamp"]).await;

    write(&root.join("n.parquet"), vec![("account_id", texts(&["a"]))], 10);
    says(&root.join("n.parquet"), &["neither", "photos", "embedding"]).await;

    write(&root.join("mixed/a.parquet"), good(), 10);
    write(&root.join("mixed/b.parquet"), profiles(false), 10);
    says(&root.join("mixed"), &["b.parquet", "a.parquet", "profiles"]).await;

    let mut columns = good();
    columns[3].1 = vectors(vec![Some(vec![Some(1.0); 3])], 3);
    write(&root.join("dims/a.parquet"), good(), 10);
    write(&root.join("dims/b.parquet"), columns, 10);
    says(&root.join("dims"), &["b.parquet", "4 and 3 dimensions"]).await;

    let accounts = vec!["a"; 5000];
    write(&root.join("cut.parquet"), faces(&accounts, &vec!["p"; 5000], &vec![1; 5000]), 100);
    let bytes = std::fs::read(root.join("cut.parquet")).unwrap();
    std::fs::write(root.join("cut.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    says(&root.join("cut.parquet"), &["cut.parquet", "cannot be read as Parquet"]).await;

    // A damaged page in the middle: what came before it is kept, the run stops with the file's name.
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle - 3000..middle].fill(0xff);
    std::fs::write(root.join("damaged.parquet"), damaged).unwrap();
    says(&root.join("damaged.parquet"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_reading_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    write(&path, faces(&vec!["a"; 3000], &vec!["p"; 3000], &vec![1; 3000]), 1000);
    let (stop, stopped) = watch::channel(false);
    let config = ParquetConfig { batch_rows: 10, channel_batches: 1, ..config(&path) };
    let nothing = Arc::new(|_: &PartitionId| None);
    let mut source = Source::open(&SourceConfig::Parquet(config), nothing, stopped).await.unwrap();
    assert_eq!(source.rows(), Some(3000));
    assert!(matches!(source.next().await, Ok(Some(SourceMessage::Assigned(_)))));
    stop.send(true).unwrap();
    let mut batches = 0;
    while source.next().await.unwrap().is_some() {
        batches += 1;
    }
    assert!(batches <= 3, "{batches} batches after the stop");
    source.close().await;
}
