//! The Kafka source and the dead letters against librdkafka's own mock cluster: real connections within the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ingest::{
    DeadLetterConfig, DeadLetters, KafkaConfig, Positions, Source, SourceConfig, SourceError, SourceMessage,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use records::{
    Batch, Checkpoint, DeadLetterReason, EventBody, PartitionId, Position, ProfileEvent, Stage, Timestamp,
};
use tokio::sync::watch;

type Cluster = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("profiles", partitions, 1).unwrap();
    cluster
}

fn config(cluster: &Cluster) -> KafkaConfig {
    let mut config = KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        batch_wait_ms: 100,
        fetch_wait_max_ms: 20,
        connect_timeout_ms: 5000,
        ..Default::default()
    };
    config.properties.0.insert("session.timeout.ms".into(), "6000".into());
    config
}

fn producer(cluster: &Cluster) -> FutureProducer {
    ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap()
}

fn event(account: &str, seconds: u64) -> String {
    format!(
        r#"{{"account_id":"{account}","observed_at":"2026-01-01T00:00:{seconds:02}Z","photos":[{{"photo_id":"p","url":"https://h.example/{account}"}}]}}"#
    )
}

async fn send(producer: &FutureProducer, partition: i32, key: &str, payload: Option<&str>) {
    let record = FutureRecord::to("profiles").partition(partition).key(key).timestamp(1_700_000_000_000);
    let record = FutureRecord { payload, ..record };
    producer.send(record, Duration::from_secs(5)).await.unwrap();
}

/// The state's checkpoint, as the binary would hold it.
#[derive(Clone, Default)]
struct State(Arc<Mutex<Checkpoint>>);

impl State {
    fn positions(&self) -> Arc<dyn Positions> {
        let state = self.clone();
        Arc::new(move |partition: &PartitionId| state.0.lock().unwrap().position(partition))
    }

    fn apply(&self, batch: &Batch<ProfileEvent>) {
        self.0.lock().unwrap().apply(&batch.delta).unwrap();
    }

    fn at(&self, partition: i32) -> Option<u64> {
        self.0.lock().unwrap().position(&PartitionId::kafka("profiles", partition)).map(|p| p.0)
    }
}

struct Run {
    source: Source,
    stop: watch::Sender<bool>,
}

async fn open(config: KafkaConfig, state: &State) -> Result<Run, SourceError> {
    let (stop, stopped) = watch::channel(false);
    let source = Source::open(&SourceConfig::Kafka(config), state.positions(), stopped).await?;
    Ok(Run { source, stop })
}

/// Reads and applies batches until `events` events and letters came.
async fn read(run: &mut Run, state: &State, wanted: usize) -> Vec<Batch<ProfileEvent>> {
    let mut batches: Vec<Batch<ProfileEvent>> = Vec::new();
    while batches.iter().map(|b| b.items.len() + b.dead.len()).sum::<usize>() < wanted {
        let next = tokio::time::timeout(Duration::from_secs(20), run.source.next())
            .await
            .expect("no message in time");
        if let SourceMessage::Batch(batch) = next.unwrap().expect("the source ended early") {
            state.apply(&batch);
            batches.push(batch);
        }
    }
    batches
}

fn accounts(batches: &[Batch<ProfileEvent>]) -> Vec<String> {
    let mut names: Vec<_> =
        batches.iter().flat_map(|b| &b.items).map(|e| e.account.as_str().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_decodes_and_resumes_from_the_state() {
    let cluster = cluster(2);
    let producer = producer(&cluster);
    for (partition, account) in [(0, "a"), (1, "b"), (0, "c")] {
        send(&producer, partition, account, Some(&event(account, 1))).await;
    }
    send(&producer, 1, "b", None).await;
    send(&producer, 1, "x", Some("{broken")).await;

    let state = State::default();
    let mut run = open(config(&cluster), &state).await.unwrap();
    let batches = read(&mut run, &state, 5).await;
    assert_eq!(accounts(&batches), ["a", "b", "b", "c"]);
    let deleted: Vec<_> =
        batches.iter().flat_map(|b| &b.items).filter(|e| e.body == EventBody::Deleted).collect();
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].observed_at, Timestamp::from_millis(1_700_000_000_000).unwrap());
    let letter = batches.iter().flat_map(|b| &b.dead).next().unwrap();
    assert_eq!((letter.reason, letter.origin.position), (DeadLetterReason::MalformedJson, Position(2)));
    assert_eq!((state.at(0), state.at(1)), (Some(2), Some(3)));
    run.source.commit(&state.0.lock().unwrap().clone());
    run.stop.send(true).unwrap();
    assert!(run.source.next().await.unwrap().is_none(), "a stopped source ends");
    run.source.close().await;

    // Kafka's own memory of the group is advisory, but it is kept up.
    let probe: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "facering")
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition("profiles", 0);
    list.add_partition("profiles", 1);
    let committed = probe.committed_offsets(list, Duration::from_secs(5)).unwrap().to_topic_map();
    assert_eq!(committed[&("profiles".to_owned(), 0)], rdkafka::Offset::Offset(2));
    assert_eq!(committed[&("profiles".to_owned(), 1)], rdkafka::Offset::Offset(3));

    // The state decides: set one partition back, and its records come again although Kafka has them committed.
    state.0.lock().unwrap().restore(PartitionId::kafka("profiles", 0), Position(1));
    send(&producer, 1, "d", Some(&event("d", 2))).await;
    let mut run = open(config(&cluster), &state).await.unwrap();
    assert_eq!(accounts(&read(&mut run, &state, 2).await), ["c", "d"]);
    assert_eq!((state.at(0), state.at(1)), (Some(2), Some(4)));
    run.source.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_pipeline_pauses_and_loses_nothing() {
    let cluster = cluster(3);
    let producer = producer(&cluster);
    let count = 600;
    for n in 0..count {
        let account = format!("a{n:04}");
        let payload = event(&account, 1);
        let record = FutureRecord::to("profiles").partition(n % 3).key(&account).payload(&payload);
        drop(producer.send_result(record).unwrap());
    }
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(10)).unwrap();
    let state = State::default();
    let config = KafkaConfig { batch_events: 20, channel_batches: 1, ..config(&cluster) };
    let mut run = open(config, &state).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut batches = Vec::new();
    while accounts(&batches).len() < count as usize {
        batches.extend(read(&mut run, &state, 1).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let names = accounts(&batches);
    assert_eq!(names.len(), count as usize);
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "every account once");
    assert!(batches.iter().all(|b| b.items.len() <= 20));
    assert_eq!((0..3).map(|p| state.at(p).unwrap()).sum::<u64>(), count as u64);
    run.source.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_between_two_readers_without_loss_or_repetition() {
    let cluster = cluster(4);
    let producer = producer(&cluster);
    let state = State::default();
    let mut config = config(&cluster);
    config.properties.0.insert("heartbeat.interval.ms".into(), "200".into());
    let mut first = open(config.clone(), &state).await.unwrap();
    for partition in 0..4 {
        send(&producer, partition, "a", Some(&event("a", 1))).await;
    }
    read(&mut first, &state, 4).await;

    let mut second = open(config, &state).await.unwrap();
    let mut taken = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The first gives two partitions up, and the second gets them.
    while taken.len() < 2 {
        assert!(Instant::now() < deadline, "the second reader got {taken:?}");
        tokio::select! {
            message = first.source.next() => match message.unwrap().unwrap() {
                SourceMessage::Revoked(partitions) => assert_eq!(partitions.len(), 2),
                SourceMessage::Batch(batch) => state.apply(&batch),
                SourceMessage::Assigned(_) => {}
            },
            message = second.source.next() => if let SourceMessage::Assigned(partitions) = message.unwrap().unwrap() {
                taken.extend(partitions.into_iter().map(|p| (p, ())));
            },
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    for partition in 0..4 {
        send(&producer, partition, "b", Some(&event("b", 2))).await;
    }
    let (one, two) = tokio::join!(read(&mut first, &state, 2), read(&mut second, &state, 2));
    assert_eq!(accounts(&one), ["b", "b"]);
    assert_eq!(accounts(&two), ["b", "b"]);
    assert_eq!((0..4).map(|p| state.at(p).unwrap()).collect::<Vec<_>>(), [2, 2, 2, 2]);
    second.source.close().await;
    first.source.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_ahead_of_the_topic_is_an_error() {
    let cluster = cluster(1);
    send(&producer(&cluster), 0, "a", Some(&event("a", 1))).await;
    let state = State::default();
    state.0.lock().unwrap().restore(PartitionId::kafka("profiles", 0), Position(7));
    let mut run = open(config(&cluster), &state).await.unwrap();
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(20), run.source.next()).await.unwrap() {
            Err(error) => break error,
            Ok(message) => assert!(!matches!(message, None | Some(SourceMessage::Batch(_))), "{message:?}"),
        }
    };
    assert!(matches!(error, SourceError::Recreated { position: 7, end: 1, .. }), "{error}");
    run.source.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_there_is_said_in_one_sentence() {
    let nobody =
        KafkaConfig { brokers: "127.0.0.1:9".into(), connect_timeout_ms: 700, ..KafkaConfig::default() };
    let began = Instant::now();
    let error = open(nobody, &State::default()).await.err().unwrap();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:9"));
    assert!(began.elapsed() < Duration::from_secs(6));

    let cluster = cluster(1);
    let missing = KafkaConfig { topic: "other".into(), ..config(&cluster) };
    let error = open(missing, &State::default()).await.err().unwrap();
    assert!(matches!(error, SourceError::TopicMissing { .. }), "{error}");
    assert!(error.to_string().contains("--create --topic other"));

    let mut odd = config(&cluster);
    odd.properties.0.insert("no.such.property".into(), "1".into());
    let error = open(odd, &State::default()).await.err().unwrap();
    assert!(error.to_string().contains("no.such.property"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_ridden_out() {
    let cluster = cluster(1);
    let producer = producer(&cluster);
    send(&producer, 0, "a", Some(&event("a", 1))).await;
    let state = State::default();
    let mut run = open(config(&cluster), &state).await.unwrap();
    read(&mut run, &state, 1).await;
    cluster.broker_down(-1).unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    cluster.broker_up(-1).unwrap();
    send(&producer, 0, "b", Some(&event("b", 1))).await;
    assert_eq!(accounts(&read(&mut run, &state, 1).await), ["b"]);

    // A broker that is gone does not hold up the stop.
    cluster.broker_down(-1).unwrap();
    run.source.commit(&state.0.lock().unwrap().clone());
    run.stop.send(true).unwrap();
    assert!(run.source.next().await.unwrap().is_none());
    let began = Instant::now();
    run.source.close().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_keep_bytes_key_and_headers() {
    let cluster = cluster(1);
    cluster.create_topic("profiles.dead", 1, 1).unwrap();
    let source = SourceConfig::Kafka(config(&cluster));
    let origin = records::Origin {
        partition: PartitionId::kafka("profiles", 0),
        position: Position(3),
        key: Some(Bytes::from_static(b"a")),
        payload: Bytes::from_static(b"{broken"),
        headers: vec![
            ("trace".into(), Bytes::from_static(b"7")),
            ("facering-reason".into(), Bytes::from_static(b"of an earlier time")),
        ],
    };
    let letter = origin.dead_letter(Stage::Ingest, DeadLetterReason::MalformedJson, "the JSON is broken");
    let mut sink = DeadLetters::open(&DeadLetterConfig::default(), &source).unwrap();
    sink.publish(&[letter]).await.unwrap();

    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "probe")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    reader.subscribe(&["profiles.dead"]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let message = loop {
        assert!(Instant::now() < deadline);
        if let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) {
            break message.detach();
        }
    };
    assert_eq!(message.key(), Some(&b"a"[..]));
    assert_eq!(message.payload(), Some(&b"{broken"[..]));
    let headers: Vec<(String, String)> = message
        .headers()
        .unwrap()
        .iter()
        .map(|h| (h.key.to_owned(), String::from_utf8_lossy(h.value.unwrap()).into_owned()))
        .collect();
    let expected = [
        ("trace", "7"),
        ("facering-stage", "ingest"),
        ("facering-reason", "malformed_json"),
        ("facering-detail", "the JSON is broken"),
    ];
    assert_eq!(headers, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_broker_is_waited_for() {
    let cluster = cluster(2);
    let producer = producer(&cluster);
    for partition in 0..2 {
        send(&producer, partition, "a", Some(&event("a", 1))).await;
    }
    cluster.broker_round_trip_time(-1, Duration::from_millis(600)).unwrap();
    let state = State::default();
    let mut run = open(config(&cluster), &state).await.unwrap();
    assert_eq!(accounts(&read(&mut run, &state, 2).await), ["a", "a"]);
    assert_eq!((state.at(0), state.at(1)), (Some(1), Some(1)));
    run.source.close().await;
}
