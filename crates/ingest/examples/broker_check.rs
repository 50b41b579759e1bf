//! Checks the Kafka source against a real broker: `cargo run --release -p ingest --example broker_check BROKERS [N]`.
//!
//! Creates a topic with four partitions, sends N events, and reads them in three runs, each stopped in the middle and
//! resumed from its own checkpoint; then a second reader joins and leaves. Every event must come exactly once.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ingest::{KafkaConfig, Positions, Source, SourceConfig, SourceMessage};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use records::{Checkpoint, PartitionId};
use tokio::sync::watch;

#[derive(Clone, Default)]
struct State {
    checkpoint: Arc<Mutex<Checkpoint>>,
    seen: Arc<Mutex<HashMap<String, usize>>>,
}

impl State {
    fn positions(&self) -> Arc<dyn Positions> {
        let state = self.clone();
        Arc::new(move |partition: &PartitionId| state.checkpoint.lock().unwrap().position(partition))
    }

    fn take(&self, message: SourceMessage) {
        match message {
            SourceMessage::Batch(batch) => {
                self.checkpoint.lock().unwrap().apply(&batch.delta).unwrap();
                let mut seen = self.seen.lock().unwrap();
                for event in batch.items {
                    *seen.entry(event.account.as_str().to_owned()).or_default() += 1;
                }
            }
            other => println!("  {other:?}"),
        }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn open(config: &KafkaConfig, state: &State) -> (Source, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let source =
        Source::open(&SourceConfig::Kafka(config.clone()), state.positions(), stopped).await.unwrap();
    (source, stop)
}

async fn send(brokers: &str, topic: &str, range: std::ops::Range<usize>) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .create()
        .unwrap();
    let mut sent = Vec::new();
    for n in range {
        let key = format!("a{n:06}");
        let payload = format!(r#"{{"account_id":"{key}","observed_at":"2026-01-01T00:00:00Z","photos":[]}}"#);
        let record = FutureRecord::to(topic).key(&key).payload(&payload);
        sent.push(producer.send_result(record).map_err(|(e, _)| e).unwrap());
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    for delivery in sent {
        delivery.await.unwrap().map_err(|(e, _)| e).unwrap();
    }
}

#[tokio::main]
async fn main() {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".into());
    let count: usize = std::env::args().nth(2).map_or(6000, |n| n.parse().unwrap());
    let topic = format!("check-{}", std::process::id());
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let new = NewTopic::new(&topic, 4, TopicReplication::Fixed(1));
    for created in admin.create_topics([&new], &AdminOptions::new()).await.unwrap() {
        created.unwrap();
    }
    let config = KafkaConfig {
        brokers: brokers.clone(),
        group: topic.clone(),
        topic: topic.clone(),
        ..Default::default()
    };
    let state = State::default();

    for run in 1..=3 {
        send(&brokers, &topic, (run - 1) * count / 3..run * count / 3).await;
        let began = Instant::now();
        let (mut source, stop) = open(&config, &state).await;
        // The last run reads to the end, the others stop in the middle.
        let target = if run == 3 { count } else { run * count / 3 - count / 6 };
        while state.count() < target {
            let message =
                tokio::time::timeout(Duration::from_secs(60), source.next()).await.expect("nothing came");
            state.take(message.unwrap().unwrap());
            source.commit(&state.checkpoint.lock().unwrap().clone());
        }
        stop.send(true).unwrap();
        while let Some(message) = source.next().await.unwrap() {
            state.take(message);
        }
        source.commit(&state.checkpoint.lock().unwrap().clone());
        source.close().await;
        println!(
            "run {run}: {} of {count} accounts after {:.1} s",
            state.count(),
            began.elapsed().as_secs_f64()
        );
    }

    println!("a second reader joins");
    let (mut first, _stop_first) = open(&config, &state).await;
    let (mut second, _stop_second) = open(&config, &state).await;
    send(&brokers, &topic, count..count + 1000).await;
    let began = Instant::now();
    while state.count() < count + 1000 {
        assert!(began.elapsed() < Duration::from_secs(90), "{} of {}", state.count(), count + 1000);
        tokio::select! {
            message = first.next() => state.take(message.unwrap().unwrap()),
            message = second.next() => state.take(message.unwrap().unwrap()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    println!("and leaves");
    second.close().await;
    send(&brokers, &topic, count + 1000..count + 2000).await;
    while state.count() < count + 2000 {
        let message =
            tokio::time::timeout(Duration::from_secs(60), first.next()).await.expect("nothing came");
        state.take(message.unwrap().unwrap());
    }
    first.close().await;
    let doubled = state.seen.lock().unwrap().values().filter(|times| **times != 1).count();
    println!("{} accounts, {doubled} of them more than once", state.count());
    assert_eq!(doubled, 0);
}
