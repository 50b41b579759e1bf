//! The state as the HTTP service sees it: its trait, implemented over store, index, models and snapshots.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use records::{AccountId, Embedding, FaceOrdinal};
use serve::{
    AccountView, ForgetReceipt, Latest, Match, PhotoView, SearchLimits, ServiceState, StateError, Status,
};

use crate::answers::Owner;
use crate::control::{Answers, Question};
use crate::pipeline::{StoredVectors, stored_form};

/// Owners named for one face found by a search.
const MOST_OWNERS: usize = 100;

/// The newest snapshot, read once and kept until a newer one is written.
#[derive(Default)]
struct Kept {
    name: String,
    latest: Option<Arc<Latest>>,
    page: Option<Arc<str>>,
}

/// The state behind the service.
pub struct HttpState {
    owner: Arc<Owner>,
    output: PathBuf,
    kept: Mutex<Kept>,
}

impl HttpState {
    /// Over the same owner that answers on the control socket.
    pub fn new(owner: Arc<Owner>, output: PathBuf) -> Self {
        Self { owner, output, kept: Mutex::default() }
    }

    /// Reads the newest snapshot, if it is another than the one kept.
    fn kept(&self) -> Result<std::sync::MutexGuard<'_, Kept>, StateError> {
        let none = || StateError::NotReady("no snapshot has been written yet".into());
        let name = std::fs::read_to_string(self.output.join("clusters/LATEST")).map_err(|_| none())?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.name != name || kept.latest.is_none() {
            let snapshot = report::read_snapshot(&self.output).map_err(failed)?;
            let page = report::html(&snapshot, None, &report::HtmlOptions::default()).map_err(failed)?;
            let latest = Latest { run: snapshot.run, tables: snapshot.tables };
            *kept = Kept { name, latest: Some(Arc::new(latest)), page: Some(page.into()) };
        }
        Ok(kept)
    }
}

fn failed(error: impl std::fmt::Display) -> StateError {
    StateError::Failed(error.to_string())
}

impl ServiceState for HttpState {
    fn status(&self) -> Result<Status, StateError> {
        let reader = self.owner.reader();
        let counts = reader.counts();
        Ok(Status {
            waiting_for: None,
            accounts: counts.accounts,
            photos: counts.photos,
            faces: counts.faces,
            links: counts.links,
            as_of: reader.greatest_observed_at(),
        })
    }

    fn latest(&self) -> Result<Arc<Latest>, StateError> {
        self.kept()?
            .latest
            .clone()
            .ok_or_else(|| StateError::NotReady("no snapshot has been written yet".into()))
    }

    fn page(&self) -> Result<Arc<str>, StateError> {
        self.kept()?
            .page
            .clone()
            .ok_or_else(|| StateError::NotReady("no snapshot has been written yet".into()))
    }

    fn embed(&self, picture: Bytes) -> Result<Vec<Embedding>, StateError> {
        self.owner.embed_picture(&picture).map_err(|error| StateError::Unanswerable(format!("{error:#}")))
    }

    fn search(&self, queries: &[Embedding], limits: SearchLimits) -> Result<Vec<Vec<Match>>, StateError> {
        let (reader, index) = (self.owner.reader(), self.owner.index());
        if let Some(other) = queries.iter().find(|query| query.dimension() != index.dimension()) {
            let (found, wanted) = (other.dimension(), index.dimension());
            return Err(StateError::Unanswerable(format!(
                "a query has {found} dimensions, the index has {wanted}"
            )));
        }
        let flat: Vec<f32> = queries.iter().flat_map(|query| stored_form(query.as_slice())).collect();
        let exact = StoredVectors::new(&reader, index.dimension());
        let found = index.nearest(&flat, limits.matches, limits.least.get(), None, &exact).map_err(failed)?;
        let mut answers = Vec::with_capacity(found.len());
        for neighbours in found {
            let mut matches = Vec::new();
            for neighbour in neighbours {
                let Some(face) = reader.face_at(FaceOrdinal(neighbour.ordinal)).map_err(failed)? else {
                    continue;
                };
                for row in reader.owners_of(&face.photo).take(MOST_OWNERS) {
                    let (account, photo) = row.map_err(failed)?;
                    matches.push(Match { account, photo, face, cosine: neighbour.cosine });
                }
            }
            matches.truncate(limits.matches);
            answers.push(matches);
        }
        Ok(answers)
    }

    fn account(&self, account: &AccountId) -> Result<Option<AccountView>, StateError> {
        let reader = self.owner.reader();
        let Some(row) = reader.account(account).map_err(failed)?.filter(|row| !row.deleted) else {
            return Ok(None);
        };
        let mut photos = Vec::new();
        for own in reader.photos_of(account).map_err(failed)? {
            let faces = reader.faces_of(own.photo).map(|row| row.map(|(key, _)| key));
            let faces = faces.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            photos.push(PhotoView { photo_id: own.photo_id, picture: own.photo, faces });
        }
        Ok(Some(AccountView { facts: row.facts, observed_at: row.last_seen, photos }))
    }

    fn forget(&self, account: &AccountId) -> Result<Option<ForgetReceipt>, StateError> {
        let receipt = self
            .owner
            .answer(Question::Forget { account: account.to_string() })
            .map_err(|error| StateError::Failed(format!("{error:#}")))?;
        if receipt["known"] != true {
            return Ok(None);
        }
        let number = |key: &str| receipt[key].as_u64().unwrap_or(0);
        Ok(Some(ForgetReceipt {
            photos: number("photos_erased") + number("photos_of_others_kept"),
            pictures: number("photos_erased"),
            faces: number("faces_erased"),
            receipt: receipt.to_string(),
        }))
    }
}
