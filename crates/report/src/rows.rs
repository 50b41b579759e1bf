//! The rows of the four tables, as `records::tables` types them, from Parquet files.

use std::fs::File;
use std::path::Path;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use records::ProfileFacts;
use records::tables::{AccountRow, ClusterRow, EvidenceRow, MemberRow, Reason, WeakestLink};

use crate::SnapshotError;
use crate::columns::{ColumnError, Columns, Lists};

/// Reads a file batch by batch and hands each to `take`.
fn read<T>(
    path: &Path,
    take: impl Fn(&RecordBatch, &mut Vec<T>) -> Result<(), ColumnError>,
) -> Result<Vec<T>, SnapshotError> {
    let file = File::open(path).map_err(|source| SnapshotError::Read { path: path.to_owned(), source })?;
    let damaged = |source| SnapshotError::Parquet { path: path.to_owned(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(8192).build())
        .map_err(damaged)?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.into()))?;
        take(&batch, &mut rows).map_err(|source| SnapshotError::Table { path: path.to_owned(), source })?;
    }
    Ok(rows)
}

pub(crate) fn clusters(path: &Path) -> Result<Vec<ClusterRow>, SnapshotError> {
    read(path, |batch, rows| {
        let (id, score) = (batch.text("cluster_id")?, batch.number("score")?);
        let (accounts, photos) = (batch.integer("accounts")?, batch.integer("photos")?);
        let identities = batch.integer("identities")?;
        let (first, last) = (batch.time("first_seen")?, batch.time("last_seen")?);
        let (kinds, why) = (batch.lists("kinds")?, batch.lists("reasons")?);
        let weakest = batch.structure("weakest_link")?;
        let link = weakest.fields();
        let (link_a, link_b) = (link.text("account_a")?, link.text("account_b")?);
        let (weight, separates) = (link.number("weight")?, link.integer("separates")?);
        let (change, parents) = (batch.text("change")?, batch.lists("parents")?);
        for row in 0..batch.num_rows() {
            let weakest_link = if weakest.is_valid(row) {
                Some(WeakestLink {
                    account_a: link_a.parse(row)?,
                    account_b: link_b.parse(row)?,
                    weight: weight.get(row)?,
                    separates: separates.get_i32(row)?,
                })
            } else {
                None
            };
            rows.push(ClusterRow {
                cluster_id: id.get(row)?.to_owned(),
                score: score.get(row)?,
                accounts: accounts.get_i32(row)?,
                photos: photos.get_i32(row)?,
                identities: identities.get_i32(row)?,
                first_seen: first.get(row)?,
                last_seen: last.get(row)?,
                kinds: texts(&kinds, row)?,
                reasons: reasons(&why, row)?,
                weakest_link,
                change: change.parse(row)?,
                parents: texts(&parents, row)?,
            });
        }
        Ok(())
    })
}

pub(crate) fn members(path: &Path) -> Result<Vec<MemberRow>, SnapshotError> {
    read(path, |batch, rows| {
        let (id, account) = (batch.text("cluster_id")?, batch.text("account_id")?);
        let (score, role) = (batch.number("score")?, batch.text("role")?);
        let why = batch.lists("reasons")?;
        for row in 0..batch.num_rows() {
            rows.push(MemberRow {
                cluster_id: id.get(row)?.to_owned(),
                account_id: account.parse(row)?,
                score: score.get(row)?,
                role: role.parse(row)?,
                reasons: reasons(&why, row)?,
            });
        }
        Ok(())
    })
}

pub(crate) fn evidence(path: &Path) -> Result<Vec<EvidenceRow>, SnapshotError> {
    read(path, |batch, rows| {
        let (id, kind) = (batch.text("cluster_id")?, batch.text("kind")?);
        let (a, b) = (batch.text("account_a")?, batch.text("account_b")?);
        let (photo_a, photo_b) = (batch.text("photo_a")?, batch.text("photo_b")?);
        let (picture_a, picture_b) = (batch.keys("picture_a")?, batch.keys("picture_b")?);
        let (similarity, distance) = (batch.number("similarity")?, batch.integer("pdq_distance")?);
        let (owners, weight) = (batch.integer("owners")?, batch.number("weight")?);
        let (seen_a, seen_b) = (batch.time("observed_a")?, batch.time("observed_b")?);
        for row in 0..batch.num_rows() {
            rows.push(EvidenceRow {
                cluster_id: id.get(row)?.to_owned(),
                account_a: a.parse(row)?,
                account_b: b.parse(row)?,
                kind: kind.parse(row)?,
                photo_a: photo_a.parse(row)?,
                photo_b: photo_b.parse(row)?,
                picture_a: picture_a.get(row)?,
                picture_b: picture_b.get(row)?,
                similarity: similarity.optional(row).map(|value| value as f32),
                pdq_distance: distance.optional_i32(row)?,
                owners: owners.get_i32(row)?,
                weight: weight.get(row)?,
                observed_a: seen_a.get(row)?,
                observed_b: seen_b.get(row)?,
            });
        }
        Ok(())
    })
}

pub(crate) fn accounts(path: &Path) -> Result<Vec<AccountRow>, SnapshotError> {
    read(path, |batch, rows| {
        let (account, photos) = (batch.text("account_id")?, batch.integer("photos")?);
        let (username, full_name) = (batch.text("username")?, batch.text("full_name")?);
        let (followers, following) = (batch.integer("followers")?, batch.integer("following")?);
        let (posts, verified) = (batch.integer("posts")?, batch.truth("verified")?);
        let created_at = batch.time("created_at")?;
        let (first, last) = (batch.time("first_seen")?, batch.time("last_seen")?);
        for row in 0..batch.num_rows() {
            rows.push(AccountRow {
                account_id: account.parse(row)?,
                facts: ProfileFacts {
                    username: username.optional(row).map(str::to_owned),
                    full_name: full_name.optional(row).map(str::to_owned),
                    followers: followers.optional(row),
                    following: following.optional(row),
                    posts: posts.optional(row),
                    created_at: created_at.optional(row)?,
                    verified: verified.optional(row),
                },
                first_seen: first.get(row)?,
                last_seen: last.get(row)?,
                photos: photos.get_i32(row)?,
            });
        }
        Ok(())
    })
}

fn texts<T: std::str::FromStr<Err: ToString>>(lists: &Lists, row: usize) -> Result<Vec<T>, ColumnError> {
    let items = lists.texts(row)?;
    (0..items.len()).map(|item| items.parse(item)).collect()
}

fn reasons(lists: &Lists, row: usize) -> Result<Vec<Reason>, ColumnError> {
    let Some(items) = lists.structs(row)? else { return Ok(Vec::new()) };
    let (signal, detail) = (items.text("signal")?, items.text("detail")?);
    let log_odds = items.number("log_odds")?;
    (0..items.len())
        .map(|item| {
            Ok(Reason {
                signal: signal.get(item)?.to_owned(),
                log_odds: log_odds.get(item)?,
                detail: detail.optional(item).unwrap_or_default().to_owned(),
            })
        })
        .collect()
}
