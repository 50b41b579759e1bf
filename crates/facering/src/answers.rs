//! Answers to what other commands ask of the state, whether it is opened for the question or owned by a running pipeline.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use base64::Engine;
use embed::Embedder;
use index::FaceIndex;
use ingest::SourceConfig;
use records::{AccountId, Cosine, DeadLetter, FaceKey};
use serde::Serialize;
use serde_json::{Value, json};
use store::{Reader, Store, StoredDeadLetter};
use tokio::sync::{mpsc, oneshot};

use crate::config::Settings;
use crate::control::{self, Answers, Question, SearchQuestion};
use crate::pipeline::{
    CurrentVectors, Desk, Order, Pipeline, Snapshots, StoredVectors, desk_of, stored_form,
};
use crate::receipts;
use crate::standing::Standing;
use crate::state::State;
use crate::state_folders;

/// Faces of one question that are searched for; a group photo has more, but nobody reads that many answers.
const MOST_FACES: usize = 16;
/// Owners named for one photo found.
const MOST_OWNERS: usize = 10;

/// How erasing gets to the desk.
enum DeskWay {
    /// This process only answers; the desk is its own.
    Own(Box<Mutex<Desk>>),
    /// A pipeline is running; its desk takes orders.
    Orders(mpsc::Sender<Order>),
}

/// Somebody who has the state open.
pub struct Owner {
    settings: Settings,
    store: Store,
    index: Arc<FaceIndex>,
    embedder: Mutex<Option<Arc<Embedder>>>,
    snapshots: Arc<Snapshots>,
    desk: DeskWay,
}

/// Asks the process that owns the state, or opens the state if nobody does.
pub fn ask_or_open(settings: &Settings, question: Question) -> anyhow::Result<Value> {
    if let Some(answer) = control::ask(&settings.state.path, &question)? {
        return Ok(answer);
    }
    if !settings.state.path.join("store").exists() {
        bail!(
            "there is no state in {}; run a pipeline first, or name another folder with --set state.path=…",
            settings.state.path.display()
        );
    }
    // Training assigns every face to a list; for other questions starting ONNX Runtime would cost more than it saves.
    let runtime = match &question {
        Question::IndexTrain(_) => crate::commands::runtime_for_lists(settings),
        _ => None,
    };
    let state = State::open(settings, runtime.as_ref())?;
    let desk = desk_of(settings, &state, Arc::default())?;
    let snapshots = Snapshots::new(settings, state.store.clone(), &state.pack, Arc::default())?;
    let owner = Owner {
        settings: settings.clone(),
        store: state.store,
        index: state.index,
        embedder: Mutex::new(None),
        snapshots: Arc::new(snapshots),
        desk: DeskWay::Own(Box::new(Mutex::new(desk))),
    };
    owner.answer(question)
}

/// A photo that was found.
#[derive(Serialize)]
struct Found {
    face: String,
    cosine: f32,
    picture: String,
    owners: Vec<OwnerOf>,
    owners_in_all: u64,
}

#[derive(Serialize)]
struct OwnerOf {
    account_id: String,
    photo_id: String,
}

impl Owner {
    /// For a running pipeline: it keeps the desk, this answers beside it.
    pub fn beside(pipeline: &Pipeline) -> Self {
        let (parts, state) = (pipeline.parts(), pipeline.state());
        Self {
            settings: parts.settings.clone(),
            store: state.store.clone(),
            index: Arc::clone(&state.index),
            embedder: Mutex::new(Some(Arc::clone(&parts.embedder))),
            snapshots: pipeline.snapshots(),
            desk: DeskWay::Orders(pipeline.orders()),
        }
    }

    /// Where the key for receipts lies.
    pub fn receipt_key_file(&self) -> std::path::PathBuf {
        receipts::key_file(&self.settings.state.path, &self.settings.privacy.receipt_key_file)
    }

    /// Writes a snapshot of the state as it is.
    pub fn write_snapshot(&self) -> anyhow::Result<()> {
        self.snapshots.write().map(drop)
    }

    /// The folder of the state.
    pub fn state_path(&self) -> &Path {
        &self.settings.state.path
    }

    /// The state as it is now.
    pub fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// The face index.
    pub fn index(&self) -> &FaceIndex {
        &self.index
    }

    /// Where snapshots lie.
    pub fn output(&self) -> &std::path::Path {
        &self.settings.output.path
    }

    /// The faces on a picture file, largest first.
    pub fn embed_picture(&self, bytes: &[u8]) -> anyhow::Result<Vec<records::Embedding>> {
        let pixels = fetch::decode(bytes, self.settings.fetch.max_pixels)
            .map_err(|failure| anyhow::anyhow!(failure.detail))?;
        let embedder = self.embedder()?;
        let content =
            embedder.embed_batch(vec![&pixels]).into_iter().next().context("no answer from the models")??;
        if content.faces.is_empty() {
            bail!("the picture shows no face that the pack {} finds", embedder.pack().id());
        }
        Ok(content.faces.into_iter().map(|face| face.embedding).collect())
    }

    fn embedder(&self) -> anyhow::Result<Arc<Embedder>> {
        let mut slot = self.embedder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedder) = slot.as_ref() {
            return Ok(Arc::clone(embedder));
        }
        let runtime = inference::Runtime::start(&self.settings.inference)?;
        let pack = embed::load_pack(&self.settings.models)?;
        let embedder = Arc::new(Embedder::new(&runtime, &pack, self.settings.embed.clone())?);
        *slot = Some(Arc::clone(&embedder));
        Ok(embedder)
    }

    /// The faces a question is about: a name for each, and its vector.
    fn faces(&self, question: &SearchQuestion, reader: &Reader) -> anyhow::Result<Vec<(String, Vec<f32>)>> {
        let mut faces = Vec::new();
        if let Some(image) = &question.image {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(image)
                .context("the picture is no base64")?;
            for (at, embedding) in self.embed_picture(&bytes)?.iter().enumerate() {
                faces.push((format!("face {} of the picture", at + 1), stored_form(embedding.as_slice())));
            }
        } else if let Some(account) = &question.account {
            let account = AccountId::new(account)?;
            for own in reader.photos_of(&account)? {
                for row in reader.faces_of(own.photo) {
                    let (key, face) = row?;
                    faces.extend(reader.vector_of(face.ordinal)?.map(|vector| (key.to_string(), vector)));
                }
            }
            if faces.is_empty() {
                bail!("the state has no face of account {account}");
            }
        } else if let Some(face) = &question.face {
            let key: FaceKey =
                face.parse().context("a face's id looks like <64 hex digits>-<16 hex digits>")?;
            let vector = reader.vector(key)?.with_context(|| format!("the state has no face {key}"))?;
            faces.push((key.to_string(), vector));
        }
        faces.truncate(MOST_FACES);
        Ok(faces)
    }

    fn search(&self, question: &SearchQuestion) -> anyhow::Result<Value> {
        let reader = self.store.reader();
        let faces = self.faces(question, &reader)?;
        let flat: Vec<f32> = faces.iter().flat_map(|(_, vector)| vector.iter().copied()).collect();
        let exact = StoredVectors::new(&reader, self.index.dimension());
        // A face finds itself first, and look-alikes begin where matches end.
        let wanted = if question.clones { question.k.saturating_mul(8).max(64) } else { question.k + 1 };
        let found = self.index.nearest(&flat, wanted, -1.0, None, &exact)?;
        let pack = embed::load_pack(&self.settings.models)?;
        let match_from = pack.calibration().same_person_floor;
        let mut answers = Vec::new();
        for ((name, _), neighbours) in faces.iter().zip(found) {
            let mut photos = Vec::new();
            for neighbour in neighbours {
                let resembles_only = neighbour.cosine.get() < match_from;
                if photos.len() == question.k || (question.clones && !resembles_only) {
                    continue;
                }
                let ordinal = records::FaceOrdinal(neighbour.ordinal);
                match reader.face_at(ordinal)? {
                    Some(key) if key.to_string() != *name => {
                        photos.push(describe(&reader, key, neighbour.cosine)?)
                    }
                    _ => {}
                }
            }
            answers.push(json!({"face": name, "photos": photos}));
        }
        Ok(json!({"same_person_from": match_from, "clones": question.clones, "faces": answers}))
    }

    /// Has something done by the one who writes.
    pub fn at_desk<T>(
        &self,
        own: impl FnOnce(&mut Desk) -> anyhow::Result<T>,
        order: impl FnOnce(oneshot::Sender<anyhow::Result<T>>) -> Order,
    ) -> anyhow::Result<T> {
        match &self.desk {
            DeskWay::Own(desk) => own(&mut desk.lock().unwrap_or_else(PoisonError::into_inner)),
            DeskWay::Orders(orders) => {
                let (answer, waiting) = oneshot::channel();
                orders.blocking_send(order(answer)).context("the pipeline is stopping")?;
                waiting.blocking_recv().context("the pipeline stopped before this was done; ask again")?
            }
        }
    }

    fn backfill(&self, source: ingest::ParquetConfig) -> anyhow::Result<Value> {
        let rows = self.at_desk(
            |_| bail!("no pipeline is running here that could read beside its stream"),
            |answer| Order::Backfill(source, answer),
        )?;
        Ok(json!({ "rows": rows }))
    }

    /// Erases by age in every other state here: nobody runs on one kept from before a switch, and people's faces are in it
    /// all the same. Returns how many accounts went.
    pub fn retain_elsewhere(&self, days: u32) -> anyhow::Result<u64> {
        let mut erased = 0;
        for other in state_folders::all(&self.settings.root) {
            if other != self.settings.state.path {
                let settings = self.settings.clone().of_other_state(other);
                let answer = ask_or_open(&settings, Question::ForgetOlderHere { days })?;
                erased += answer["accounts"].as_u64().unwrap_or(0);
            }
        }
        Ok(erased)
    }

    /// Erases an account from every other state here: one filled beside the one in use, or kept from before a switch, must
    /// not bring it back. Returns the receipts of those that knew it.
    pub fn forget_elsewhere(&self, account: &AccountId) -> anyhow::Result<Vec<Value>> {
        let mut receipts = Vec::new();
        for other in state_folders::all(&self.settings.root) {
            if other != self.settings.state.path {
                let question = Question::ForgetHere { account: account.as_str().to_owned() };
                let answer = ask_or_open(&self.settings.clone().of_other_state(other), question)?;
                if answer["known"] == true {
                    receipts.push(answer);
                }
            }
        }
        Ok(receipts)
    }

    /// Sends the events of dead letters to the source topic again, each event once, and removes the letters.
    fn replay(&self, reason: Option<&str>) -> anyhow::Result<Value> {
        let SourceConfig::Kafka(kafka) = &self.settings.source else {
            bail!(
                "the source is no Kafka topic, so there is nowhere to send events again; run the backfill again instead"
            );
        };
        let letters = letters_to_send(&self.store.reader(), reason)?;
        let mut seen = HashSet::new();
        let events: Vec<DeadLetter> = letters
            .iter()
            .map(|stored| &stored.letter)
            .filter(|letter| seen.insert((letter.origin.partition.clone(), letter.origin.position)))
            .cloned()
            .collect();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.block_on(ingest::resend(kafka, &events))?,
            Err(_) => crate::commands::runtime()?.block_on(ingest::resend(kafka, &events))?,
        }
        // Letters of the same events go too: whatever fails again is written anew.
        let sequences: Vec<u64> = letters.iter().map(|stored| stored.sequence).collect();
        self.at_desk(
            |desk| desk.drop_letters(&sequences),
            |answer| Order::DropLetters(sequences.clone(), answer),
        )?;
        Ok(json!({"sent": events.len(), "topic": kafka.topic}))
    }

    fn dead_letters(&self, reason: Option<&str>, limit: usize) -> anyhow::Result<Value> {
        let reader = self.store.reader();
        let Some(reason) = reason else {
            return Ok(json!({"by_reason": reader.dead_letters_by_reason()}));
        };
        let reason = parse_reason(reason)?;
        let mut letters = Vec::new();
        for row in reader.dead_letters(0) {
            let stored = row?;
            if stored.letter.reason == reason && letters.len() < limit {
                let letter = &stored.letter;
                letters.push(json!({
                    "sequence": stored.sequence,
                    "partition": letter.origin.partition,
                    "position": letter.origin.position,
                    "stage": letter.stage,
                    "reason": letter.reason,
                    "detail": letter.detail,
                    "account": letter.account,
                    "photo": letter.photo,
                    "observed_at": letter.observed_at,
                    "published": stored.published,
                }));
            }
        }
        Ok(json!({"letters": letters}))
    }
}

/// Letters by reason, or all; those whose original bytes are kept.
fn letters_to_send(reader: &Reader, reason: Option<&str>) -> anyhow::Result<Vec<StoredDeadLetter>> {
    let reason = reason.map(parse_reason).transpose()?;
    let mut letters = Vec::new();
    for row in reader.dead_letters(0) {
        let stored = row?;
        if !stored.letter.origin.payload.is_empty()
            && reason.is_none_or(|wanted| stored.letter.reason == wanted)
        {
            letters.push(stored);
        }
    }
    Ok(letters)
}

fn parse_reason(text: &str) -> anyhow::Result<records::DeadLetterReason> {
    text.parse().map_err(|e| anyhow::anyhow!("{e}; docs/dead-letters.md lists the reasons"))
}

fn describe(reader: &Reader, key: FaceKey, cosine: Cosine) -> anyhow::Result<Found> {
    let mut owners = Vec::new();
    for row in reader.owners_of(&key.photo).take(MOST_OWNERS) {
        let (account, photo) = row?;
        owners.push(OwnerOf { account_id: account.to_string(), photo_id: photo.to_string() });
    }
    let owners_in_all = reader.photo(&key.photo)?.map_or(0, |photo| photo.owners);
    Ok(Found {
        face: key.to_string(),
        cosine: cosine.get(),
        picture: key.photo.to_string(),
        owners,
        owners_in_all,
    })
}

impl Answers for Owner {
    fn answer(&self, question: Question) -> anyhow::Result<Value> {
        match question {
            Question::Search(question) => self.search(&question),
            Question::Forget { account } => self.forget_and_tell(&account, Owner::forget),
            Question::ForgetOlderHere { days } => {
                Ok(json!({ "accounts": self.forget_all_older_than(days)? }))
            }
            Question::ForgetHere { account } => self.forget_and_tell(&account, Owner::forget_here),
            Question::Decisions => self.list_decisions(),
            Question::Decide { author, proposal } => self.decide_on_newest(&author, proposal),
            Question::Calibrate => {
                let found = crate::pipeline::recalibrate(&self.store.reader(), &self.settings)?;
                Ok(serde_json::to_value(found)?)
            }
            Question::DeadLetters { reason, limit } => self.dead_letters(reason.as_deref(), limit),
            Question::Replay { reason } => self.replay(reason.as_deref()),
            Question::Backfill { source } => self.backfill(source),
            Question::Standing => Ok(serde_json::to_value(Standing::of(&self.store.reader()))?),
            Question::IndexInfo => Ok(serde_json::to_value(self.index.info()?)?),
            Question::IndexTrain(question) => {
                let exact = CurrentVectors::new(&self.store, self.index.dimension());
                crate::commands::train_state(&self.settings, &self.index, &exact, &question)
            }
            Question::IndexCompact => {
                self.index.compact(true, Some(&CurrentVectors::new(&self.store, self.index.dimension())))?;
                Ok(serde_json::to_value(self.index.info()?)?)
            }
        }
    }
}
