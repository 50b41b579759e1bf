//! Parquet tables read by column name, whatever type of text or number their writer chose.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::SimulateError;

/// A whole table.
pub(crate) struct Table {
    path: PathBuf,
    batches: Vec<RecordBatch>,
    columns: Vec<String>,
}

impl Table {
    pub(crate) fn read(path: &Path) -> Result<Self, SimulateError> {
        let file = File::open(path).map_err(SimulateError::file(path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(SimulateError::parquet(path))?;
        let columns = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let reader = builder.build().map_err(SimulateError::parquet(path))?;
        let batches = reader.collect::<Result<_, _>>().map_err(SimulateError::columns(path))?;
        Ok(Self { path: path.to_owned(), batches, columns })
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// A column of texts.
    pub(crate) fn texts(&self, column: &str) -> Result<Vec<Option<String>>, SimulateError> {
        let mut texts = Vec::new();
        for array in self.cast(column, &DataType::Utf8, "text")? {
            texts.extend(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)));
        }
        Ok(texts)
    }

    /// A column of texts without nulls.
    pub(crate) fn required_texts(&self, column: &'static str) -> Result<Vec<String>, SimulateError> {
        let rows = self.texts(column)?.into_iter().enumerate();
        rows.map(|(row, text)| {
            text.ok_or_else(|| SimulateError::Null { path: self.path.clone(), row, column })
        })
        .collect()
    }

    /// A column of texts; empty if the table has no such column.
    pub(crate) fn optional_texts(&self, column: &str) -> Result<Vec<Option<String>>, SimulateError> {
        if self.has(column) { self.texts(column) } else { Ok(Vec::new()) }
    }

    /// A column of numbers; nulls become NaN.
    pub(crate) fn numbers(&self, column: &str) -> Result<Vec<f64>, SimulateError> {
        let mut numbers = Vec::new();
        for array in self.cast(column, &DataType::Float64, "a number")? {
            numbers.extend(array.as_primitive::<Float64Type>().iter().map(|n| n.unwrap_or(f64::NAN)));
        }
        Ok(numbers)
    }

    fn cast(
        &self,
        column: &str,
        to: &DataType,
        wanted: &'static str,
    ) -> Result<Vec<arrow::array::ArrayRef>, SimulateError> {
        let wrong = || SimulateError::Column { path: self.path.clone(), column: column.to_owned(), wanted };
        if !self.has(column) {
            return Err(wrong());
        }
        let arrays = self.batches.iter().filter_map(|batch| batch.column_by_name(column));
        arrays.map(|array| cast(array, to).map_err(|_| wrong())).collect()
    }
}
