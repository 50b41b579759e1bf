//! From columns back to rows.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use records::tables::{AccountRow, ClusterRow, EvidenceRow, MemberRow, Reason, WeakestLink};
use records::{AccountId, ProfileFacts, Timestamp};

/// Why a column does not hold what it should.
pub(crate) type Bad = String;

/// A column of a batch, by name, read row by row. The caller has checked the columns' types.
struct Columns<'a>(&'a RecordBatch);

fn bad(error: impl std::fmt::Display) -> Bad {
    error.to_string()
}

fn micros(value: i64) -> Result<Timestamp, Bad> {
    Timestamp::from_micros(value).map_err(bad)
}

impl Columns<'_> {
    fn column(&self, name: &str) -> Result<&ArrayRef, Bad> {
        self.0.column_by_name(name).ok_or_else(|| format!("no column {name}"))
    }

    fn maybe_text(&self, name: &str, row: usize) -> Result<Option<String>, Bad> {
        let column = self.column(name)?;
        Ok(column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned()))
    }

    fn text(&self, name: &str, row: usize) -> Result<String, Bad> {
        self.maybe_text(name, row)?.ok_or_else(|| format!("null in column {name}"))
    }

    fn word<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str, row: usize) -> Result<T, Bad> {
        self.text(name, row)?.parse().map_err(bad)
    }

    fn float(&self, name: &str, row: usize) -> Result<f64, Bad> {
        Ok(self.column(name)?.as_primitive::<Float64Type>().value(row))
    }

    fn int(&self, name: &str, row: usize) -> Result<i32, Bad> {
        Ok(self.column(name)?.as_primitive::<Int32Type>().value(row))
    }

    fn long(&self, name: &str, row: usize) -> Result<Option<i64>, Bad> {
        let column = self.column(name)?;
        Ok(column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row)))
    }

    fn maybe_time(&self, name: &str, row: usize) -> Result<Option<Timestamp>, Bad> {
        let column = self.column(name)?;
        if column.is_null(row) {
            return Ok(None);
        }
        micros(column.as_primitive::<TimestampMicrosecondType>().value(row)).map(Some)
    }

    fn time(&self, name: &str, row: usize) -> Result<Timestamp, Bad> {
        self.maybe_time(name, row)?.ok_or_else(|| format!("null in column {name}"))
    }

    fn texts(&self, name: &str, row: usize) -> Result<Vec<String>, Bad> {
        let values = self.column(name)?.as_list::<i32>().value(row);
        let values = values.as_string::<i32>();
        Ok((0..values.len()).map(|at| values.value(at).to_owned()).collect())
    }

    fn reasons(&self, row: usize) -> Result<Vec<Reason>, Bad> {
        let values = self.column("reasons")?.as_list::<i32>().value(row);
        let values: &StructArray = values.as_struct();
        let (signal, detail) = (values.column(0).as_string::<i32>(), values.column(2).as_string::<i32>());
        let log_odds = values.column(1).as_primitive::<Float64Type>();
        Ok((0..values.len())
            .map(|at| Reason {
                signal: signal.value(at).to_owned(),
                log_odds: log_odds.value(at),
                detail: detail.value(at).to_owned(),
            })
            .collect())
    }

    fn weakest_link(&self, row: usize) -> Result<Option<WeakestLink>, Bad> {
        let column: &StructArray = self.column("weakest_link")?.as_struct();
        if column.is_null(row) {
            return Ok(None);
        }
        let account =
            |at: usize| AccountId::new(column.column(at).as_string::<i32>().value(row)).map_err(bad);
        Ok(Some(WeakestLink {
            account_a: account(0)?,
            account_b: account(1)?,
            weight: column.column(2).as_primitive::<Float64Type>().value(row),
            separates: column.column(3).as_primitive::<Int32Type>().value(row),
        }))
    }
}

pub(crate) fn cluster(batch: &RecordBatch, row: usize) -> Result<ClusterRow, Bad> {
    let c = Columns(batch);
    let kinds = c.texts("kinds", row)?;
    Ok(ClusterRow {
        cluster_id: c.text("cluster_id", row)?,
        score: c.float("score", row)?,
        accounts: c.int("accounts", row)?,
        photos: c.int("photos", row)?,
        identities: c.int("identities", row)?,
        first_seen: c.time("first_seen", row)?,
        last_seen: c.time("last_seen", row)?,
        kinds: kinds.iter().map(|k| k.parse().map_err(bad)).collect::<Result<_, _>>()?,
        reasons: c.reasons(row)?,
        weakest_link: c.weakest_link(row)?,
        change: c.word("change", row)?,
        parents: c.texts("parents", row)?,
    })
}

pub(crate) fn member(batch: &RecordBatch, row: usize) -> Result<MemberRow, Bad> {
    let c = Columns(batch);
    Ok(MemberRow {
        cluster_id: c.text("cluster_id", row)?,
        account_id: c.word("account_id", row)?,
        score: c.float("score", row)?,
        role: c.word("role", row)?,
        reasons: c.reasons(row)?,
    })
}

pub(crate) fn evidence(batch: &RecordBatch, row: usize) -> Result<EvidenceRow, Bad> {
    let c = Columns(batch);
    let (similarity, pdq) = (c.column("similarity")?, c.column("pdq_distance")?);
    Ok(EvidenceRow {
        cluster_id: c.text("cluster_id", row)?,
        account_a: c.word("account_a", row)?,
        account_b: c.word("account_b", row)?,
        kind: c.word("kind", row)?,
        photo_a: c.word("photo_a", row)?,
        photo_b: c.word("photo_b", row)?,
        picture_a: c.word("picture_a", row)?,
        picture_b: c.word("picture_b", row)?,
        similarity: similarity.is_valid(row).then(|| similarity.as_primitive::<Float32Type>().value(row)),
        pdq_distance: pdq.is_valid(row).then(|| pdq.as_primitive::<Int32Type>().value(row)),
        owners: c.int("owners", row)?,
        weight: c.float("weight", row)?,
        observed_a: c.time("observed_a", row)?,
        observed_b: c.time("observed_b", row)?,
    })
}

pub(crate) fn account(batch: &RecordBatch, row: usize) -> Result<AccountRow, Bad> {
    let c = Columns(batch);
    let verified = c.column("verified")?;
    Ok(AccountRow {
        account_id: c.word("account_id", row)?,
        facts: ProfileFacts {
            username: c.maybe_text("username", row)?,
            full_name: c.maybe_text("full_name", row)?,
            followers: c.long("followers", row)?,
            following: c.long("following", row)?,
            posts: c.long("posts", row)?,
            created_at: c.maybe_time("created_at", row)?,
            verified: verified.is_valid(row).then(|| verified.as_boolean().value(row)),
        },
        first_seen: c.time("first_seen", row)?,
        last_seen: c.time("last_seen", row)?,
        photos: c.int("photos", row)?,
    })
}
