//! A drawn population as Kafka really delivers it: accounts seen several times, photos that change, deletions, messages
//! that are broken; in order, or as badly out of it as can be.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::broker::Outgoing;
use crate::faults::FaultServer;
use crate::pictures::PictureServer;
use crate::program::{run, stderr};

/// The messages, oldest first.
pub struct World {
    /// As they would come in order.
    pub messages: Vec<Outgoing>,
    /// How many of them are broken, so that they are given up as a whole.
    pub broken: u64,
    /// How many photos fail, counted once for each message that names them.
    pub failing: u64,
}

/// Numbers that look random and are the same in every run.
fn scatter(seed: usize) -> usize {
    ((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize
}

fn copy(message: &Outgoing) -> Outgoing {
    Outgoing {
        key: message.key.clone(),
        value: message.value.clone(),
        headers: message.headers.clone(),
        timestamp_ms: message.timestamp_ms,
    }
}

/// Draws a population whose pictures `server` serves; returns its events as Kafka messages. The same events stand in
/// `profiles.parquet` in the folder.
pub fn draw(server: &PictureServer, folder: &Path, accounts: usize) -> anyhow::Result<Vec<Outgoing>> {
    let simulated = run([
        "simulate".as_ref(),
        "--images".as_ref(),
        format!("--accounts={accounts}").as_ref(),
        "--bots=0.45".as_ref(),
        "--seed=8".as_ref(),
        format!("--url-prefix={}", server.url("")).as_ref(),
        "--out".as_ref(),
        folder.as_os_str(),
    ])?;
    anyhow::ensure!(simulated.status.success(), "{}", stderr(&simulated));
    let photos = folder.join("photos");
    for account in std::fs::read_dir(&photos)? {
        for photo in std::fs::read_dir(account?.path())? {
            let path = photo?.path();
            server.put(&path.strip_prefix(folder)?.display().to_string(), std::fs::read(&path)?);
        }
    }
    std::fs::read_to_string(folder.join("profiles.jsonl"))?
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line)?;
            let key = event["account_id"].as_str().unwrap_or_default().to_owned();
            Ok(Outgoing {
                key,
                value: Some(line.as_bytes().to_vec()),
                headers: Vec::new(),
                timestamp_ms: None,
            })
        })
        .collect()
}

/// Draws a population and puts its pictures on the server. Beyond what the population itself does (accounts that show
/// more photos each time they are seen), some accounts take photos away again, show another account's photos instead, are
/// deleted, or come back after that; some messages are no JSON, and some photos are not there.
pub fn build(folder: &Path, accounts: usize, server: &FaultServer) -> anyhow::Result<World> {
    let drawn = folder.join("drawn");
    let out = run([
        "simulate",
        "--images",
        "--seed=11",
        "--bots=0.4",
        &format!("--accounts={accounts}"),
        &format!("--out={}", drawn.display()),
        &format!("--url-prefix={}", server.url("", None, 0)),
    ])?;
    ensure!(out.status.success(), "{}", stderr(&out));
    for account in std::fs::read_dir(drawn.join("photos"))? {
        let account = account?;
        for photo in std::fs::read_dir(account.path())? {
            let photo = photo?;
            let name = format!("photos/{}/{}", account.file_name().display(), photo.file_name().display());
            server.put(&name, std::fs::read(photo.path())?);
        }
    }
    let lines = std::fs::read_to_string(drawn.join("profiles.jsonl"))?;
    let drawn: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut world = World { messages: Vec::new(), broken: 0, failing: 0 };
    let mut latest = 0;
    for event in &drawn {
        let time: records::Timestamp = event["observed_at"].as_str().context("a time")?.parse()?;
        latest = latest.max(time.as_micros() / 1000);
        world.push(event);
    }
    let mut newest: Vec<&Value> = Vec::new();
    for event in drawn.iter().rev() {
        if !newest.iter().any(|known| known["account_id"] == event["account_id"]) {
            newest.push(event);
        }
    }
    for (n, event) in newest.iter().enumerate() {
        let at = latest + 1000 * (1 + n as i64);
        let mut event = (*event).clone();
        let key = event["account_id"].as_str().context("an id")?.to_owned();
        event["observed_at"] = json!(records::Timestamp::from_millis(at)?.to_string());
        match scatter(n) % 12 {
            // The last photo goes.
            0 => drop(event["photos"].as_array_mut().and_then(Vec::pop)),
            // Another account's photos instead of its own.
            1 => event["photos"] = newest[scatter(n + 7) % newest.len()]["photos"].clone(),
            // One photo more, which is not there.
            2 => {
                let missing = json!({"photo_id": "gone", "url": server.url("nowhere.jpg", None, 0)});
                if let Some(photos) = event["photos"].as_array_mut() {
                    photos.push(missing);
                }
                world.failing += 1;
            }
            3 => {
                world.delete(&key, at);
                continue;
            }
            // Deleted, and there again later.
            4 => world.delete(&key, at - 500),
            5 => {
                world.broken += 1;
                let value = Some(b"{\"account_id\": nothing}".to_vec());
                world.messages.push(Outgoing { key, value, headers: vec![], timestamp_ms: None });
                continue;
            }
            _ => continue,
        }
        world.push(&event);
    }
    // A message larger than allowed, which is given up with all its bytes.
    world.broken += 1;
    let value = Some(vec![b' '; 3 << 20]);
    world.messages.push(Outgoing { key: "large".into(), value, headers: vec![], timestamp_ms: None });
    Ok(world)
}

impl World {
    fn push(&mut self, event: &Value) {
        let key = event["account_id"].as_str().unwrap_or_default().to_owned();
        let value = Some(event.to_string().into_bytes());
        self.messages.push(Outgoing { key, value, headers: vec![], timestamp_ms: None });
    }

    fn delete(&mut self, key: &str, at: i64) {
        let key = key.to_owned();
        self.messages.push(Outgoing { key, value: None, headers: vec![], timestamp_ms: Some(at) });
    }

    /// The same messages out of order, every fifth of them twice.
    pub fn in_disorder(&self) -> Vec<Outgoing> {
        let mut order: Vec<usize> =
            (0..self.messages.len()).chain((0..self.messages.len()).step_by(5)).collect();
        order.sort_by_key(|at| scatter(*at));
        // The two copies of a message would lie side by side.
        let half = order.len() / 2;
        order.rotate_left(half / 3);
        order[half..].sort_by_key(|at| scatter(at + 1_000_003));
        order.into_iter().map(|at| copy(&self.messages[at])).collect()
    }
}
