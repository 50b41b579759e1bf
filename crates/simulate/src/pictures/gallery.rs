//! All pictures of some accounts, by the path in their URLs.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;

use super::{draw, photo_path};
use crate::SimulateError;
use crate::population::{Account, Original, Picture, Treatment};

/// The pictures of some accounts as facts; drawn when asked for.
#[derive(Clone, Debug)]
pub struct Gallery {
    side: u32,
    by_path: HashMap<String, Picture>,
}

/// An original and its copies, each with the paths where it stands.
struct Work {
    original: Arc<Original>,
    copies: HashMap<Treatment, Vec<String>>,
}

impl Gallery {
    /// The photos of these accounts, portraits having sides of so many pixels.
    pub fn of(accounts: &[Account], side: u32) -> Self {
        let photos = accounts.iter().flat_map(|account| {
            account.photos.iter().map(|photo| (photo_path(&account.id, &photo.id), photo.picture.clone()))
        });
        Self { side, by_path: photos.collect() }
    }

    /// Every path in it.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.by_path.keys().map(String::as_str)
    }

    /// The JPEG at a path; none if there is no such path.
    ///
    /// # Errors
    /// [`SimulateError::Picture`] if it cannot be drawn.
    pub fn jpeg(&self, path: &str) -> Result<Option<Bytes>, SimulateError> {
        let Some(picture) = self.by_path.get(path) else { return Ok(None) };
        let drawn = draw::original(&picture.original, self.side).map_err(failed)?;
        draw::copy(&picture.original, picture.treatment, &drawn)
            .map(|bytes| Some(bytes.into()))
            .map_err(failed)
    }

    /// All JPEG files by path, each original drawn once and equal files held once.
    ///
    /// # Errors
    /// [`SimulateError::Picture`] if one cannot be drawn.
    pub fn render_all(&self) -> Result<HashMap<String, Bytes>, SimulateError> {
        let mut work: HashMap<u64, Work> = HashMap::new();
        for (path, picture) in &self.by_path {
            let work = work
                .entry(picture.original.seed)
                .or_insert_with(|| Work { original: picture.original.clone(), copies: HashMap::new() });
            work.copies.entry(picture.treatment).or_default().push(path.clone());
        }
        let work: Vec<Work> = work.into_values().collect();
        let files: Vec<Vec<(String, Bytes)>> =
            work.into_par_iter().map(|work| self.render(work)).collect::<Result<_, _>>()?;
        Ok(files.into_iter().flatten().collect())
    }

    fn render(&self, work: Work) -> Result<Vec<(String, Bytes)>, SimulateError> {
        let drawn = draw::original(&work.original, self.side).map_err(failed)?;
        let mut files = Vec::new();
        for (treatment, paths) in work.copies {
            let bytes = Bytes::from(draw::copy(&work.original, treatment, &drawn).map_err(failed)?);
            files.extend(paths.into_iter().map(|path| (path, bytes.clone())));
        }
        Ok(files)
    }
}

fn failed(error: crate::portrait::PictureError) -> SimulateError {
    SimulateError::Picture(error.to_string())
}
