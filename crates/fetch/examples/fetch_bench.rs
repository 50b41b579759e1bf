//! Pictures a second from a server on this machine: `cargo run --release -p fetch --example fetch_bench [FOLDER]`.
//!
//! Serves the JPEGs of a folder (or one made-up file) under many names and many hosts, and fetches 20,000 of them with
//! decoding off (the state claims to know every picture) and 4,000 with decoding on. Server and client share the cores.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use bytes::Bytes;
use fetch::{FetchConfig, Fetcher, KnownPhotos};
use records::{
    AccountId, Batch, CheckpointDelta, EventBody, Origin, PartitionId, PhotoId, PhotoKey, PhotoRef,
    PhotoSource, PhotoUrl, Position, ProfileEvent, ProfileFacts, Timestamp,
};

struct Claims(bool);

impl KnownPhotos for Claims {
    fn knows(&self, _: &PhotoKey) -> bool {
        self.0
    }
}

async fn picture(Path(n): Path<usize>, State(pictures): State<Arc<Vec<Bytes>>>) -> Bytes {
    pictures[n % pictures.len()].clone()
}

fn event(n: usize, port: u16) -> ProfileEvent {
    let url = format!("http://127.0.0.{}:{port}/{n}", 1 + n % 32);
    let photo =
        PhotoRef { photo_id: PhotoId::new("p").unwrap(), source: PhotoSource::Url(PhotoUrl::new(url)) };
    ProfileEvent {
        account: AccountId::new(format!("a{n}")).unwrap(),
        observed_at: Timestamp::EPOCH,
        body: EventBody::Replace { photos: vec![photo], facts: ProfileFacts::default() },
        origin: Origin::row(PartitionId::file("bench"), Position(n as u64)),
    }
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1);
    let pictures: Vec<Bytes> = match folder {
        Some(folder) => std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "jpg"))
            .map(|path| std::fs::read(path).unwrap().into())
            .collect(),
        None => vec![Bytes::from_static(include_bytes!("../tests/fixtures/orientation_5.jpg"))],
    };
    let mean = pictures.iter().map(Bytes::len).sum::<usize>() / pictures.len();
    println!("{} distinct pictures of {mean} bytes on average", pictures.len());
    let app = Router::new().route("/{n}", get(picture)).with_state(Arc::new(pictures));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let config = FetchConfig { danger_allow_networks: vec!["127.0.0.0/8".into()], ..Default::default() };
    for (decoding, count) in [("off", 20_000), ("on", 4_000)] {
        let fetcher = Fetcher::new(&config).unwrap();
        let known = Claims(decoding == "off");
        let began = Instant::now();
        let mut had = 0;
        for first in (0..count).step_by(256) {
            let events = (first..(first + 256).min(count)).map(|n| event(n, port)).collect();
            let batch = fetcher.fetch(Batch::new(events, CheckpointDelta::default()), &known).await.unwrap();
            had += batch.items.iter().map(|e| e.photos().len()).sum::<usize>();
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("decoding {decoding}: {had} of {count} in {seconds:.2} s, {:.0}/s", had as f64 / seconds);
    }
}
