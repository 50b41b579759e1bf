//! Sending given-up events to the source topic again.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use records::DeadLetter;

use crate::{DeadLetterError, KafkaConfig, kafka};

/// Sends the original key, bytes and headers of these letters to the source's topic, in order, and waits until the broker
/// has them all. Harmless to repeat: an event that the state has already changes nothing.
///
/// # Errors
/// [`DeadLetterError::NotSent`] if the broker does not take one; those before it were sent.
pub async fn resend(config: &KafkaConfig, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
    let producer = kafka::producer(config)?;
    for letter in letters {
        let origin = &letter.origin;
        let own = |name: &str| name.starts_with("facering-");
        let headers = origin
            .headers
            .iter()
            .filter(|(name, _)| !own(name))
            .fold(OwnedHeaders::new(), |headers, (name, value)| {
                headers.insert(Header { key: name, value: Some(value.as_ref()) })
            });
        let mut record =
            FutureRecord::<[u8], [u8]>::to(&config.topic).payload(&origin.payload).headers(headers);
        if let Some(key) = &origin.key {
            record = record.key(key);
        }
        producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| {
            DeadLetterError::NotSent { topic: config.topic.clone(), detail: error.to_string() }
        })?;
    }
    Ok(())
}
