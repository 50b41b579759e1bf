//! Every way an HTTP server can fail gives the dead letter it should, and takes no other photo of the event with it.

use std::time::Duration;

use end_to_end::faults::{FAULTS, Fault, FaultServer};
use fetch::{FetchConfig, Fetcher, KnownPhotos};
use records::{
    AccountId, Batch, CheckpointDelta, EventBody, Origin, PartitionId, PhotoId, PhotoKey, PhotoRef,
    PhotoSource, PhotoUrl, Position, ProfileEvent, ProfileFacts, Timestamp,
};

struct Nothing;

impl KnownPhotos for Nothing {
    fn knows(&self, _: &PhotoKey) -> bool {
        false
    }
}

fn picture() -> anyhow::Result<Vec<u8>> {
    // Noise, so that half of the file is half of the picture.
    let mut noise = 1_u32;
    let image = image::RgbImage::from_fn(64, 64, |_, _| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(noise >> 24) as u8, (noise >> 16) as u8, (noise >> 8) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Jpeg)?;
    Ok(bytes.into_inner())
}

fn event(urls: Vec<String>) -> anyhow::Result<ProfileEvent> {
    let photos = urls.into_iter().enumerate().map(|(n, url)| {
        Ok(PhotoRef { photo_id: PhotoId::new(n.to_string())?, source: PhotoSource::Url(PhotoUrl::new(url)) })
    });
    Ok(ProfileEvent {
        account: AccountId::new("a")?,
        observed_at: Timestamp::EPOCH,
        body: EventBody::Replace {
            photos: photos.collect::<anyhow::Result<_>>()?,
            facts: ProfileFacts::default(),
        },
        origin: Origin::row(PartitionId::file("f"), Position(0)),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_reason_and_falls_alone() -> anyhow::Result<()> {
    let server = FaultServer::start().await?;
    server.put("a.jpg", picture()?);
    let config = FetchConfig {
        danger_allow_networks: vec!["127.0.0.0/8".into()],
        timeout_ms: 1500,
        retries: 1,
        backoff_ms: 10,
        max_bytes: 1 << 20,
        per_host: 64,
        ..FetchConfig::default()
    };
    let fetcher = Fetcher::new(&config)?;
    // Each fault between two pictures that are well.
    let cases: Vec<Option<Fault>> = FAULTS.iter().flat_map(|fault| [None, Some(*fault), None]).collect();
    let urls = cases.iter().zip(0..).map(|(fault, salt)| server.url("a.jpg", *fault, salt)).collect();
    let batch = Batch::new(vec![event(urls)?], CheckpointDelta::default());
    let done = tokio::time::timeout(Duration::from_secs(60), fetcher.fetch(batch, &Nothing)).await??;

    let mut wrong = Vec::new();
    for (fault, n) in cases.iter().zip(0..) {
        let id = PhotoId::new(n.to_string())?;
        let had = done.items[0].photos().iter().any(|photo| photo.photo_id == id);
        let letter = done.dead.iter().find(|letter| letter.photo.as_ref() == Some(&id));
        let found = letter.map(|letter| letter.reason.as_str());
        if found != fault.and_then(Fault::reason) || had == found.is_some() {
            wrong.push(format!("{fault:?}: {found:?} {:?}", letter.map(|letter| &letter.detail)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
