//! Bad Parquet: one clear error, or a dead letter for each row, never a panic and never half a snapshot.

use std::path::Path;

use end_to_end::backfill::{backfill, finish};
use end_to_end::program::{run, stderr};
use end_to_end::python;
use end_to_end::tables::latest;

/// Makes files with mistakes in a folder, each under a name of its own.
const SCRIPT: &str = r#"
import datetime, json, os, pyarrow as pa, pyarrow.parquet as pq, random, sys
root = sys.argv[1]
os.makedirs(root, exist_ok=True)
d = 512
draw = random.Random(1)
def vector(): return [draw.gauss(0, 1) for _ in range(d)]
when = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
def faces(rows, embeddings=None, accounts=None, photos=None, times=None):
    return {
        'account_id': pa.array(accounts or [f'a{n}' for n in range(rows)], pa.string()),
        'photo_id': pa.array(photos or [f'p{n}' for n in range(rows)], pa.string()),
        'observed_at': pa.array(times or [when] * rows, pa.timestamp('us', 'UTC')),
        'embedding': pa.array(embeddings or [vector() for _ in range(rows)], pa.list_(pa.float32())),
    }
def write(name, columns, **options):
    path = f'{root}/{name}'
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
nan, infinite = vector(), vector()
nan[7], infinite[0] = float('nan'), float('inf')
rows = [vector(), nan, infinite, [0.0] * d, [1.0] * 3, [], vector(), vector(), vector(), None]
write('rows.parquet', faces(10, rows, accounts=['a', 'b', 'c', 'd', 'e', 'f', None, 'h', 'i', 'j'],
      photos=['p'] * 7 + [None] + ['p'] * 2, times=[when] * 8 + [None, when]))
columns = faces(3)
del columns['photo_id']
write('missing.parquet', columns)
columns = faces(3)
columns['observed_at'] = pa.array(['2026-01-01'] * 3)
write('type.parquet', columns)
columns = faces(3)
columns['embedding'] = pa.array(['[1, 2]'] * 3)
write('text.parquet', columns)
write('fixed.parquet', {**faces(3), 'embedding': pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2))})
write('neither.parquet', {'account_id': pa.array(['a'])})
write('changed/a.parquet', faces(30))
columns = faces(30)
columns['followers'] = pa.array([1] * 30)
write('changed/b.parquet', columns)
write('kinds/a.parquet', faces(30))
write('kinds/b.parquet', {'account_id': pa.array(['x']), 'observed_at': pa.array([when], pa.timestamp('us', 'UTC')),
      'photos': pa.array([[{'photo_id': 'p', 'url': 'http://h/x'}]])})
write('whole.parquet', faces(400), row_group_size=100)
whole = open(f'{root}/whole.parquet', 'rb').read()
open(f'{root}/truncated.parquet', 'wb').write(whole[:len(whole) * 2 // 3])
damaged = bytearray(whole)
middle = len(whole) // 2
damaged[middle:middle + 4096] = b'\xff' * 4096
open(f'{root}/damaged.parquet', 'wb').write(bytes(damaged))
open(f'{root}/text-file.parquet', 'w').write('account_id,photo_id\n')
open(f'{root}/zero.parquet', 'w')
os.makedirs(f'{root}/empty', exist_ok=True)
write('norows.parquet', {k: v.slice(0, 0) for k, v in faces(1).items()})
print(json.dumps(len(whole)))
"#;

fn fails(source: &Path, home: &Path, words: &[&str]) -> anyhow::Result<()> {
    let output = backfill(&source.display().to_string(), home, &[]).output()?;
    let errors: Vec<String> =
        stderr(&output).lines().filter(|line| line.starts_with("error: ")).map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(1), "{}: {}", source.display(), stderr(&output));
    assert_eq!(errors.len(), 1, "{}: {}", source.display(), stderr(&output));
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is missing in {}", errors[0]);
    }
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    assert!(latest(&home.join("output")).is_none(), "{}: a snapshot was written", source.display());
    Ok(())
}

#[test]
fn a_file_that_does_not_fit_is_one_error() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("data");
    python::json(SCRIPT, &[&root.display().to_string()])?;
    let cases: &[(&str, &[&str])] = &[
        ("missing.parquet", &["missing.parquet", "photo_id", "missing"]),
        ("type.parquet", &["type.parquet", "observed_at", "timestamp"]),
        ("text.parquet", &["text.parquet", "embedding", "list"]),
        ("fixed.parquet", &["fixed.parquet", "2 dimensions", "512"]),
        ("neither.parquet", &["neither.parquet", "photos", "embedding"]),
        ("changed", &["b.parquet", "a.parquet", "followers"]),
        ("kinds", &["b.parquet", "a.parquet", "profiles"]),
        ("truncated.parquet", &["truncated.parquet", "cannot be read as Parquet"]),
        ("damaged.parquet", &["damaged.parquet", "cannot be read as Parquet"]),
        ("text-file.parquet", &["text-file.parquet", "cannot be read as Parquet"]),
        ("zero.parquet", &["zero.parquet", "cannot be read as Parquet"]),
        ("empty", &["empty", "*.parquet"]),
        ("nowhere", &["nowhere", "no such file"]),
    ];
    for (name, words) in cases {
        fails(&root.join(name), &folder.path().join(format!("home-{name}")), words)?;
    }
    // A file without rows is sound; there is just nothing to say about it.
    let printed = finish(backfill(
        &root.join("norows.parquet").display().to_string(),
        &folder.path().join("home-norows"),
        &[],
    ))?;
    assert!(printed.contains("rows: 0") && printed.contains("no snapshot"), "{printed}");
    Ok(())
}

#[test]
fn bad_rows_are_dead_letters_by_file_and_row() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("data");
    python::json(SCRIPT, &[&root.display().to_string()])?;
    let printed = finish(backfill(&root.join("rows.parquet").display().to_string(), folder.path(), &[]))?;
    assert!(printed.contains("rows: 10") && printed.contains("dead letters: 8 ("), "{printed}");
    let state = format!("--set=state.path={}", folder.path().join("state").display());
    let mut found = Vec::new();
    for (reason, rows) in
        [("invalid_vector", vec![1, 2, 3]), ("wrong_dimension", vec![4, 5]), ("missing_field", vec![6, 7, 8])]
    {
        let listed = run(["deadletters", "list", "--json", "--reason", reason, &state])?;
        anyhow::ensure!(listed.status.success(), "{}", stderr(&listed));
        let answer: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
        let letters = answer["letters"].as_array().cloned().unwrap_or_default();
        let mut at: Vec<u64> = letters.iter().filter_map(|letter| letter["position"].as_u64()).collect();
        at.sort_unstable();
        assert_eq!(at, rows, "{reason}: {answer}");
        assert!(
            letters.iter().all(|letter| letter["partition"]
                .as_str()
                .is_some_and(|of| of.starts_with("file:rows.parquet#"))),
            "the file is not named: {answer}"
        );
        found.extend(at);
    }
    assert_eq!(found.len(), 8);
    assert!(latest(&folder.path().join("output")).is_some(), "the sound rows give a snapshot");
    Ok(())
}
