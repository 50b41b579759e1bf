//! A real, durable Kafka broker: the one `FACERING_TEST_BROKERS` names, else a `tansu` process of the test's own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

/// One message to be sent: key, value (none is a tombstone), headers.
pub struct Outgoing {
    /// The key.
    pub key: String,
    /// The value; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The record's own time in milliseconds since 1970; for a deletion it is the time of the deletion.
    pub timestamp_ms: Option<i64>,
}

/// A broker; a process of its own is killed when this value goes.
pub struct Broker {
    address: String,
    own: Option<Own>,
    /// What clients need to reach it, as librdkafka names it.
    properties: Vec<(String, String)>,
}

struct Own {
    child: Child,
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    /// Where it tells its clients to connect to.
    advertised: u16,
}

impl Broker {
    /// Starts (or finds) the broker and waits until it answers.
    pub fn start() -> anyhow::Result<Self> {
        if let Ok(address) = std::env::var("FACERING_TEST_BROKERS") {
            return Ok(Self { address, own: None, properties: Vec::new() });
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Self::start_own(port, port, Vec::new())
    }

    /// Starts one that tells its clients to connect to another port of this machine, where something passes everything on
    /// to it; clients need these properties for that.
    pub fn start_behind(
        port: u16,
        advertised: u16,
        properties: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        Self::start_own(port, advertised, properties)
    }

    fn start_own(port: u16, advertised: u16, properties: Vec<(String, String)>) -> anyhow::Result<Self> {
        let program = PathBuf::from(std::env::var("FACERING_TEST_BROKER_BIN").unwrap_or_else(|_| {
            let home = std::env::var("HOME").unwrap_or_default();
            format!("{home}/.cache/facering/tansu-0.6.0/bin/tansu")
        }));
        if !program.exists() {
            bail!("no broker for the tests at {}: run `make test`, which builds it", program.display());
        }
        let folder = tempfile::tempdir()?;
        let child = spawn(&program, folder.path(), port, advertised)?;
        let own = Own { child, program, folder, port, advertised };
        let broker = Self { address: format!("127.0.0.1:{advertised}"), own: Some(own), properties };
        broker.wait_until_it_answers()?;
        Ok(broker)
    }

    /// `bootstrap.servers`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A client that reaches it.
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.address);
        for (key, value) in &self.properties {
            client.set(key, value);
        }
        client
    }

    /// Whether the broker is the test's own, so that it may be killed.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Kills the broker as a power cut would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let own = self.own.as_mut().context("only a broker of the test's own may be killed")?;
        own.child.kill()?;
        own.child.wait()?;
        Ok(())
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let own = self.own.as_mut().context("only a broker of the test's own may be restarted")?;
        own.child = spawn(&own.program, own.folder.path(), own.port, own.advertised)?;
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&self) -> anyhow::Result<()> {
        let consumer: BaseConsumer = self.client().set("log_level", "0").create()?;
        let start = Instant::now();
        loop {
            match consumer.fetch_metadata(None, Duration::from_secs(2)) {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > Duration::from_secs(60) => {
                    return Err(error).context(format!("the broker at {} does not answer", self.address));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Creates topics of the given number of partitions.
    pub async fn create_topics(&self, topics: &[&str], partitions: i32) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let new: Vec<_> =
            topics.iter().map(|t| NewTopic::new(t, partitions, TopicReplication::Fixed(1))).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        for result in admin.create_topics(&new, &options).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Sends messages in order, compressed with lz4, and waits until all are acknowledged.
    pub async fn produce(&self, topic: &str, messages: &[Outgoing]) -> anyhow::Result<()> {
        self.produce_with("lz4", topic, messages).await
    }

    /// The same with another compression.
    pub async fn produce_with(
        &self,
        compression: &str,
        topic: &str,
        messages: &[Outgoing],
    ) -> anyhow::Result<()> {
        let producer: FutureProducer = self
            .client()
            .set("enable.idempotence", "true")
            .set("compression.type", compression)
            .set("linger.ms", "10")
            .set("message.max.bytes", "100000000")
            .create()?;
        let mut sent = Vec::new();
        for message in messages {
            let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
            let mut record = FutureRecord::<str, [u8]>::to(topic).key(&message.key).headers(headers);
            if let Some(value) = &message.value {
                record = record.payload(value);
            }
            if let Some(timestamp) = message.timestamp_ms {
                record = record.timestamp(timestamp);
            }
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in sent {
            delivery.await?.map_err(|(error, _)| error)?;
        }
        Ok(())
    }
}

/// How many messages a topic holds, over all its partitions.
pub fn count(address: &str, topic: &str, partitions: i32) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", address).create()?;
    let mut messages = 0;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        messages += u64::try_from(high - low).unwrap_or(0);
    }
    Ok(messages)
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            let _already_gone = own.child.kill();
            let _already_reaped = own.child.wait();
        }
    }
}

fn spawn(program: &Path, folder: &Path, port: u16, advertised: u16) -> anyhow::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("broker.log"))?;
    Command::new(program)
        .args(["broker", "--listener-url", &format!("tcp://127.0.0.1:{port}")])
        .args(["--advertised-listener-url", &format!("tcp://127.0.0.1:{advertised}")])
        // Relative to the working directory: the broker knows no absolute path here.
        .args(["--storage-engine", "sqlite://broker.db"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} does not start", program.display()))
}
