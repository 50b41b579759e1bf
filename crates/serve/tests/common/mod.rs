//! A small state in memory, and a client that speaks HTTP over a socket itself, so that odd requests can be made.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use records::tables::{
    AccountRow, Change, ClusterRow, EvidenceRow, LinkKind, MemberRow, Role as TableRole, RunInfo,
    TABLES_VERSION, Tables,
};
use records::{
    AccountId, Checkpoint, Decision, DecisionId, Deed, Embedding, FaceKey, PhotoId, PhotoKey, ProfileFacts,
    Timestamp,
};
use serve::{
    AccountView, ForgetReceipt, Latest, Match, PhotoView, ReviewState, SearchLimits, ServeConfig, Server,
    ServiceState, StateError, Status,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub fn account(n: usize) -> AccountId {
    AccountId::new(format!("account {n}")).unwrap()
}

/// One account a face: account n looks in direction n of eight.
pub struct SmallState {
    pub faces: Mutex<BTreeMap<AccountId, Embedding>>,
    pub latest: Option<Arc<Latest>>,
    /// How long a search takes.
    pub slowness: Duration,
    pub log: Mutex<Arc<Vec<Decision>>>,
}

impl SmallState {
    pub fn new() -> Self {
        let faces = (0..8).map(|n| {
            let mut vector = [0.0f32; 8];
            vector[n] = 1.0;
            vector[(n + 1) % 8] = 0.5;
            (account(n), Embedding::normalised(&vector).unwrap())
        });
        Self {
            faces: Mutex::new(faces.collect()),
            latest: Some(Arc::new(latest())),
            slowness: Duration::ZERO,
            log: Mutex::default(),
        }
    }
}

fn face(account: &AccountId, embedding: &Embedding) -> (PhotoId, FaceKey) {
    let photo = PhotoId::new("avatar").unwrap();
    (photo.clone(), FaceKey::new(PhotoKey::unhashed(account, &photo), embedding))
}

impl ServiceState for SmallState {
    fn status(&self) -> Result<Status, StateError> {
        let count = self.faces.lock().unwrap().len() as u64;
        let waiting_for = self.latest.is_none().then(|| "the first snapshot".to_owned());
        Ok(Status {
            waiting_for,
            accounts: count,
            photos: count,
            faces: count,
            links: 0,
            as_of: Some(Timestamp::EPOCH),
        })
    }

    fn latest(&self) -> Result<Arc<Latest>, StateError> {
        self.latest.clone().ok_or_else(|| StateError::NotReady("there is no snapshot yet".into()))
    }

    fn page(&self) -> Result<Arc<str>, StateError> {
        self.latest().map(|latest| format!("<!DOCTYPE html><title>{}</title>", latest.run.snapshot).into())
    }

    /// A "picture" here is eight bytes, its face's coordinates.
    fn embed(&self, picture: Bytes) -> Result<Vec<Embedding>, StateError> {
        let vector: Vec<f32> = picture.iter().map(|byte| f32::from(*byte)).collect();
        match vector.len() {
            8 => Ok(vec![Embedding::normalised(&vector).unwrap()]),
            _ => Err(StateError::Unanswerable("the picture shows no face".into())),
        }
    }

    fn search(&self, queries: &[Embedding], limits: SearchLimits) -> Result<Vec<Vec<Match>>, StateError> {
        std::thread::sleep(self.slowness);
        let faces = self.faces.lock().unwrap();
        let answer = |query: &Embedding| {
            let mut found = Vec::new();
            for (account, embedding) in faces.iter() {
                let cosine = query.cosine(embedding).ok_or_else(|| {
                    StateError::Unanswerable("the index has vectors of 8 dimensions".into())
                })?;
                let (photo, face) = face(account, embedding);
                if cosine >= limits.least {
                    found.push(Match { account: account.clone(), photo, face, cosine });
                }
            }
            found.sort_by_key(|found| std::cmp::Reverse(found.cosine));
            found.truncate(limits.matches);
            Ok(found)
        };
        queries.iter().map(answer).collect()
    }

    fn account(&self, account: &AccountId) -> Result<Option<AccountView>, StateError> {
        Ok(self.faces.lock().unwrap().get(account).map(|embedding| {
            let (photo_id, face) = face(account, embedding);
            AccountView {
                facts: ProfileFacts { followers: Some(3), ..ProfileFacts::default() },
                observed_at: Timestamp::EPOCH,
                photos: vec![PhotoView { photo_id, picture: face.photo, faces: vec![face] }],
            }
        }))
    }

    fn forget(&self, account: &AccountId) -> Result<Option<ForgetReceipt>, StateError> {
        let removed = self.faces.lock().unwrap().remove(account);
        Ok(removed.map(|_| ForgetReceipt {
            photos: 1,
            pictures: 1,
            faces: 1,
            receipt: "erased".into(),
            signature: "signed".into(),
            public_key: "key".into(),
        }))
    }
}

impl ReviewState for SmallState {
    fn decisions(&self) -> Result<Arc<Vec<Decision>>, StateError> {
        Ok(Arc::clone(&self.log.lock().unwrap()))
    }

    fn decide(&self, author: &str, deed: Deed) -> Result<Decision, StateError> {
        let mut log = self.log.lock().unwrap();
        if let Deed::Undo { decision, .. } = &deed
            && !log.iter().any(|known| known.id == *decision)
        {
            return Err(StateError::Unanswerable(format!("there is no decision {decision}")));
        }
        let id = DecisionId(log.len() as u64 + 1);
        let decision = Decision { id, author: author.into(), at: Timestamp::EPOCH, deed };
        *log = Arc::new(log.iter().cloned().chain([decision.clone()]).collect());
        Ok(decision)
    }

    fn cluster_body(&self, tables: Tables) -> Result<String, StateError> {
        Ok(format!("<p>body of {}</p>", tables.clusters[0].cluster_id))
    }

    fn style(&self) -> &'static str {
        "p { color: red }"
    }

    fn thumbnail(&self, picture: &PhotoKey) -> Result<Option<Bytes>, StateError> {
        let known = PhotoKey::unhashed(&account(0), &PhotoId::new("avatar").unwrap());
        Ok((*picture == known).then(|| Bytes::from_static(&[0xff, 0xd8, 0xff, 0])))
    }

    fn faces_on(&self, picture: &PhotoKey) -> Result<Vec<(FaceKey, Embedding)>, StateError> {
        let faces = self.faces.lock().unwrap();
        let all = faces.iter().map(|(account, embedding)| (face(account, embedding).1, embedding.clone()));
        Ok(all.filter(|(key, _)| key.photo == *picture).collect())
    }
}

/// 120 clusters of two members and a victim each.
fn latest() -> Latest {
    let mut tables = Tables { clusters: vec![], members: vec![], evidence: vec![], accounts: vec![] };
    for n in 0..120 {
        let id = format!("fc-{n:03}");
        tables.clusters.push(ClusterRow {
            cluster_id: id.clone(),
            score: 0.5 + f64::from(n % 40) / 100.0,
            accounts: 2,
            photos: 1,
            identities: 1,
            first_seen: Timestamp::EPOCH,
            last_seen: Timestamp::EPOCH,
            kinds: vec![if n % 2 == 0 { LinkKind::SameBytes } else { LinkKind::SamePhoto }],
            reasons: vec![],
            weakest_link: None,
            change: Change::New,
            parents: vec![],
        });
        let names = [n as usize * 3, n as usize * 3 + 1, n as usize * 3 + 2].map(account);
        for (nth, name) in names.iter().enumerate() {
            let role = if nth == 2 { TableRole::Victim } else { TableRole::Member };
            tables.members.push(MemberRow {
                cluster_id: id.clone(),
                account_id: name.clone(),
                score: 0.9,
                role,
                reasons: vec![],
            });
            tables.accounts.push(AccountRow {
                account_id: name.clone(),
                facts: ProfileFacts { username: Some(format!("user {nth}")), ..ProfileFacts::default() },
                first_seen: Timestamp::EPOCH,
                last_seen: Timestamp::EPOCH,
                photos: 1,
            });
        }
        let photo = PhotoId::new("avatar").unwrap();
        let picture = PhotoKey::unhashed(&names[0], &photo);
        tables.evidence.push(EvidenceRow {
            cluster_id: id,
            account_a: names[0].clone(),
            account_b: names[1].clone(),
            kind: LinkKind::SameBytes,
            photo_a: photo.clone(),
            photo_b: photo,
            picture_a: picture,
            picture_b: picture,
            similarity: Some(1.0),
            pdq_distance: None,
            owners: 3,
            weight: 0.9,
            observed_a: Timestamp::EPOCH,
            observed_b: Timestamp::EPOCH,
        });
    }
    let run = RunInfo {
        tables_version: TABLES_VERSION.into(),
        facering_version: "0.1.0".into(),
        snapshot: "snapshot=20260402T123400Z".into(),
        kind: Default::default(),
        as_of: Timestamp::EPOCH,
        pack: "p".into(),
        accounts: 0,
        photos: 0,
        faces: 0,
        links: 0,
        dead_letters: BTreeMap::new(),
        checkpoint: Checkpoint::default(),
        thresholds: BTreeMap::new(),
    };
    Latest { run, tables }
}

/// A running service on a free port.
pub struct Service {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: tokio::task::JoinHandle<Result<(), serve::ServeError>>,
    pub folder: tempfile::TempDir,
}

pub const METRICS: &str = "# TYPE up gauge\nup 1\n";

impl Service {
    pub async fn start(state: SmallState, change: impl FnOnce(&mut ServeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = ServeConfig {
            listen: "127.0.0.1:0".into(),
            audit_path: Some(folder.path().join("audit.jsonl")),
            ..ServeConfig::default()
        };
        change(&mut config);
        let server = Server::bind(config, Arc::new(state), Arc::new(|| METRICS.to_owned())).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(server.run(async {
            stopped.await.ok();
        }));
        Self { address, stop: Some(stop), done, folder }
    }

    pub fn audit(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap_or_default()
    }

    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.done).await.unwrap().unwrap().unwrap();
    }

    /// Sends a request with exactly these header lines (plus Host, length and close) and reads the answer.
    pub async fn send(&self, line: &str, headers: &[&str], body: &[u8]) -> Answer {
        let host = format!("Host: {}", self.address);
        let host = if headers.iter().any(|h| h.starts_with("Host:")) { String::new() } else { host + "\r\n" };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{line} HTTP/1.1\r\n{host}{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // A refused body may be cut short by the service; its answer counts all the same.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        Answer::read(&bytes)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), &[], b"").await
    }

    pub async fn search(&self, body: &serde_json::Value) -> Answer {
        self.send("POST /v1/search", &["Content-Type: application/json"], body.to_string().as_bytes()).await
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        let mut body = body.to_owned();
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Self { status, head: head.to_owned(), body }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn unchunked(body: &str) -> String {
    let (mut rest, mut out) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        out.push_str(after.get(..size).unwrap_or_default());
        rest = after.get(size + 2..).unwrap_or_default();
    }
    out
}
