//! A stream at the highest rate the machine holds, with a tenth of all pictures failing in every way an HTTP server can:
//! `cargo run --release -p end-to-end --example soak -- --minutes 30 --out FOLDER`.
//!
//! Every event sent is remembered in two numbers and, for each account, in what the newest event says. In the end the
//! program's own count, its dead letters by reason and every single account have to agree. Exit 1 if anything does not.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use end_to_end::broker::{Broker, Outgoing, count};
use end_to_end::damage::Chance;
use end_to_end::faults::{FAULTS, Fault, FaultServer};
use end_to_end::program::{self, Running, run};
use end_to_end::stream::{Stream, free_address, get, metric};
use serde_json::{Value, json};

const PARTITIONS: i32 = 4;
/// Events that may wait in the topic: the producer always stays ahead, so that the program sets the pace.
const AHEAD: u64 = 8_000;
/// 2026-01-01T00:00:00Z in milliseconds.
const NEW_YEAR_MS: i64 = 1_767_225_600_000;

/// What the newest event of an account says: photo ids with the fault of each; none if the account was deleted.
type Newest = Option<Vec<(String, Option<Fault>)>>;

#[derive(Default)]
struct Sent {
    events: u64,
    broken: u64,
    photos: u64,
    letters: BTreeMap<&'static str, u64>,
    newest: HashMap<String, (i64, Newest)>,
}

struct World {
    chance: Chance,
    accounts: Vec<String>,
    pictures: Vec<String>,
    server: FaultServer,
    clock: i64,
    salt: u64,
    sent: Sent,
    last: Option<(Outgoing, Vec<&'static str>)>,
}

impl World {
    /// The next message: mostly a newer event of some account, sometimes something else.
    fn message(&mut self) -> Outgoing {
        self.sent.events += 1;
        match self.chance.below(100) {
            0..2 => self.broken(),
            2..5 if self.last.is_some() => self.again(),
            5..10 => self.event(true),
            10..12 => self.deletion(),
            _ => self.event(false),
        }
    }

    fn account(&mut self) -> String {
        let at = self.chance.below(self.accounts.len());
        self.accounts[at].clone()
    }

    fn broken(&mut self) -> Outgoing {
        self.sent.broken += 1;
        *self.sent.letters.entry("malformed_json").or_default() += 1;
        let key = self.account();
        Outgoing { key, value: Some(b"{\"account_id\": ".to_vec()), headers: vec![], timestamp_ms: None }
    }

    /// The message before once more.
    fn again(&mut self) -> Outgoing {
        let Some((last, reasons)) = self.last.take() else { return self.event(false) };
        for reason in &reasons {
            *self.sent.letters.entry(reason).or_default() += 1;
        }
        let Outgoing { key, value, headers, timestamp_ms } = last;
        Outgoing { key, value, headers, timestamp_ms }
    }

    fn deletion(&mut self) -> Outgoing {
        let key = self.account();
        self.clock += 1;
        let at = NEW_YEAR_MS + self.clock;
        self.sent.newest.insert(key.clone(), (at, None));
        Outgoing { key, value: None, headers: vec![], timestamp_ms: Some(at) }
    }

    /// An event with one to four photos; an old one is older than everything else of its account.
    fn event(&mut self, old: bool) -> Outgoing {
        let account = self.account();
        self.clock += 1;
        let at = if old { NEW_YEAR_MS - self.clock } else { NEW_YEAR_MS + self.clock };
        let (mut photos, mut newest, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..1 + self.chance.below(4) {
            let fault = self.chance.percent(10).then(|| FAULTS[self.chance.below(FAULTS.len())]);
            let mut name = self.pictures[self.chance.below(self.pictures.len())].clone();
            self.salt += 1;
            if self.chance.percent(2) {
                // The same picture in another file, so that new pictures never cease to come.
                name = format!("{name}+{}", self.salt);
            }
            let id = format!("p{n}");
            photos.push(json!({"photo_id": id, "url": self.server.url(&name, fault, self.salt)}));
            reasons.extend(fault.and_then(Fault::reason));
            newest.push((id, fault));
        }
        self.sent.photos += photos.len() as u64;
        for reason in &reasons {
            *self.sent.letters.entry(reason).or_default() += 1;
        }
        let time = records::Timestamp::from_millis(at).map(|time| time.to_string()).unwrap_or_default();
        let event = json!({"account_id": account, "observed_at": time, "photos": photos, "username": account,
            "followers": self.chance.below(1000), "following": self.chance.below(1000), "posts": self.chance.below(50),
            "created_at": "2025-06-01T00:00:00Z", "verified": false});
        let known = self.sent.newest.get(&account).map_or(i64::MIN, |(time, _)| *time);
        if at > known {
            self.sent.newest.insert(account.clone(), (at, Some(newest)));
        }
        let value = Some(event.to_string().into_bytes());
        let copy =
            Outgoing { key: account.clone(), value: value.clone(), headers: vec![], timestamp_ms: None };
        self.last = Some((copy, reasons));
        Outgoing { key: account, value, headers: vec![], timestamp_ms: None }
    }
}

/// Draws accounts and pictures, and serves the pictures.
fn draw(folder: &Path, accounts: usize, server: &FaultServer) -> anyhow::Result<Vec<String>> {
    let drawn = folder.join("drawn");
    let out = run([
        "simulate",
        "--images",
        "--seed=3",
        &format!("--accounts={accounts}"),
        &format!("--out={}", drawn.display()),
    ])?;
    ensure!(out.status.success(), "{}", program::stderr(&out));
    let mut names = Vec::new();
    for account in std::fs::read_dir(drawn.join("photos"))? {
        for photo in std::fs::read_dir(account?.path())? {
            let path = photo?.path();
            let name = format!("{}.jpg", names.len());
            server.put(&name, std::fs::read(path)?);
            names.push(name);
        }
    }
    Ok(names)
}

/// A line of the memory curve.
struct Sample {
    minute: f64,
    events: u64,
    rss: u64,
    anonymous: u64,
    load: String,
}

struct Arguments {
    minutes: f64,
    accounts: usize,
    out: PathBuf,
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut found = Arguments { minutes: 30.0, accounts: 600, out: "soak".into() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} wants a value"))?;
        match word.as_str() {
            "--minutes" => found.minutes = value.parse()?,
            "--accounts" => found.accounts = value.parse()?,
            "--out" => found.out = value.into(),
            _ => bail!("{word} is not known; --minutes, --accounts and --out are"),
        }
    }
    Ok(found)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { minutes, accounts, out } = arguments()?;
    std::fs::create_dir_all(&out)?;
    ensure!(!out.join("state").exists(), "{} holds an earlier soak; name another folder", out.display());
    let server = FaultServer::start().await?;
    let pictures = draw(&out, accounts, &server)?;
    let broker = Broker::start()?;
    let topic = format!("soak-{}", std::process::id());
    broker.create_topics(&[&topic, &format!("{topic}.dead")], PARTITIONS).await?;
    let address = free_address()?;
    let stream = Stream::new(broker.address(), &topic, &out)
        .set(format!("serve.listen={address}"))
        .set("source.properties.session.timeout.ms=45000")
        .set("source.properties.max.poll.interval.ms=300000")
        .set("output.every_s=120")
        .set("output.keep=3")
        .set("source.batch_events=512")
        .set("source.batch_photos=512")
        .set("fetch.batches=16")
        .set("fetch.concurrency=512")
        .set("fetch.per_host=64")
        .set("fetch.timeout_ms=5000")
        .set("fetch.retries=1")
        .set("fetch.backoff_ms=50")
        .set("fetch.max_bytes=2097152");
    let mut command = stream.command();
    command.arg("--json");
    let mut program = Running::start(command, &stream.log())?;

    let mut world = World {
        chance: Chance::new(0x5eed),
        accounts: (0..accounts).map(|n| format!("account-{n}")).collect(),
        pictures,
        server: server.clone(),
        clock: 0,
        salt: 0,
        sent: Sent::default(),
        last: None,
    };
    let began = Instant::now();
    let limit = Duration::from_secs_f64(minutes * 60.0);
    let (mut samples, mut next_sample) = (Vec::new(), Duration::ZERO);
    while began.elapsed() < limit {
        let done = events(address);
        if world.sent.events < done + AHEAD {
            let messages: Vec<_> = (0..1000).map(|_| world.message()).collect();
            broker.produce(&topic, &messages).await?;
        } else {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if began.elapsed() >= next_sample {
            next_sample += Duration::from_secs(15);
            samples.push(sample(&program, began, events(address)));
        }
        program.ensure_running()?;
    }
    // What waits in the topic is worked off, then everything is compared.
    let sent = world.sent.events;
    program.wait_until("all events", Duration::from_secs(1200), || events(address) >= sent)?;
    let rate = sent as f64 / began.elapsed().as_secs_f64();
    samples.push(sample(&program, began, events(address)));
    let letters = metric(&get(address, "/v1/metrics")?.1, "facering_dead_letters_total");
    let published = || count(broker.address(), &format!("{topic}.dead"), PARTITIONS).unwrap_or(0);
    program.wait_until("all dead letters", Duration::from_secs(120), || published() >= letters)?;
    let mut wrong = check_accounts(address, &world.sent)?;
    let status = program.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "it ended with {status}");
    let summary = summary(&program.log())?;
    let by_reason = by_reason(&out)?;
    wrong.extend(check_counts(&world.sent, &summary, &by_reason, published()));
    let report = report(&world.sent, &summary, &by_reason, &samples, rate, server.requests());
    std::fs::write(out.join("report.md"), &report)?;
    println!("{report}");
    for line in &wrong {
        println!("WRONG: {line}");
    }
    ensure!(wrong.is_empty(), "{} things do not agree", wrong.len());
    println!("nothing is lost: {sent} events and every account agree");
    Ok(())
}

fn events(address: SocketAddr) -> u64 {
    get(address, "/v1/metrics").map_or(0, |(_, text)| metric(&text, "facering_events_total"))
}

fn sample(program: &Running, began: Instant, events: u64) -> Sample {
    let (rss, anonymous) = program.memory_mib();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let sample = Sample { minute: began.elapsed().as_secs_f64() / 60.0, events, rss, anonymous, load };
    println!(
        "{:6.2} min {:9} events {:6} MiB ({:6} anonymous), load {}",
        sample.minute, sample.events, sample.rss, sample.anonymous, sample.load
    );
    sample
}

/// The one JSON document that `run --json` prints last.
fn summary(log: &str) -> anyhow::Result<Value> {
    let line = log.lines().rev().find(|line| line.starts_with("{\"")).context("no summary was printed")?;
    Ok(serde_json::from_str(line)?)
}

fn by_reason(out: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let state = format!("--set=state.path={}", out.join("state").display());
    let listed = run(["deadletters", "list", "--json", &state, "--set=models.pack=bundled"])?;
    ensure!(listed.status.success(), "{}", program::stderr(&listed));
    let value: Value = serde_json::from_slice(&listed.stdout)?;
    Ok(serde_json::from_value(value["by_reason"].clone())?)
}

/// Every account shows exactly the photos of its newest event that could be had.
fn check_accounts(address: SocketAddr, sent: &Sent) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (account, (_, newest)) in &sent.newest {
        let (status, body) = get(address, &format!("/v1/accounts/{account}"))?;
        let Some(photos) = newest else {
            if status != 404 {
                wrong.push(format!("{account} was deleted, but is answered with {status}"));
            }
            continue;
        };
        let wanted: BTreeSet<&str> = photos
            .iter()
            .filter(|(_, fault)| fault.is_none_or(|fault| fault.reason().is_none()))
            .map(|(id, _)| id.as_str())
            .collect();
        let view: Value = serde_json::from_str(&body).unwrap_or_default();
        let found: BTreeSet<&str> =
            view["photos"].as_array().into_iter().flatten().filter_map(|p| p["photo_id"].as_str()).collect();
        if wanted != found {
            wrong.push(format!("{account} shows {found:?} where its newest event has {photos:?}"));
        }
    }
    Ok(wrong)
}

fn check_counts(sent: &Sent, summary: &Value, found: &BTreeMap<String, u64>, published: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, wanted: u64, found: u64| {
        if wanted != found {
            wrong.push(format!("{what}: {wanted} expected, {found} found"));
        }
    };
    let ever = |key: &str| summary["summary"]["ever"][key].as_u64().unwrap_or(0);
    same("events read", sent.events, ever("read"));
    same("applied + superseded + dead", ever("read"), ever("applied") + ever("superseded") + ever("dead"));
    same("events given up", sent.broken, ever("dead"));
    let reasons: BTreeSet<&str> =
        sent.letters.keys().copied().chain(found.keys().map(String::as_str)).collect();
    for reason in reasons {
        let wanted = sent.letters.get(reason).copied().unwrap_or(0);
        same(reason, wanted, found.get(reason).copied().unwrap_or(0));
    }
    same("dead letters in the topic", sent.letters.values().sum(), published);
    wrong
}

fn report(
    sent: &Sent,
    summary: &Value,
    by_reason: &BTreeMap<String, u64>,
    samples: &[Sample],
    rate: f64,
    requests: u64,
) -> String {
    let ever = &summary["summary"]["ever"];
    let letters: Vec<_> = by_reason.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    let mut text = format!(
        "{} events ({rate:.0}/s) with {} photos, {requests} requests; read {} = applied {} + superseded {} + dead {}.\n\
         Dead letters: {}.\n\nMinute | events | memory MiB | anonymous MiB | load\n--- | --- | --- | --- | ---\n",
        sent.events,
        sent.photos,
        ever["read"],
        ever["applied"],
        ever["superseded"],
        ever["dead"],
        letters.join(", ")
    );
    let step = (samples.len() / 16).max(1);
    for sample in samples.iter().step_by(step).chain(samples.last().filter(|_| samples.len() % step != 1)) {
        text += &format!(
            "{:.1} | {} | {} | {} | {}\n",
            sample.minute, sample.events, sample.rss, sample.anonymous, sample.load
        );
    }
    text
}
