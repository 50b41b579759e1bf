//! Columns in one form each, whichever type they were written with.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int64Array, LargeBinaryArray, LargeStringArray,
    RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use records::{ProfileFacts, TimeError, Timestamp};

use crate::profile::{self, Refusal};

fn valid<A: Array>(array: &Option<A>, row: usize) -> Option<&A> {
    array.as_ref().filter(|array| array.is_valid(row))
}

fn cast_column(batch: &RecordBatch, name: &str, to: &DataType) -> Result<Option<ArrayRef>, ArrowError> {
    batch.column_by_name(name).map(|column| cast(column, to)).transpose()
}

/// A text column; one that the file does not have is null everywhere. The same holds for those below.
pub(super) struct Texts(Option<LargeStringArray>);

impl Texts {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        Ok(Self(cast_column(batch, name, &DataType::LargeUtf8)?.map(|a| a.as_string::<i64>().clone())))
    }

    pub(super) fn from_array(array: Option<&ArrayRef>) -> Result<Self, ArrowError> {
        let array = array.map(|a| cast(a, &DataType::LargeUtf8)).transpose()?;
        Ok(Self(array.map(|a| a.as_string::<i64>().clone())))
    }

    pub(super) fn get(&self, row: usize) -> Option<&str> {
        valid(&self.0, row).map(|array| array.value(row))
    }
}

/// A column of bytes.
pub(super) struct Bytestrings(Option<LargeBinaryArray>);

impl Bytestrings {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        Self::from_array(batch.column_by_name(name))
    }

    pub(super) fn from_array(array: Option<&ArrayRef>) -> Result<Self, ArrowError> {
        let array = array.map(|a| cast(a, &DataType::LargeBinary)).transpose()?;
        Ok(Self(array.map(|a| a.as_binary::<i64>().clone())))
    }

    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        valid(&self.0, row).map(|array| array.value(row))
    }

    /// 32 bytes; all zero counts as none.
    pub(super) fn hash(&self, field: &str, row: usize) -> Result<Option<[u8; 32]>, Refusal> {
        let Some(bytes) = self.get(row) else { return Ok(None) };
        let hash = <[u8; 32]>::try_from(bytes)
            .map_err(|_| Refusal::invalid(field, format_args!("expected 32 bytes, found {}", bytes.len())))?;
        Ok(Some(hash).filter(|hash| *hash != [0; 32]))
    }
}

/// A column of times in any unit; without a time zone they count as UTC.
pub(super) struct Times {
    values: Option<Int64Array>,
    unit: TimeUnit,
}

impl Times {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let unit = match batch.column_by_name(name).map(|column| column.data_type()) {
            Some(DataType::Timestamp(unit, _)) => *unit,
            _ => TimeUnit::Microsecond,
        };
        let values = cast_column(batch, name, &DataType::Int64)?.map(|a| a.as_primitive().clone());
        Ok(Self { values, unit })
    }

    pub(super) fn get(&self, field: &str, row: usize) -> Result<Option<Timestamp>, Refusal> {
        let Some(values) = valid(&self.values, row) else { return Ok(None) };
        let value = values.value(row);
        let micros = match self.unit {
            TimeUnit::Second => value.checked_mul(1_000_000),
            TimeUnit::Millisecond => value.checked_mul(1000),
            TimeUnit::Microsecond => Some(value),
            TimeUnit::Nanosecond => Some(value.div_euclid(1000)),
        };
        let time = micros.ok_or(TimeError::OutOfRange).and_then(Timestamp::from_micros);
        profile::time(field, time).map(Some)
    }
}

/// A column of counts.
struct Counts {
    values: Option<Int64Array>,
    /// To tell a null from a number that does not fit.
    original: Option<ArrayRef>,
}

impl Counts {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let values = cast_column(batch, name, &DataType::Int64)?.map(|a| a.as_primitive().clone());
        Ok(Self { values, original: batch.column_by_name(name).cloned() })
    }

    fn get(&self, field: &str, row: usize) -> Result<Option<i64>, Refusal> {
        match (valid(&self.values, row), valid(&self.original, row)) {
            (Some(values), _) => profile::count(field, Some(values.value(row))),
            (None, Some(_)) => Err(Refusal::invalid(field, "expected a whole number of 64 bits")),
            (None, None) => Ok(None),
        }
    }
}

/// A column of measures.
pub(super) struct Widths(Option<Float32Array>);

impl Widths {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        Ok(Self(cast_column(batch, name, &DataType::Float32)?.map(|a| a.as_primitive().clone())))
    }

    pub(super) fn get(&self, field: &str, row: usize) -> Result<Option<f32>, Refusal> {
        let Some(values) = valid(&self.0, row) else { return Ok(None) };
        let value = values.value(row);
        if value.is_finite() && value >= 0.0 {
            Ok(Some(value))
        } else {
            Err(Refusal::invalid(field, "a width is a number of 0 or more"))
        }
    }
}

/// A column of vectors, as f32 whatever they were written as.
pub(super) struct Vectors {
    lists: ArrayRef,
    values: Float32Array,
}

impl Vectors {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        let missing = || ArrowError::SchemaError(format!("the column {name} is no list"));
        let lists = batch.column_by_name(name).ok_or_else(missing)?.clone();
        let child = match lists.data_type() {
            DataType::FixedSizeList(..) => lists.as_fixed_size_list().values(),
            DataType::List(_) => lists.as_list::<i32>().values(),
            DataType::LargeList(_) => lists.as_list::<i64>().values(),
            _ => return Err(missing()),
        };
        let values = cast(child, &DataType::Float32)?.as_primitive().clone();
        Ok(Self { lists, values })
    }

    /// The numbers; `None` if the row is null. A null among the numbers is read as NaN, which is refused later.
    pub(super) fn get(&self, row: usize) -> Option<std::borrow::Cow<'_, [f32]>> {
        if self.lists.is_null(row) {
            return None;
        }
        let (from, length) = match self.lists.data_type() {
            DataType::FixedSizeList(_, length) => {
                (self.lists.as_fixed_size_list().value_offset_at(row), *length as usize)
            }
            DataType::List(_) => {
                let lists = self.lists.as_list::<i32>();
                (lists.value_offsets()[row] as usize, lists.value_length(row) as usize)
            }
            _ => {
                let lists = self.lists.as_list::<i64>();
                (lists.value_offsets()[row] as usize, lists.value_length(row) as usize)
            }
        };
        if self.values.null_count() == 0 {
            return self.values.values().get(from..from + length).map(std::borrow::Cow::Borrowed);
        }
        let value = |at: usize| if self.values.is_valid(at) { self.values.value(at) } else { f32::NAN };
        Some((from..from + length).map(value).collect())
    }
}

/// The columns with facts of the profile.
pub(super) struct Facts {
    any: bool,
    username: Texts,
    full_name: Texts,
    followers: Counts,
    following: Counts,
    posts: Counts,
    created_at: Times,
    verified: Option<BooleanArray>,
}

impl Facts {
    pub(super) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        const NAMES: [&str; 7] =
            ["username", "full_name", "followers", "following", "posts", "created_at", "verified"];
        Ok(Self {
            any: NAMES.iter().any(|name| batch.column_by_name(name).is_some()),
            username: Texts::of(batch, "username")?,
            full_name: Texts::of(batch, "full_name")?,
            followers: Counts::of(batch, "followers")?,
            following: Counts::of(batch, "following")?,
            posts: Counts::of(batch, "posts")?,
            created_at: Times::of(batch, "created_at")?,
            verified: batch.column_by_name("verified").map(|a| a.as_boolean().clone()),
        })
    }

    /// Whether the file has any of them.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    pub(super) fn get(&self, row: usize) -> Result<ProfileFacts, Refusal> {
        Ok(ProfileFacts {
            username: self.username.get(row).map(str::to_owned),
            full_name: self.full_name.get(row).map(str::to_owned),
            followers: self.followers.get("followers", row)?,
            following: self.following.get("following", row)?,
            posts: self.posts.get("posts", row)?,
            created_at: self.created_at.get("created_at", row)?,
            verified: valid(&self.verified, row).map(|array| array.value(row)),
        })
    }
}
