//! The state as the HTTP service sees it: its traits, implemented over store, index, models and snapshots.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use records::tables::Tables;
use records::{AccountId, Decision, Deed, Embedding, FaceKey, FaceOrdinal, PhotoKey};
use report::{HtmlOptions, Thumbnails};
use serve::{
    AccountView, ForgetReceipt, Latest, Match, PhotoView, ReviewState, SearchLimits, ServiceState,
    StateError, Status,
};

use crate::answers::Owner;
use crate::pipeline::{StoredVectors, stored_form};
use crate::sealing::ThumbnailKey;

/// Owners named for one face found by a search.
const MOST_OWNERS: usize = 100;

/// The newest snapshot, read once and kept until a newer one is written.
#[derive(Default)]
struct Kept {
    /// What `LATEST` said when it was read.
    name: String,
    latest: Option<Arc<Latest>>,
    /// Its report, once somebody asked for it.
    page: Option<Arc<str>>,
    /// Whether a newer one is being read.
    reading: bool,
}

/// The state behind the service.
pub struct HttpState {
    owner: Arc<Owner>,
    output: PathBuf,
    thumbnails: Option<ThumbnailKey>,
    kept: Arc<Mutex<Kept>>,
    /// The decisions as of a commit.
    log: Mutex<(u64, Arc<Vec<Decision>>)>,
}

impl HttpState {
    /// Over the same owner that answers on the control socket.
    pub fn new(owner: Arc<Owner>, output: PathBuf, thumbnails: Option<ThumbnailKey>) -> Self {
        Self { owner, output, thumbnails, kept: Arc::default(), log: Mutex::default() }
    }

    /// The name of the newest snapshot's folder.
    fn newest(&self) -> Result<String, StateError> {
        std::fs::read_to_string(self.output.join("clusters/LATEST"))
            .map(|name| name.trim().to_owned())
            .map_err(|_| StateError::NotReady("no snapshot has been written yet".into()))
    }

    /// The newest snapshot. While a newer one is being read the one before is answered, so that nobody waits for the
    /// tables of 100,000 clusters; but never one whose folder is gone, since it may have held somebody who was forgotten.
    fn kept(&self) -> Result<(String, Arc<Latest>), StateError> {
        let name = self.newest()?;
        let mut kept = lock(&self.kept);
        if let Some(latest) = &kept.latest {
            if kept.name == name {
                return Ok((name, Arc::clone(latest)));
            }
            if self.output.join("clusters").join(&kept.name).is_dir() {
                let answer = (kept.name.clone(), Arc::clone(latest));
                if !kept.reading {
                    kept.reading = true;
                    let (folder, slot) = (self.output.join("clusters").join(&name), Arc::clone(&self.kept));
                    std::thread::spawn(move || {
                        let read = read(&folder);
                        let mut kept = lock(&slot);
                        match read {
                            Ok(latest) => *kept = Kept { name, latest: Some(latest), ..Kept::default() },
                            Err(error) => {
                                tracing::warn!(%error, "the newest snapshot cannot be read yet");
                                kept.reading = false;
                            }
                        }
                    });
                }
                return Ok(answer);
            }
        }
        let latest = read(&self.output.join("clusters").join(&name))?;
        *kept = Kept { name: name.clone(), latest: Some(Arc::clone(&latest)), ..Kept::default() };
        Ok((name, latest))
    }

    fn find(&self, picture: &PhotoKey) -> Result<Option<Vec<u8>>, StateError> {
        let Some(key) = &self.thumbnails else { return Ok(None) };
        let sealed = self.owner.reader().thumbnail(picture).map_err(failed)?;
        Ok(sealed.and_then(|sealed| key.open(picture, &sealed)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(folder: &std::path::Path) -> Result<Arc<Latest>, StateError> {
    let snapshot = report::read_snapshot(folder).map_err(failed)?;
    Ok(Arc::new(Latest { run: snapshot.run, tables: snapshot.tables }))
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
        Ok(self.kept()?.1)
    }

    fn page(&self) -> Result<Arc<str>, StateError> {
        let (name, _) = self.kept()?;
        if let Some(page) =
            Some(lock(&self.kept)).filter(|kept| kept.name == name).and_then(|k| k.page.clone())
        {
            return Ok(page);
        }
        let snapshot = report::read_snapshot(&self.output.join("clusters").join(&name)).map_err(failed)?;
        let snapshot = crate::sealing::opened(snapshot, self.thumbnails.clone());
        let page: Arc<str> = report::html(&snapshot, None, &HtmlOptions::default()).map_err(failed)?.into();
        let mut kept = lock(&self.kept);
        if kept.name == name {
            kept.page = Some(Arc::clone(&page));
        }
        Ok(page)
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
        let told = |error: anyhow::Error| StateError::Failed(format!("{error:#}"));
        let Some(forgotten) = self.owner.forget(account).map_err(told)? else { return Ok(None) };
        // Whatever was kept of snapshots that are gone goes too.
        *lock(&self.kept) = Kept::default();
        let counts = forgotten.counts;
        Ok(Some(ForgetReceipt {
            photos: counts.photos + counts.photos_kept,
            pictures: counts.photos,
            faces: counts.faces,
            receipt: forgotten.signed.receipt,
            signature: forgotten.signed.signature,
            public_key: forgotten.signed.public_key,
        }))
    }
}

impl ReviewState for HttpState {
    fn decisions(&self) -> Result<Arc<Vec<Decision>>, StateError> {
        let reader = self.owner.reader();
        let mut kept = lock(&self.log);
        if kept.0 != reader.commit() {
            let read = reader.decisions().map_err(failed)?;
            // Most commits are batches and decide nothing; then the same list stays.
            let same = *kept.1 == read;
            let log = if same { Arc::clone(&kept.1) } else { Arc::new(read) };
            *kept = (reader.commit(), log);
        }
        Ok(Arc::clone(&kept.1))
    }

    fn decide(&self, author: &str, deed: Deed) -> Result<Decision, StateError> {
        self.owner.decide(author, deed).map_err(|error| match error.downcast_ref::<store::StoreError>() {
            Some(store::StoreError::Decision { why }) => StateError::Unanswerable(why.clone()),
            _ => StateError::Failed(format!("{error:#}")),
        })
    }

    fn cluster_body(&self, tables: Tables) -> Result<String, StateError> {
        let reader = self.owner.reader();
        let key = self.thumbnails.clone();
        let find = move |picture: &PhotoKey| {
            let sealed = reader.thumbnail(picture).ok().flatten()?;
            key.as_ref()?.open(picture, &sealed)
        };
        let thumbnails = Thumbnails::asked_of(Box::new(find));
        let options = HtmlOptions { pairs: 12, members: 200, ..HtmlOptions::default() };
        report::cluster_fragment(&tables, &thumbnails, &options).map_err(failed)
    }

    fn style(&self) -> &'static str {
        report::STYLE
    }

    fn thumbnail(&self, picture: &PhotoKey) -> Result<Option<Bytes>, StateError> {
        Ok(self.find(picture)?.map(Bytes::from))
    }

    fn faces_on(&self, picture: &PhotoKey) -> Result<Vec<(FaceKey, Embedding)>, StateError> {
        let reader = self.owner.reader();
        let mut faces = Vec::new();
        for row in reader.faces_of(*picture) {
            let (key, face) = row.map_err(failed)?;
            let vector = reader.vector_of(face.ordinal).map_err(failed)?;
            let embedding = vector.and_then(|vector| Embedding::normalised(&vector).ok());
            faces.extend(embedding.map(|embedding| (face.quality.width_px, key, embedding)));
        }
        faces.sort_by(|(a, x, _), (b, y, _)| b.total_cmp(a).then(x.cmp(y)));
        Ok(faces.into_iter().map(|(_, key, embedding)| (key, embedding)).collect())
    }
}
