//! Vectors in memory that are still being added to: the live segment.

use std::sync::Arc;

use crate::model::Model;
use crate::native::Native;
use crate::{IndexError, Metric};

/// How the vectors of an index are kept.
#[derive(Clone, Debug)]
pub enum Form {
    /// As they are, compared exhaustively.
    Flat,
    /// As codes in lists.
    Lists(Arc<Model>),
    /// By a FAISS index that facering does not look into (`SQ8`, `HNSW32`, fast-scan codes).
    Opaque(Arc<Model>),
}

impl Form {
    /// The form that fits a model.
    pub fn of(model: Arc<Model>) -> Self {
        if model.native.shape().has_plain_lists() { Self::Lists(model) } else { Self::Opaque(model) }
    }

    /// The model, none for exact search.
    pub fn model(&self) -> Option<&Arc<Model>> {
        match self {
            Self::Flat => None,
            Self::Lists(model) | Self::Opaque(model) => Some(model),
        }
    }

    /// The factory string.
    pub fn factory(&self) -> &str {
        self.model().map_or("Flat", |model| &model.facts.factory)
    }

    /// Whether two stand for the same model.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self.model(), other.model()) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// What a vector needs before it can be added, computed without touching the index.
    pub fn prepare(&self, vectors: &[f32]) -> Result<Prepared, IndexError> {
        let Self::Lists(model) = self else { return Ok(Prepared::Plain) };
        let transformed = model.native.transformed(vectors)?;
        let (lists, _) = model.coarse.best_lists(&transformed, 1)?;
        let codes = model.native.encode(&transformed, &lists)?;
        Ok(Prepared::Codes { lists, codes })
    }
}

/// What [`Form::prepare`] computed.
pub enum Prepared {
    /// Nothing: the vectors themselves are added.
    Plain,
    /// Lists and codes.
    Codes {
        /// A list for each vector.
        lists: Vec<i64>,
        /// A code for each vector.
        codes: Vec<u8>,
    },
}

/// The live segment.
pub enum Rows {
    /// Of [`Form::Flat`].
    Flat {
        /// Ordinal of each row.
        ordinals: Vec<u64>,
        /// The rows.
        vectors: Vec<f32>,
    },
    /// Of [`Form::Lists`].
    Lists(Native),
    /// Of [`Form::Opaque`]; the index is read when the first vector comes.
    Opaque {
        /// The model to start from.
        model: Arc<Model>,
        /// FAISS's index.
        index: Option<Native>,
        /// Ordinal of each of its numbers.
        ordinals: Vec<u64>,
    },
}

/// A borrowed view of rows in memory or on disk, the same for both.
pub enum Part<'a> {
    /// Exact vectors.
    Flat {
        /// Ordinal of each row.
        ordinals: &'a [u64],
        /// The rows.
        vectors: &'a [f32],
    },
    /// Codes in lists; ids are ordinals.
    Lists(&'a Native),
    /// A FAISS index with numbers of its own.
    Opaque {
        /// The index.
        index: &'a Native,
        /// Ordinal of each of its numbers.
        ordinals: &'a [u64],
    },
}

impl Rows {
    /// Nothing yet.
    pub fn new(form: &Form) -> Result<Self, IndexError> {
        Ok(match form {
            Form::Flat => Self::Flat { ordinals: Vec::new(), vectors: Vec::new() },
            Form::Lists(model) => Self::Lists(model.native.view()?),
            Form::Opaque(model) => Self::Opaque { model: model.clone(), index: None, ordinals: Vec::new() },
        })
    }

    /// Appends vectors that were prepared by the same form.
    pub fn push(&mut self, ordinals: &[u64], vectors: &[f32], prepared: &Prepared) -> Result<(), IndexError> {
        match (self, prepared) {
            (Self::Flat { ordinals: kept, vectors: rows }, _) => {
                kept.extend_from_slice(ordinals);
                rows.extend_from_slice(vectors);
            }
            (Self::Lists(view), Prepared::Codes { lists, codes }) => {
                let ids: Vec<i64> = ordinals.iter().map(|ordinal| *ordinal as i64).collect();
                view.add_codes(&ids, lists, codes)?;
            }
            (Self::Opaque { model, index, ordinals: kept }, _) => {
                let index = match index {
                    Some(index) => index,
                    empty => empty.insert(Native::read(&model.file)?),
                };
                index.add(vectors)?;
                kept.extend_from_slice(ordinals);
            }
            (Self::Lists(_), Prepared::Plain) => {
                return Err(IndexError::Coarse("the index changed while vectors were prepared".into()));
            }
        }
        Ok(())
    }

    /// Vectors in it.
    pub fn len(&self) -> usize {
        match self {
            Self::Flat { ordinals, .. } | Self::Opaque { ordinals, .. } => ordinals.len(),
            Self::Lists(view) => view.total(),
        }
    }

    /// For searching; `None` when empty.
    pub fn part(&self) -> Option<Part<'_>> {
        match self {
            _ if self.len() == 0 => None,
            Self::Flat { ordinals, vectors } => Some(Part::Flat { ordinals, vectors }),
            Self::Lists(view) => Some(Part::Lists(view)),
            Self::Opaque { index, ordinals, .. } => {
                index.as_ref().map(|index| Part::Opaque { index, ordinals })
            }
        }
    }

    /// Bytes of the vectors or codes and their ordinals in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Flat { ordinals, vectors } => (ordinals.capacity() * 8 + vectors.capacity() * 4) as u64,
            Self::Lists(view) => view.total() as u64 * (view.shape().code_size + 8) + view.shape().lists * 48,
            Self::Opaque { ordinals, index, .. } => {
                let d = index.as_ref().map_or(0, |index| index.shape().dimension);
                ordinals.len() as u64 * (8 + d * 4)
            }
        }
    }
}

impl Part<'_> {
    /// Every ordinal, in the order of the part.
    pub fn ordinals(&self) -> Result<Vec<u64>, IndexError> {
        match self {
            Self::Flat { ordinals, .. } | Self::Opaque { ordinals, .. } => Ok(ordinals.to_vec()),
            Self::Lists(view) => {
                let mut all = Vec::with_capacity(view.total());
                for list in 0..view.shape().lists as usize {
                    view.with_list(list, |_, ids| {
                        all.extend(ids.iter().map(|id| *id as u64));
                        Ok(())
                    })?;
                }
                Ok(all)
            }
        }
    }

    /// Calls `body` with every ordinal, in the order of the part, without holding them all.
    pub fn for_each_ordinal(
        &self,
        body: &mut dyn FnMut(u64) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        match self {
            Self::Flat { ordinals, .. } | Self::Opaque { ordinals, .. } => {
                ordinals.iter().try_for_each(|ordinal| body(*ordinal))
            }
            Self::Lists(view) => (0..view.shape().lists as usize).try_for_each(|list| {
                view.with_list(list, |_, ids| ids.iter().try_for_each(|id| body(*id as u64)))
            }),
        }
    }

    /// The raw score as "larger is nearer" for either metric.
    pub fn oriented(metric: Metric, raw: f32) -> f32 {
        match metric {
            Metric::Ip => raw,
            Metric::L2 => -raw,
        }
    }
}
