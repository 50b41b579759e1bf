//! The demo's own Kafka: librdkafka's mock cluster, which speaks the real protocol over TCP inside this process.
//!
//! It holds about 5 MB a partition and stalls beyond some 38,000 messages, far more than a demo sends.

use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

/// Partitions of the demo's topic.
const PARTITIONS: i32 = 4;

/// A broker that lives as long as this value.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts it with the given topics.
    pub fn start(topics: &[&str]) -> anyhow::Result<Self> {
        let cluster = MockCluster::new(1).context("the demo's broker did not start")?;
        for topic in topics {
            cluster
                .create_topic(topic, PARTITIONS, 1)
                .with_context(|| format!("topic {topic} was not created"))?;
        }
        Ok(Self { cluster })
    }

    /// Where it listens, as `bootstrap.servers` wants it.
    pub fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Produces keyed messages and waits until the broker has them all.
    pub async fn produce(&self, topic: &str, messages: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .create()
            .context("no producer for the demo's broker")?;
        let mut sent = Vec::with_capacity(messages.len());
        for (key, payload) in messages {
            let record = FutureRecord::to(topic).key(key).payload(payload);
            sent.push(producer.send(record, Duration::from_secs(30)));
        }
        for delivery in futures::future::join_all(sent).await {
            delivery.map_err(|(error, _)| error).context("the demo's broker did not take an event")?;
        }
        Ok(())
    }
}
