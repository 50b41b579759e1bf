//! How long a search by vector takes through HTTP. `bench/http.sh` puts the two halves together.
//!
//! `fill FOLDER FACES` writes a state of that many faces of 512 numbers: a person has three pictures, each on an account
//! of its own. `ask ADDRESS QUERIES TOKENLESS…` sends searches over connections that stay open, and prints how long they took.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use records::{
    AccountId, Batch, CheckpointDelta, EmbeddedPhoto, Embedding, Face, Origin, PackId, PartitionId,
    PhotoContent, PhotoFacts, PhotoId, PhotoKey, Position, ProfileFacts, Quality, Staged, StagedBody,
    Timestamp,
};
use store::{Planned, Store, StoreConfig};

const DIMENSION: usize = 512;
/// Accounts in one commit.
const BATCH: usize = 4096;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["fill", folder, faces] => fill(folder, faces.parse()?),
        ["ask", address, queries, connections] => {
            tokio::runtime::Runtime::new()?.block_on(ask(address, queries.parse()?, connections.parse()?))
        }
        _ => bail!("usage: search_latency fill FOLDER FACES | ask ADDRESS QUERIES CONNECTIONS"),
    }
}

/// Noise by number: the same number gives the same vector (SplitMix64, Steele et al. 2014, through Box-Muller).
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    std::iter::from_fn(move || {
        let (u, v) = (uniform().max(1e-12), uniform());
        Some(((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32)
    })
}

/// The face with this number: of person `number / 3`, at a cosine of about 0.8 to the person's other pictures.
fn vector(number: u64) -> Vec<f32> {
    noise(number / 3)
        .zip(noise(number + (1 << 40)))
        .map(|(person, own)| person + 0.5 * own)
        .take(DIMENSION)
        .collect()
}

fn account(number: u64) -> anyhow::Result<Staged<EmbeddedPhoto>> {
    let embedding = Embedding::normalised(&vector(number))?;
    let quality =
        Quality { width_px: 120.0, sharpness: 0.9, turned: 0.1, score: 0.9, figure: 0.9, linkable: true };
    let face = Face {
        place: None,
        quality,
        main: true,
        eye_alignment: None,
        pdq: None,
        pdq_mirrored: None,
        embedding,
    };
    let facts = PhotoFacts {
        size: (256, 256),
        hashed: true,
        pdq: None,
        pdq_mirrored: None,
        pack: PackId::new("bundled")?,
    };
    let content = PhotoContent { facts, faces: vec![face], partial: false, thumbnail: None };
    let photo = EmbeddedPhoto {
        photo_id: PhotoId::new("avatar")?,
        key: PhotoKey::of_bytes(&number.to_le_bytes()),
        content: Some(content),
    };
    Ok(Staged {
        account: AccountId::new(format!("account-{number}"))?,
        observed_at: Timestamp::from_millis(1_767_225_600_000 + number as i64)?,
        content_hash: [0; 32],
        body: StagedBody::Replace { photos: vec![photo], facts: ProfileFacts::default() },
        origin: Origin::row(PartitionId::file("bench"), Position(number)),
    })
}

fn fill(folder: &str, faces: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    let store = Store::open(&StoreConfig::at(folder))?;
    let mut committer = store.committer()?;
    let mut next = store.reader().counts().faces;
    while next < faces {
        let end = (next + BATCH as u64).min(faces);
        let events = (next..end).map(account).collect::<anyhow::Result<Vec<_>>>()?;
        let Planned::Ready(plan) = committer.plan(Batch::new(events, CheckpointDelta::default()))? else {
            bail!("a picture is missing")
        };
        committer.commit(*plan, &[])?;
        next = end;
    }
    println!("{faces} faces written in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

async fn ask(address: &str, queries: u64, connections: u64) -> anyhow::Result<()> {
    let faces: serde_json::Value = reqwest::get(format!("http://{address}/v1/ready")).await?.json().await?;
    let faces = faces["faces"].as_u64().context("no number of faces")?;
    let mut asking = Vec::new();
    for connection in 0..connections {
        let url = format!("http://{address}/v1/search");
        asking.push(tokio::spawn(async move {
            let client = reqwest::Client::builder().pool_max_idle_per_host(1).build()?;
            let (mut took, mut found) = (Vec::new(), 0);
            for nth in 0..queries / connections {
                let number = (nth * 7919 + connection * 104_729) * 31 % faces;
                // Another picture of a person the state knows.
                let asked: Vec<f32> =
                    vector(number).iter().zip(noise(nth + (1 << 50))).map(|(v, own)| v + 0.2 * own).collect();
                let body = serde_json::json!({"vector": asked, "purpose": "a measurement", "limit": 10});
                let start = Instant::now();
                let answer = client.post(&url).json(&body).send().await?;
                let answer: serde_json::Value = answer.error_for_status()?.json().await?;
                took.push(start.elapsed());
                let first = &answer["results"][0]["faces"][0]["matches"][0]["account_id"];
                found += u64::from(first == &format!("account-{number}"));
            }
            anyhow::Ok((took, found))
        }));
    }
    let (mut took, mut found) = (Vec::new(), 0);
    for task in asking {
        let (times, hits) = task.await??;
        took.extend(times);
        found += hits;
    }
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{} searches among {faces} faces over {connections} connections: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, \
         max {:.1} ms; the right face first in {:.1}%",
        took.len(),
        ms(at(0.5)),
        ms(at(0.9)),
        ms(at(0.99)),
        ms(took[took.len() - 1]),
        100.0 * found as f64 / took.len() as f64
    );
    Ok(())
}
