//! The embeddings of Parquet files and nothing else of them, for training and filling a face index.
//!
//! Invariants:
//! - Only the column `embedding` is read; the file needs no other.
//! - Every row is given in order. A row without an embedding is zeros; what is no embedding is named with file and row.
//! - Memory is bounded by a batch of rows and a page.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;
use records::Embedding;

use super::columns::Vectors;
use super::files::{SourceFile, find};
use crate::{ParquetConfig, SourceError};

/// Rows read together.
const BATCH_ROWS: usize = 8192;
const COLUMN: &str = "embedding";

/// Parquet files with embeddings of one dimension.
pub struct EmbeddingFiles {
    files: Vec<Checked>,
    dimension: usize,
}

struct Checked {
    file: SourceFile,
    metadata: ArrowReaderMetadata,
    rows: u64,
}

impl EmbeddingFiles {
    /// Finds the files that `path` means (a file, a folder, a pattern) and looks at all of them.
    ///
    /// # Errors
    /// [`SourceError::Path`], [`SourceError::Damaged`]; [`SourceError::Schema`] if a file has no column `embedding`, if
    /// dimensions differ, or if no row has an embedding.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let mut files = Vec::new();
        for file in find(&ParquetConfig { path: path.into(), ..ParquetConfig::default() })? {
            let opened = file.open()?;
            let metadata = ArrowReaderMetadata::load(
                &opened,
                ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional),
            )
            .map_err(|e| damaged(&file, &e))?;
            let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
            files.push(Checked { file, metadata, rows });
        }
        let mut found: Option<(String, usize)> = None;
        for file in &files {
            let Some(dimension) = file.dimension()? else { continue };
            match &found {
                None => found = Some((file.file.name.clone(), dimension)),
                Some((name, first)) if *first != dimension => {
                    let detail = format!("its embeddings have {dimension} numbers, those of {name} {first}");
                    return Err(SourceError::Schema { file: file.file.name.clone(), detail });
                }
                Some(_) => {}
            }
        }
        match found {
            Some((_, dimension)) => Ok(Self { files, dimension }),
            None => {
                let file = files.first().map(|file| file.file.name.clone()).unwrap_or_default();
                Err(SourceError::Schema { file, detail: "no row has an embedding".into() })
            }
        }
    }

    /// Numbers in an embedding.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Name and rows of each file, in the order in which they are numbered.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|file| (file.file.name.as_str(), file.rows))
    }

    /// Rows of all files together.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Reads the rows of one file from a row on: for each row `dimension` numbers, of unit length or all zero.
    ///
    /// # Errors
    /// [`SourceError::Damaged`], also from the iterator, which names rows that hold no embedding.
    pub fn read(
        &self,
        file: usize,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<Vec<f32>, SourceError>> + use<'_>, SourceError> {
        self.batches(file, from, None)
    }

    /// Reads a share of the rows of one file, 0 to 1: from every row group one run, so that the rest is not decoded.
    ///
    /// # Errors
    /// As [`EmbeddingFiles::read`].
    pub fn sample(
        &self,
        file: usize,
        share: f64,
    ) -> Result<impl Iterator<Item = Result<Vec<f32>, SourceError>> + use<'_>, SourceError> {
        self.batches(file, 0, Some(share))
    }

    fn batches(&self, file: usize, from: u64, share: Option<f64>) -> Result<Batches<'_>, SourceError> {
        let Some(file) = self.files.get(file) else {
            return Err(SourceError::Path { path: format!("file {file}"), detail: "there is none".into() });
        };
        let reader = file.reader(from, share)?;
        // With a share the rows are not numbered: nobody can go on from one.
        Ok(Batches { reader, file, dimension: self.dimension, row: from })
    }
}

struct Batches<'a> {
    reader: ParquetRecordBatchReader,
    file: &'a Checked,
    dimension: usize,
    row: u64,
}

impl Iterator for Batches<'_> {
    type Item = Result<Vec<f32>, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.reader.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(damaged(&self.file.file, &error))),
        };
        let rows = self.values(&batch);
        self.row += batch.num_rows() as u64;
        Some(rows)
    }
}

impl Batches<'_> {
    fn values(&self, batch: &RecordBatch) -> Result<Vec<f32>, SourceError> {
        let vectors = Vectors::of(batch, COLUMN).map_err(|e| damaged(&self.file.file, &e))?;
        let mut values = Vec::with_capacity(batch.num_rows() * self.dimension);
        for row in 0..batch.num_rows() {
            let wrong = |detail: String| SourceError::Row {
                file: self.file.file.name.clone(),
                row: self.row + row as u64,
                detail,
            };
            match vectors.get(row) {
                None => values.resize(values.len() + self.dimension, 0.0),
                Some(found) if found.len() != self.dimension => {
                    return Err(wrong(format!("{} numbers where {} belong", found.len(), self.dimension)));
                }
                Some(found) => {
                    let embedding = Embedding::normalised(&found).map_err(|e| wrong(e.to_string()))?;
                    values.extend_from_slice(embedding.as_slice());
                }
            }
        }
        Ok(values)
    }
}

impl Checked {
    /// From the type, or, where the type leaves it open, from the first row that has an embedding.
    fn dimension(&self) -> Result<Option<usize>, SourceError> {
        let schema = |detail: String| SourceError::Schema { file: self.file.name.clone(), detail };
        let field = self
            .metadata
            .schema()
            .field_with_name(COLUMN)
            .map_err(|_| schema(format!("it has no column {COLUMN}")))?;
        let number = |kind: &DataType| kind.is_floating();
        match field.data_type() {
            DataType::FixedSizeList(item, length) if number(item.data_type()) => {
                Ok(usize::try_from(*length).ok().filter(|_| self.rows > 0))
            }
            DataType::List(item) | DataType::LargeList(item) if number(item.data_type()) => {
                for batch in self.reader(0, None)? {
                    let batch = batch.map_err(|e| damaged(&self.file, &e))?;
                    let vectors = Vectors::of(&batch, COLUMN).map_err(|e| damaged(&self.file, &e))?;
                    let first = (0..batch.num_rows()).find_map(|row| vectors.get(row).map(|v| v.len()));
                    if first.is_some() {
                        return Ok(first);
                    }
                }
                Ok(None)
            }
            other => Err(schema(format!("its column {COLUMN} is {other}, and not a list of floats"))),
        }
    }

    fn reader(&self, from: u64, share: Option<f64>) -> Result<ParquetRecordBatchReader, SourceError> {
        let opened = self.file.open()?;
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), [COLUMN]);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, self.metadata.clone())
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS);
        let builder = match share {
            Some(share) => builder.with_row_selection(self.runs(share)),
            None => builder.with_offset(usize::try_from(from).unwrap_or(usize::MAX)),
        };
        builder.build().map_err(|e| damaged(&self.file, &e))
    }

    /// A run of rows from every row group, somewhere in it.
    fn runs(&self, share: f64) -> RowSelection {
        let mut selectors = Vec::new();
        for (at, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let wanted = ((rows as f64 * share).ceil() as usize).min(rows);
            // The golden ratio spreads the places of the runs evenly over the groups.
            let place = (at as f64 * 0.618_033_988_75).fract();
            let before = ((rows - wanted) as f64 * place) as usize;
            selectors.push(RowSelector::skip(before));
            selectors.push(RowSelector::select(wanted));
            selectors.push(RowSelector::skip(rows - wanted - before));
        }
        selectors.into()
    }
}

fn damaged(file: &SourceFile, detail: &dyn std::fmt::Display) -> SourceError {
    file.damaged(detail)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, FixedSizeListBuilder, Float32Builder, ListBuilder};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn write(path: &Path, column: &str, embeddings: ArrayRef) {
        let batch = RecordBatch::try_from_iter_with_nullable([(column, embeddings, true)]).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    /// Row `r` points in direction `r mod 3`, with length 2; rows divisible by 50 have none.
    fn fixed(rows: usize) -> ArrayRef {
        let mut builder = FixedSizeListBuilder::new(Float32Builder::new(), 3);
        for row in 0..rows {
            (0..3).for_each(|at| builder.values().append_value(if at == row % 3 { 2.0 } else { 0.0 }));
            builder.append(row % 50 != 0);
        }
        Arc::new(builder.finish())
    }

    fn lists(rows: &[&[f32]]) -> ArrayRef {
        let mut builder = ListBuilder::new(Float32Builder::new());
        for row in rows {
            row.iter().for_each(|value| builder.values().append_value(*value));
            builder.append(true);
        }
        Arc::new(builder.finish())
    }

    #[test]
    fn rows_come_in_order_and_normalised() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.parquet"), COLUMN, fixed(250));
        write(&folder.path().join("b.parquet"), COLUMN, lists(&[&[0.0, 3.0, 4.0]]));
        let files = EmbeddingFiles::open(folder.path()).unwrap();
        assert_eq!(files.files().collect::<Vec<_>>(), [("a.parquet", 250), ("b.parquet", 1)]);
        assert_eq!((files.rows(), files.dimension()), (251, 3));
        for from in [0, 99, 249, 250] {
            let rows: Vec<f32> = files.read(0, from).unwrap().flat_map(Result::unwrap).collect();
            assert_eq!(rows.len(), 3 * (250 - from as usize));
            for (at, row) in rows.chunks_exact(3).enumerate() {
                let at = at + from as usize;
                let expected: [f32; 3] =
                    std::array::from_fn(
                        |axis| if axis == at % 3 && !at.is_multiple_of(50) { 1.0 } else { 0.0 },
                    );
                assert_eq!(row, expected, "row {at}");
            }
        }
        let last: Vec<f32> = files.read(1, 0).unwrap().flat_map(Result::unwrap).collect();
        assert_eq!(last, [0.0, 0.6, 0.8]);
        let sampled: usize = files.sample(0, 0.1).unwrap().map(|rows| rows.unwrap().len() / 3).sum();
        assert_eq!(sampled, 25, "a tenth of each of three row groups");
        assert!(files.read(7, 0).is_err());
    }

    #[test]
    fn what_is_no_embedding_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let told = |embeddings: ArrayRef, column: &str| {
            write(&path, column, embeddings);
            let read = EmbeddingFiles::open(&path).and_then(|files| {
                let rows: Result<Vec<_>, _> = files.read(0, 0)?.collect();
                rows.map(|_| ())
            });
            read.unwrap_err().to_string()
        };
        let nan = told(lists(&[&[1.0, 0.0], &[f32::NAN, 1.0]]), COLUMN);
        assert!(nan.contains("x.parquet") && nan.contains("row 1") && nan.contains("finite"), "{nan}");
        assert!(told(lists(&[&[1.0, 0.0], &[0.0, 0.0]]), COLUMN).contains("row 1"));
        assert!(told(lists(&[&[1.0, 0.0], &[1.0]]), COLUMN).contains("1 numbers where 2 belong"));
        assert!(told(lists(&[&[1.0, 0.0]]), "vector").contains("no column embedding"));
        assert!(told(fixed(0), COLUMN).contains("no row has an embedding"));
        std::fs::write(&path, b"no parquet at all").unwrap();
        assert!(matches!(EmbeddingFiles::open(&path), Err(SourceError::Damaged { .. })));
    }
}
