//! Columns of a record batch by name, as plain values.
//!
//! Arrow types that mean the same (dictionaries, large strings, other integer widths or time units) are converted, so
//! that a table rewritten by another tool still reads.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::RecordBatch;
use records::{PhotoKey, Timestamp};

/// Why a column's value cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// The column is not there.
    #[error("the column {0} is missing")]
    Missing(String),
    /// The column has another type.
    #[error("the column {column} has the type {found}, which does not turn into {expected}")]
    Type {
        /// The column.
        column: String,
        /// The type needed.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// A value is null where it may not be.
    #[error("the column {column} has a null in row {row}")]
    Null {
        /// The column.
        column: String,
        /// The row within its batch, from 0.
        row: usize,
    },
    /// A value is not what it should be.
    #[error("the column {column} has a value in row {row} that may not stand there: {reason}")]
    Value {
        /// The column.
        column: String,
        /// The row within its batch, from 0.
        row: usize,
        /// Why not.
        reason: String,
    },
}

/// A column with its name.
pub(crate) struct Column<A> {
    name: String,
    array: A,
}

impl<A: Array> Column<A> {
    fn null(&self, row: usize) -> ColumnError {
        ColumnError::Null { column: self.name.clone(), row }
    }

    fn wrong(&self, row: usize, reason: impl ToString) -> ColumnError {
        ColumnError::Value { column: self.name.clone(), row, reason: reason.to_string() }
    }
}

/// Something that has columns by name: a batch or a struct.
pub(crate) trait Columns {
    fn array(&self, name: &str) -> Result<ArrayRef, ColumnError>;

    fn cast(&self, name: &str, to: &DataType, expected: &'static str) -> Result<ArrayRef, ColumnError> {
        let array = self.array(name)?;
        cast(&array, to).map_err(|_| ColumnError::Type {
            column: name.to_owned(),
            expected,
            found: array.data_type().to_string(),
        })
    }

    fn text(&self, name: &str) -> Result<Column<StringArray>, ColumnError> {
        let array = self.cast(name, &DataType::Utf8, "text")?.as_string::<i32>().clone();
        Ok(Column { name: name.to_owned(), array })
    }

    fn integer(&self, name: &str) -> Result<Column<Int64Array>, ColumnError> {
        let array = self.cast(name, &DataType::Int64, "integers")?;
        Ok(Column { name: name.to_owned(), array: array.as_primitive().clone() })
    }

    fn number(&self, name: &str) -> Result<Column<Float64Array>, ColumnError> {
        let array = self.cast(name, &DataType::Float64, "numbers")?;
        Ok(Column { name: name.to_owned(), array: array.as_primitive().clone() })
    }

    fn truth(&self, name: &str) -> Result<Column<BooleanArray>, ColumnError> {
        let array = self.cast(name, &DataType::Boolean, "truth values")?.as_boolean().clone();
        Ok(Column { name: name.to_owned(), array })
    }

    fn time(&self, name: &str) -> Result<Column<TimestampMicrosecondArray>, ColumnError> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let array = self.cast(name, &utc, "times")?;
        Ok(Column { name: name.to_owned(), array: array.as_primitive().clone() })
    }

    fn keys(&self, name: &str) -> Result<Column<Keys>, ColumnError> {
        let array = self.array(name)?;
        let keys = match array.data_type() {
            DataType::FixedSizeBinary(32) => Keys(array),
            _ => Keys(self.cast(name, &DataType::Utf8, "picture keys")?),
        };
        Ok(Column { name: name.to_owned(), array: keys })
    }

    fn structure(&self, name: &str) -> Result<Column<StructArray>, ColumnError> {
        let array = self.array(name)?;
        let structure = array.as_struct_opt().ok_or_else(|| ColumnError::Type {
            column: name.to_owned(),
            expected: "a struct",
            found: array.data_type().to_string(),
        })?;
        Ok(Column { name: name.to_owned(), array: structure.clone() })
    }

    fn lists(&self, name: &str) -> Result<Lists, ColumnError> {
        let array = self.array(name)?;
        let (item, large) = match array.data_type() {
            DataType::List(item) => (item.clone(), false),
            DataType::LargeList(item) => (item.clone(), true),
            other => {
                return Err(ColumnError::Type {
                    column: name.to_owned(),
                    expected: "a list",
                    found: other.to_string(),
                });
            }
        };
        let array = if large { self.cast(name, &DataType::List(item), "a list")? } else { array };
        Ok(Lists { name: name.to_owned(), array })
    }
}

impl Columns for RecordBatch {
    fn array(&self, name: &str) -> Result<ArrayRef, ColumnError> {
        self.column_by_name(name).cloned().ok_or_else(|| ColumnError::Missing(name.to_owned()))
    }
}

impl Columns for StructArray {
    fn array(&self, name: &str) -> Result<ArrayRef, ColumnError> {
        self.column_by_name(name).cloned().ok_or_else(|| ColumnError::Missing(name.to_owned()))
    }
}

impl Column<StringArray> {
    pub fn optional(&self, row: usize) -> Option<&str> {
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    pub fn get(&self, row: usize) -> Result<&str, ColumnError> {
        self.optional(row).ok_or_else(|| self.null(row))
    }

    pub fn parse<T: std::str::FromStr<Err: ToString>>(&self, row: usize) -> Result<T, ColumnError> {
        self.get(row)?.parse().map_err(|error: T::Err| self.wrong(row, error.to_string()))
    }
}

impl Column<Int64Array> {
    pub fn optional(&self, row: usize) -> Option<i64> {
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    pub fn get_i32(&self, row: usize) -> Result<i32, ColumnError> {
        let value = self.optional(row).ok_or_else(|| self.null(row))?;
        i32::try_from(value).map_err(|error| self.wrong(row, error))
    }

    pub fn optional_i32(&self, row: usize) -> Result<Option<i32>, ColumnError> {
        self.optional(row).map(i32::try_from).transpose().map_err(|error| self.wrong(row, error))
    }
}

impl Column<Float64Array> {
    pub fn optional(&self, row: usize) -> Option<f64> {
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    pub fn get(&self, row: usize) -> Result<f64, ColumnError> {
        let value = self.optional(row).ok_or_else(|| self.null(row))?;
        if value.is_finite() { Ok(value) } else { Err(self.wrong(row, "not a finite number")) }
    }
}

impl Column<BooleanArray> {
    pub fn optional(&self, row: usize) -> Option<bool> {
        self.array.is_valid(row).then(|| self.array.value(row))
    }
}

impl Column<TimestampMicrosecondArray> {
    pub fn optional(&self, row: usize) -> Result<Option<Timestamp>, ColumnError> {
        let value = self.array.is_valid(row).then(|| self.array.value(row));
        value.map(Timestamp::from_micros).transpose().map_err(|error| self.wrong(row, error))
    }

    pub fn get(&self, row: usize) -> Result<Timestamp, ColumnError> {
        self.optional(row)?.ok_or_else(|| self.null(row))
    }
}

/// Picture keys, either as 32 bytes or as 64 hexadecimal digits.
#[derive(Debug)]
pub(crate) struct Keys(ArrayRef);

impl Column<Keys> {
    pub fn get(&self, row: usize) -> Result<PhotoKey, ColumnError> {
        let Keys(array) = &self.array;
        if array.is_null(row) {
            return Err(ColumnError::Null { column: self.name.clone(), row });
        }
        let wrong = |reason: String| ColumnError::Value { column: self.name.clone(), row, reason };
        if let Some(bytes) = array.as_fixed_size_binary_opt() {
            let bytes: [u8; 32] =
                bytes.value(row).try_into().map_err(|_| wrong("not 32 bytes".to_owned()))?;
            return Ok(PhotoKey::from_sha256(bytes));
        }
        array
            .as_string::<i32>()
            .value(row)
            .parse()
            .map_err(|error: records::IdError| wrong(error.to_string()))
    }
}

impl Column<StructArray> {
    pub fn is_valid(&self, row: usize) -> bool {
        self.array.is_valid(row)
    }

    pub fn fields(&self) -> &StructArray {
        &self.array
    }
}

/// A column of lists.
pub(crate) struct Lists {
    name: String,
    array: ArrayRef,
}

impl Lists {
    fn items(&self, row: usize) -> Option<ArrayRef> {
        let lists = self.array.as_list::<i32>();
        lists.is_valid(row).then(|| lists.value(row))
    }

    /// The texts of a row's list; a null list is an empty one.
    pub fn texts(&self, row: usize) -> Result<Column<StringArray>, ColumnError> {
        let items = self.items(row).unwrap_or_else(|| arrow::array::new_empty_array(&DataType::Utf8));
        let texts = cast(&items, &DataType::Utf8).map_err(|_| ColumnError::Type {
            column: self.name.clone(),
            expected: "a list of texts",
            found: items.data_type().to_string(),
        })?;
        Ok(Column { name: self.name.clone(), array: texts.as_string::<i32>().clone() })
    }

    /// The structs of a row's list; `None` for a null list.
    pub fn structs(&self, row: usize) -> Result<Option<StructArray>, ColumnError> {
        let Some(items) = self.items(row) else { return Ok(None) };
        items.as_struct_opt().cloned().map(Some).ok_or_else(|| ColumnError::Type {
            column: self.name.clone(),
            expected: "a list of structs",
            found: items.data_type().to_string(),
        })
    }
}

impl Column<StringArray> {
    pub fn len(&self) -> usize {
        self.array.len()
    }
}
