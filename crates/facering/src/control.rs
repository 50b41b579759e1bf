//! The Unix socket of a running pipeline, in its state folder: one JSON line asks, one JSON line answers.
//!
//! One process owns the state. Another command that needs it asks the owner here, or opens the state itself when nobody
//! owns it; both ways the same [`Desk`](crate::pipeline::Desk) and readers do the work.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// Longest question taken, in bytes: a picture of 20 MB as base64 fits.
const LONGEST: u64 = 32 << 20;

/// What may be asked of the owner of a state.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// The nearest photos of a picture (base64), an account or a face.
    Search(SearchQuestion),
    /// Erase an account everywhere.
    Forget {
        /// The account.
        account: String,
    },
    /// Erase an account in this state only; asked by the owner of another state of the same accounts.
    ForgetHere {
        /// The account.
        account: String,
    },
    /// Erase by age in this state only; asked by the owner of another state of the same accounts.
    ForgetOlderHere {
        /// Older than so many days.
        days: u32,
    },
    /// Count dead letters, or list those of one reason.
    DeadLetters {
        /// Only this reason.
        reason: Option<String>,
        /// Most to list.
        limit: usize,
    },
    /// Send the events of dead letters to the source topic again.
    Replay {
        /// Only this reason.
        reason: Option<String>,
    },
    /// Every decision, oldest first.
    Decisions,
    /// Take a decision.
    Decide {
        /// Who decides.
        author: String,
        /// What.
        proposal: records::Proposal,
    },
    /// Fit the score to the decisions.
    Calibrate,
    /// Read these files beside the running stream.
    Backfill {
        /// What to read, as an absolute path or a URL.
        source: ingest::ParquetConfig,
    },
    /// Whose faces the state holds, and how far it has read its source.
    Standing,
    /// Sizes of the face index.
    IndexInfo,
    /// Rewrite the index without deleted vectors.
    IndexCompact,
    /// Train the index anew and move it to the new model.
    IndexTrain(TrainQuestion),
}

/// What to train the index with.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct TrainQuestion {
    /// Factory string.
    pub factory: String,
    /// Parquet with embeddings; the state's own faces without.
    pub from: Option<PathBuf>,
    /// Vectors drawn from it; 0 takes as many as the factory needs.
    pub sample: u64,
}

/// What to search for, and how.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct SearchQuestion {
    /// A picture file as base64.
    pub image: Option<String>,
    /// Every face of this account.
    pub account: Option<String>,
    /// One face.
    pub face: Option<String>,
    /// Neighbours for each face.
    pub k: usize,
    /// Look-alikes below the match threshold only.
    pub clones: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Value),
    Failed(String),
}

/// Answers questions; implemented by whoever owns the state.
pub trait Answers: Send + Sync + 'static {
    /// Answers one question. May block.
    fn answer(&self, question: Question) -> anyhow::Result<Value>;
}

/// Where the socket of a state folder lies.
pub fn socket_of(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// Asks the owner of the state. `None` if nobody listens there.
pub fn ask(state: &Path, question: &Question) -> anyhow::Result<Option<Value>> {
    let Ok(mut stream) = UnixStream::connect(socket_of(state)) else { return Ok(None) };
    let told = "the running facering does not answer on its socket";
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line).context(told)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context(told)?;
    match serde_json::from_str(&answer)
        .context("the running facering is of another version; ask with the same one")?
    {
        Answer::Done(value) => Ok(Some(value)),
        Answer::Failed(message) => bail!("{message}"),
    }
}

/// An open socket; its file goes with it.
pub struct Socket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Socket {
    /// Listens in the state folder, which this process owns (so a socket file found there is a dead one's).
    pub fn open(state: &Path, answers: Arc<dyn Answers>) -> anyhow::Result<Self> {
        let path = socket_of(state);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
        }
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("the control socket {} cannot be opened", path.display()))?;
        // Whoever may connect may read faces and erase accounts: nobody but this user.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("{} cannot be protected", path.display()))?;
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(&answers)))),
                    Err(error) => {
                        tracing::warn!(%error, "the control socket does not accept");
                        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    }
                }
            }
        });
        Ok(Self { path, task })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        // Left behind it would only be removed by the next owner.
        drop(std::fs::remove_file(&self.path));
    }
}

async fn converse(stream: tokio::net::UnixStream, answers: Arc<dyn Answers>) {
    use tokio::io::AsyncReadExt;
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let answer = match tokio::io::BufReader::new(read.take(LONGEST)).read_line(&mut line).await {
        Ok(0) => return,
        Ok(_) => match serde_json::from_str::<Question>(&line) {
            Ok(question) => match tokio::task::spawn_blocking(move || answers.answer(question)).await {
                Ok(Ok(value)) => Answer::Done(value),
                Ok(Err(error)) => Answer::Failed(format!("{error:#}")),
                Err(_) => Answer::Failed("the question made the running facering panic; see its log".into()),
            },
            Err(error) => Answer::Failed(format!("the question cannot be read: {error}")),
        },
        Err(error) => Answer::Failed(format!("the question cannot be read: {error}")),
    };
    if let Ok(mut text) = serde_json::to_vec(&answer) {
        text.push(b'\n');
        // Whoever asked may have gone.
        drop(write.write_all(&text).await);
    }
}
