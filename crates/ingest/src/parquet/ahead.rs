//! A look at the faces of a source before it is read: how many rows there are, and a sample of their embeddings.

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use records::Embedding;

use super::columns::Vectors;
use super::files::{SourceFile, find};
use super::layout::{Kind, Layout};
use super::reader::load;
use crate::{ParquetConfig, SourceError};

/// Rows that are read together; the sample is made of such runs, evenly spread.
const RUN: u64 = 512;

/// The *faces* files of a source.
pub struct FacesAhead {
    files: Vec<(SourceFile, u64)>,
    rows: u64,
}

impl FacesAhead {
    /// Looks at the files' footers; `None` if they hold profiles.
    ///
    /// # Errors
    /// [`SourceError`] if there is no file or one cannot be read.
    pub fn open(config: &ParquetConfig) -> Result<Option<Self>, SourceError> {
        let (mut files, mut all) = (Vec::new(), 0);
        for file in find(config)? {
            let metadata = load(&file)?;
            let layout = Layout::of(metadata.schema())
                .map_err(|detail| SourceError::Schema { file: file.name.clone(), detail })?;
            if layout.kind != Kind::Faces {
                return Ok(None);
            }
            let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
            all += rows;
            files.push((file, rows));
        }
        Ok(Some(Self { files, rows: all }))
    }

    /// Rows of all files together.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives about `wanted` embeddings, normalised, evenly spread over all rows. Rows without a sound one are passed
    /// over. The same files give the same sample.
    ///
    /// # Errors
    /// [`SourceError::Damaged`] if a file cannot be read.
    pub fn sample(&self, wanted: u64, take: &mut dyn FnMut(&[f32])) -> Result<(), SourceError> {
        let share = (wanted as f64 / self.rows.max(1) as f64).min(1.0);
        for (file, rows) in &self.files {
            let metadata = load(file)?;
            let mask = ProjectionMask::columns(metadata.parquet_schema(), ["embedding"]);
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.open()?, metadata)
                .with_projection(mask)
                .with_batch_size(RUN as usize)
                .with_row_selection(selection(*rows, share))
                .build()
                .map_err(|e| file.damaged(&e))?;
            for batch in reader {
                let batch = batch.map_err(|e| file.damaged(&e))?;
                give(&batch, take).map_err(|e| file.damaged(&e))?;
            }
        }
        Ok(())
    }
}

fn give(batch: &RecordBatch, take: &mut dyn FnMut(&[f32])) -> Result<(), arrow::error::ArrowError> {
    let vectors = Vectors::of(batch, "embedding")?;
    for row in 0..batch.num_rows() {
        if let Some(embedding) = vectors.get(row).and_then(|values| Embedding::normalised(&values).ok()) {
            take(embedding.as_slice());
        }
    }
    Ok(())
}

/// Runs of rows, one in every stretch, so that together they are `share` of all.
fn selection(rows: u64, share: f64) -> RowSelection {
    let stretch = ((RUN as f64 / share.max(1e-9)).ceil() as u64).max(RUN);
    let mut selectors = Vec::new();
    let mut at = 0;
    while at < rows {
        let run = RUN.min(rows - at);
        selectors.push(RowSelector::select(run as usize));
        let gap = (stretch - RUN).min(rows - at - run);
        if gap > 0 {
            selectors.push(RowSelector::skip(gap as usize));
        }
        at += run + gap;
    }
    selectors.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_spread_and_covers_every_row() {
        for (rows, share) in [(0, 0.5), (10, 1.0), (100_000, 0.2), (100_001, 0.013), (5_000, 1.0)] {
            let selectors: Vec<RowSelector> = selection(rows, share).into();
            let count = |skip: bool| -> usize {
                selectors.iter().filter(|s| s.skip == skip).map(|s| s.row_count).sum()
            };
            assert_eq!((count(true) + count(false)) as u64, rows);
            let wanted = rows as f64 * share;
            assert!(
                (count(false) as f64) >= wanted * 0.9 && (count(false) as f64) < wanted + 2.0 * RUN as f64
            );
        }
    }
}
