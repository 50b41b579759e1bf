//! The settings of TLS reach librdkafka: events come through a broker that takes encrypted connections only.

use std::time::Duration;

use anyhow::ensure;
use end_to_end::broker::{Broker, Outgoing};
use end_to_end::program::{Running, stderr};
use end_to_end::stream::Stream;
use end_to_end::tables::records_covered;
use end_to_end::tls::{TlsFront, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn events_come_through_tls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (plain, encrypted) = (free_port()?, free_port()?);
    let front = TlsFront::start(folder.path(), encrypted, plain)?;
    let authority = front.certificate().display().to_string();
    let properties =
        [("security.protocol", "ssl"), ("ssl.ca.location", &authority)].map(|(k, v)| (k.into(), v.into()));
    let broker = Broker::start_behind(plain, encrypted, properties.to_vec())?;
    broker.create_topics(&["profiles", "profiles.dead"], 2).await?;
    let events: Vec<_> = (0..20)
        .map(|n| {
            let value =
                format!(r#"{{"account_id":"a{n}","observed_at":"2026-01-01T00:00:00Z","photos":[]}}"#);
            Outgoing {
                key: format!("a{n}"),
                value: Some(value.into_bytes()),
                headers: vec![],
                timestamp_ms: None,
            }
        })
        .collect();
    broker.produce("profiles", &events).await?;

    let stream = Stream::new(broker.address(), "profiles", folder.path())
        .set("source.properties.security.protocol=ssl");
    let trusting = stream.clone().set(format!("source.properties.ssl.ca.location={authority}"));
    let mut running = Running::start(trusting.command(), &trusting.log())?;
    running.wait_until("all events", Duration::from_secs(60), || records_covered(&stream.output()) == 20)?;
    ensure!(running.stop(Duration::from_secs(60))?.success(), "{}", running.log());

    // Who does not know the authority is refused, with one sentence.
    let wary = stream.set("source.connect_timeout_ms=3000").command().output()?;
    let said = stderr(&wary);
    assert_eq!(wary.status.code(), Some(1), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(error.contains(broker.address()), "{said}");
    Ok(())
}
