//! Backfills from Parquet: the same answer by every road, from every store, killed or not.

use std::path::Path;

use end_to_end::backfill::{backfill, finish, simulate};
use end_to_end::object_store::{ObjectStore, Protocol};
use end_to_end::program::stderr;
use end_to_end::python;
use end_to_end::tables::{assert_equal, canonical, latest};

/// Small enough to be compared face by face, and large enough for blocks.
const ONE_BY_ONE: &str = "source.batch_rows=200";
const IN_BLOCKS: &str = "source.batch_rows=1700";

/// Rows of a Parquet file in another order, cut into several files of several row groups, by pyarrow.
fn shuffle(from: &Path, to: &Path, files: usize) -> anyhow::Result<()> {
    const SCRIPT: &str = "
import pyarrow as pa, pyarrow.parquet as pq, random, sys, json, os
table = pq.read_table(sys.argv[1])
order = list(range(table.num_rows))
random.Random(3).shuffle(order)
table = table.take(order)
os.makedirs(sys.argv[2], exist_ok=True)
files = int(sys.argv[3])
size = -(-table.num_rows // files)
for n in range(files):
    pq.write_table(table.slice(n * size, size), f'{sys.argv[2]}/part-{n}.parquet', row_group_size=500)
print(json.dumps(table.num_rows))
";
    python::json(SCRIPT, &[&from.display().to_string(), &to.display().to_string(), &files.to_string()])?;
    Ok(())
}

#[test]
fn blocks_lists_orders_and_kills_change_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let here = |name: &str| folder.path().join(name);
    simulate(2100, 11, &here("data"))?;
    let faces = here("data/faces.parquet").display().to_string();
    finish(backfill(&faces, &here("plain"), &[ONE_BY_ONE, "index.factory=Flat"]))?;
    let expected = canonical(&here("plain/output"))?;
    let found = expected["members"].as_array().map_or(0, Vec::len);
    assert!(found > 20, "only {found} accounts were found, so little is compared");

    let printed = finish(backfill(&faces, &here("blocks"), &[IN_BLOCKS, "index.factory=Flat"]))?;
    assert_equal(&expected, &canonical(&here("blocks/output"))?, "in blocks");
    for part in
        ["rows: ", "accounts: 2100", "faces", "links", "dead letters: 0", "seconds: clusters", "snapshot: "]
    {
        assert!(printed.contains(part), "{part:?} is missing in the summary:\n{printed}");
    }
    finish(backfill(&faces, &here("blocks"), &[IN_BLOCKS, "index.factory=Flat"]))?;
    assert_equal(&expected, &canonical(&here("blocks/output"))?, "run twice");

    shuffle(&here("data/faces.parquet"), &here("shuffled"), 3)?;
    let shuffled = here("shuffled").display().to_string();
    finish(backfill(&shuffled, &here("order"), &[IN_BLOCKS, "index.factory=Flat"]))?;
    assert_equal(&expected, &canonical(&here("order/output"))?, "in another order, in three files");

    // Lists, all of them visited: trained on a sample before the first row, and the same links.
    let lists = ["index.factory=IVF16,PQ64", "index.nprobe=16", "index.seal_at=2000", IN_BLOCKS];
    let command = || backfill(&shuffled, &here("lists"), &lists);
    let mut first = command();
    let killed = first.env("FACERING_FAILPOINT", "index.applied:2").output()?;
    assert!(!killed.status.success(), "the failpoint was never passed:\n{}", stderr(&killed));
    assert!(stderr(&killed).contains("training the face index on a sample"), "{}", stderr(&killed));
    let again = command().output()?;
    anyhow::ensure!(again.status.success(), "{}", stderr(&again));
    assert!(!stderr(&again).contains("training the face index"), "a trained index is trained again");
    assert_equal(&expected, &canonical(&here("lists/output"))?, "with lists, killed between two blocks");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_is_as_good_as_a_folder() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let here = |name: &str| folder.path().join(name);
    simulate(120, 4, &here("data"))?;
    shuffle(&here("data/faces.parquet"), &here("lake/faces"), 2)?;
    std::fs::write(here("lake/faces/_SUCCESS.parquet"), b"not one of them")?;
    finish(backfill(&here("lake/faces").display().to_string(), &here("local"), &[]))?;
    let expected = canonical(&here("local/output"))?;

    let store = ObjectStore::start(Protocol::S3, here("lake")).await?;
    let remote_at = |store: &ObjectStore, source: &str, home: &str| {
        let mut command = backfill(source, &here(home), &[]);
        command.envs(store.environment());
        command
    };
    let remote = |source: &str, home: &str| remote_at(&store, source, home);
    for (source, home) in [("s3://bucket/faces", "prefix"), ("s3://bucket/*/part-?.parquet", "pattern")] {
        let output = tokio::task::block_in_place(|| remote(source, home).output())?;
        anyhow::ensure!(output.status.success(), "{source}: {}", stderr(&output));
        assert_equal(&expected, &canonical(&here(home).join("output"))?, source);
    }
    for (protocol, source) in [
        (Protocol::Google, "gs://bucket/faces"),
        (Protocol::Azure, "az://bucket/faces/part-*.parquet"),
        (Protocol::Azure, "abfss://bucket@test.dfs.core.windows.net/faces"),
    ] {
        let other = ObjectStore::start(protocol, here("lake")).await?;
        let home = source.replace(['/', ':', '*'], "_");
        let output = tokio::task::block_in_place(|| remote_at(&other, source, &home).output())?;
        anyhow::ensure!(output.status.success(), "{source}: {}", stderr(&output));
        anyhow::ensure!(other.requests() > 2, "{source} was read from elsewhere");
        assert_equal(&expected, &canonical(&here(&home).join("output"))?, source);
        other.refuse_after(other.requests() + 1);
        let output = tokio::task::block_in_place(|| remote_at(&other, source, "refused").output())?;
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("object store does not give part-0.parquet"), "{}", stderr(&output));
        assert!(!stderr(&output).contains("dGVz") && latest(&here("refused/output")).is_none());
    }
    let local = format!("file://{}/part-*.parquet", here("lake/faces").display());
    finish(backfill(&local, &here("file"), &[]))?;
    assert_equal(&expected, &canonical(&here("file/output"))?, &local);

    for (source, words) in
        [("s3://bucket/nothing", "no object named *.parquet"), ("gopher://bucket/x", "source.path")]
    {
        let output = tokio::task::block_in_place(|| remote(source, "bad").output())?;
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(words), "{source}: {}", stderr(&output));
    }
    // Access is lost after the listing: the store is named, not the file, and nothing is half done.
    store.refuse_after(store.requests() + 1);
    let output = tokio::task::block_in_place(|| remote("s3://bucket/faces", "denied").output())?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("object store does not give part-0.parquet"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("test-secret") && latest(&here("denied/output")).is_none());
    Ok(())
}

#[test]
fn other_programs_read_the_tables() -> anyhow::Result<()> {
    const SCRIPT: &str = "
import duckdb, json, polars, pyarrow.parquet as pq, sys
found = {}
for table in ('clusters', 'members', 'evidence', 'accounts'):
    path = f'{sys.argv[1]}/{table}.parquet'
    file = pq.ParquetFile(path)
    group = file.metadata.row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    flat = [c for c in columns if '.' not in c.path_in_schema]
    found[table] = {
        'pyarrow': file.read().num_rows,
        'duckdb': duckdb.sql(f\"select count(*) from read_parquet('{path}', hive_partitioning = false)\").fetchall()[0][0],
        'polars': polars.read_parquet(path, hive_partitioning=False).height,
        'version': file.metadata.metadata[b'facering.schema'].decode(),
        'zstd': all(c.compression == 'ZSTD' for c in columns),
        'statistics': all(c.statistics is not None for c in flat),
        # What Spark cannot read: unsigned and 16-bit numbers, nanoseconds, views, large offsets.
        'odd': [f.name for f in file.schema_arrow if str(f.type) not in (
            'string', 'double', 'float', 'int32', 'int64', 'bool', 'timestamp[us, tz=UTC]')
            and not str(f.type).startswith(('list<', 'struct<'))],
    }
print(json.dumps(found))
";
    let folder = tempfile::tempdir()?;
    simulate(500, 2, &folder.path().join("data"))?;
    let faces = folder.path().join("data/faces.parquet").display().to_string();
    finish(backfill(&faces, folder.path(), &["output.keep=2"]))?;
    let snapshot = latest(&folder.path().join("output")).expect("a snapshot");
    let found = python::json(SCRIPT, &[&snapshot.display().to_string()])?;
    for table in ["clusters", "members", "evidence", "accounts"] {
        let facts = &found[table];
        let rows = facts["pyarrow"].as_u64().unwrap_or(0);
        assert!(rows > 0, "{table} is empty");
        assert_eq!((&facts["duckdb"], &facts["polars"]), (&facts["pyarrow"], &facts["pyarrow"]), "{table}");
        assert_eq!(facts["version"], "1", "{table}");
        assert!(facts["zstd"] == true && facts["statistics"] == true, "{table}: {facts}");
        assert_eq!(facts["odd"].as_array().map(Vec::len), Some(0), "{table}: {facts}");
    }
    // Old snapshots go by count, and the newest is what LATEST names.
    for _ in 0..3 {
        finish(backfill(&faces, folder.path(), &["output.keep=2"]))?;
    }
    let mut left: Vec<String> = std::fs::read_dir(folder.path().join("output/clusters"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<anyhow::Result<_>>()?;
    left.sort();
    assert_eq!(left.len(), 3, "LATEST and two snapshots: {left:?}");
    let newest = latest(&folder.path().join("output")).expect("a snapshot");
    assert!(newest.ends_with(&left[2]) && newest.join("run.json").exists(), "{left:?}");
    Ok(())
}
