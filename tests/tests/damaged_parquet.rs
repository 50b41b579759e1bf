//! Parquet files with bytes changed, cut out or doubled: events, or an error that names the file. No panic, no abort, and no
//! more memory than a few times the file: the work is done in a process whose memory is limited.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, FixedSizeListArray, RecordBatch, StringArray, StructArray};
use arrow::array::{ListArray, TimestampMicrosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type};
use end_to_end::damage::{Chance, damage, is_child, run_child};
use ingest::{ParquetConfig, Source, SourceConfig, SourceError, SourceMessage};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use records::PartitionId;
use tokio::sync::watch;

const CASES: u64 = 700;

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, compression: Compression) -> anyhow::Result<()> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))?;
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(20))
        .set_compression(compression)
        .build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// A valid file of each form.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let rows = 50;
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("a{}", n / 2))));
    let photos: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("p{n}"))));
    let times: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(i64::from)).with_timezone("UTC"));
    let vector = |n: i32| Some(vec![Some(1.0), Some(n as f32), Some(0.5), Some(0.0)]);
    let vectors: ArrayRef =
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>((0..rows).map(vector), 4));
    let faces = vec![
        ("account_id", Arc::clone(&names)),
        ("photo_id", Arc::clone(&photos)),
        ("observed_at", Arc::clone(&times)),
        ("embedding", vectors),
    ];
    let urls: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("https://h.example/{n}"))));
    let images: ArrayRef =
        Arc::new(BinaryArray::from_iter((0..rows).map(|n| (n % 3 == 0).then_some(b"\xff\xd8\xff"))));
    let fields = [
        ("photo_id", photos, DataType::Utf8),
        ("url", urls, DataType::Utf8),
        ("image", images, DataType::Binary),
    ];
    let photo = StructArray::from(
        fields.map(|(name, array, kind)| (Arc::new(Field::new(name, kind, true)), array)).to_vec(),
    );
    let item = Arc::new(Field::new("item", photo.data_type().clone(), true));
    let list =
        ListArray::new(item, OffsetBuffer::from_lengths(vec![1; rows as usize]), Arc::new(photo), None);
    let profiles = vec![
        ("account_id", Arc::clone(&names)),
        ("observed_at", times),
        ("photos", Arc::new(list) as ArrayRef),
        ("username", names),
    ];
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let mut paths = Vec::new();
    for (n, (columns, compression)) in [
        (faces.clone(), Compression::UNCOMPRESSED),
        (faces, zstd),
        (profiles.clone(), Compression::UNCOMPRESSED),
        (profiles, Compression::SNAPPY),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.join(format!("whole-{n}"));
        write(&path, columns, compression)?;
        paths.push(path);
    }
    Ok(paths)
}

async fn read(path: &Path) -> Result<usize, SourceError> {
    let config = ParquetConfig { path: path.into(), ..Default::default() };
    let (_stop, stopped) = watch::channel(false);
    let positions = Arc::new(|_: &PartitionId| None);
    let mut source = Source::open(&SourceConfig::Parquet(config), positions, stopped).await?;
    let mut events = 0;
    while let Some(message) = source.next().await? {
        if let SourceMessage::Batch(batch) = message {
            events += batch.items.len() + batch.dead.len();
        }
    }
    Ok(events)
}

#[test]
fn damaged_files_give_an_error_or_events() -> anyhow::Result<()> {
    run_child("child_reads_damaged_files", 3072)
}

#[test]
fn child_reads_damaged_files() -> anyhow::Result<()> {
    if !is_child() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let whole = sources(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let path = folder.path().join("damaged.parquet");
    for source in &whole {
        std::fs::copy(source, &path)?;
        let events = runtime.block_on(read(&path))?;
        assert!((25..=50).contains(&events), "{events} events of an undamaged file");
    }
    let (mut errors, mut fine) = (0, 0);
    for case in 0..CASES {
        let mut chance = Chance::new(case);
        let mut bytes = std::fs::read(&whole[case as usize % whole.len()])?;
        // The footer says where everything lies.
        let footer = bytes.len().saturating_sub(700)..bytes.len();
        damage(&mut bytes, footer, &mut chance);
        std::fs::write(&path, &bytes)?;
        match runtime.block_on(read(&path)) {
            Ok(_) => fine += 1,
            Err(SourceError::Thread { detail }) => {
                panic!("case {case}: the reading thread broke off: {detail}")
            }
            Err(error) => {
                assert!(error.to_string().contains("damaged.parquet"), "case {case}: {error}");
                errors += 1;
            }
        }
    }
    assert!(errors > CASES / 10, "only {errors} of {CASES} files were damaged enough");
    println!("{CASES} cases done: {errors} errors, {fine} read");
    Ok(())
}
