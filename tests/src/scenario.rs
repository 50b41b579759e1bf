//! A small world with a known truth: real portraits, honest accounts that look like rings, and planted rings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::broker::Outgoing;
use crate::images::{REMAKES, remake};
use crate::pictures::PictureServer;
use crate::shared::Portrait;

/// Accounts with their events, and who of them is what.
#[derive(Default)]
pub struct Scenario {
    /// One event for each account, in the order in which they are sent.
    pub events: Vec<Outgoing>,
    /// Ring -> its bots.
    pub rings: BTreeMap<String, BTreeSet<String>>,
    /// Owners of the stolen portraits.
    pub victims: BTreeSet<String>,
    /// Everybody else.
    pub honest: BTreeSet<String>,
}

/// 2026-01-01T00:00:00Z in seconds.
const NEW_YEAR: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

fn time(seconds: i64) -> String {
    records::Timestamp::from_millis(seconds * 1000).expect("within the years 1 to 9999").to_string()
}

/// Numbers that look random and are the same in every run.
fn scatter(seed: usize, below: i64) -> i64 {
    ((seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as i64 % below
}

impl Scenario {
    /// An account of long standing with an ordinary profile.
    fn add_honest(&mut self, id: &str, seed: usize, photos: Vec<Value>) {
        self.honest.insert(id.to_owned());
        let facts = json!({
            "username": format!("user{seed}"), "full_name": format!("Person {seed}"),
            "followers": 80 + scatter(seed, 900), "following": 100 + scatter(seed + 7, 500),
            "posts": 20 + scatter(seed + 13, 300), "verified": false,
            "created_at": time(NEW_YEAR - 200 * DAY - scatter(seed + 3, 3000) * DAY),
        });
        self.push(id, NEW_YEAR - 100 * DAY + scatter(seed + 5, 100 * DAY), facts, photos);
    }

    /// An account as bots are made: in a burst, following many, followed by few.
    fn add_bot(&mut self, ring: &str, id: &str, seed: usize, burst: i64, photos: Vec<Value>) {
        self.rings.entry(ring.to_owned()).or_default().insert(id.to_owned());
        let facts = json!({
            "username": format!("u{}", scatter(seed, 99_999_999)),
            "full_name": if seed.is_multiple_of(3) { Value::Null } else { json!("") },
            "followers": scatter(seed, 15), "following": 700 + scatter(seed + 1, 2000), "posts": scatter(seed + 2, 3),
            "verified": false, "created_at": time(burst + scatter(seed + 4, 36 * 3600)),
        });
        self.push(id, burst + 3 * DAY + scatter(seed + 6, DAY), facts, photos);
    }

    fn push(&mut self, id: &str, observed: i64, mut event: Value, photos: Vec<Value>) {
        event["account_id"] = json!(id);
        event["observed_at"] = json!(time(observed));
        event["photos"] = Value::Array(photos);
        self.events.push(Outgoing {
            key: id.to_owned(),
            value: Some(event.to_string().into_bytes()),
            headers: vec![("scenario".into(), b"portraits".to_vec())],
            timestamp_ms: None,
        });
    }
}

/// Serves the pictures from `server` and returns the world.
///
/// 300 people have an account each with their own portraits (one collection or both); ten of them have a second account;
/// four portraits of people without an account are avatars of six fans each. Four rings of 6 to 12 bots re-use the
/// portraits of five people each; those of the first two rings have honest accounts: they are the victims.
pub fn build(portraits: &[Portrait], server: &PictureServer) -> anyhow::Result<Scenario> {
    let mut people: BTreeMap<&str, Vec<&Portrait>> = BTreeMap::new();
    for portrait in portraits {
        people.entry(&portrait.person).or_default().push(portrait);
    }
    let people: Vec<Vec<&Portrait>> = people.into_values().filter(|p| p.len() == 2).take(400).collect();
    anyhow::ensure!(people.len() == 400, "only {} people have two portraits", people.len());

    let mut world = Scenario::default();
    let mut served = 0;
    let mut serve = |bytes: Vec<u8>| {
        served += 1;
        let url = server.put(&format!("{served:05}.jpg"), bytes);
        json!({"photo_id": format!("p{served}"), "url": url})
    };

    for (at, portraits) in people.iter().take(300).enumerate() {
        let own = portraits.iter().take(1 + at % 2).map(|p| serve(p.bytes.clone())).collect();
        world.add_honest(&format!("honest-{at:03}"), at, own);
    }
    for (at, portraits) in people.iter().enumerate().skip(40).take(10) {
        // The second account of one person: half of them show the same file, half another portrait.
        let photo = serve(portraits[at % 2].bytes.clone());
        world.add_honest(&format!("second-{at:03}"), 1000 + at, vec![photo]);
    }
    for (at, portraits) in people.iter().enumerate().skip(300).take(4) {
        for fan in 0..6 {
            let idol = serve(remake(&portraits[1].bytes, REMAKES[fan])?);
            let own = serve(people[310 + 6 * (at - 300) + fan][0].bytes.clone());
            world.add_honest(&format!("fan-{at}-{fan}"), 2000 + 10 * at + fan, vec![idol, own]);
        }
    }

    for (ring, size) in [6_usize, 8, 10, 12].into_iter().enumerate() {
        let name = format!("ring-{ring}");
        // Two rings steal from people of this world, two from elsewhere.
        let first_person = if ring < 2 { 100 + 10 * ring } else { 340 + 10 * ring };
        let pool = &people[first_person..first_person + 5];
        if ring < 2 {
            for person in first_person..first_person + 5 {
                let victim = format!("honest-{person:03}");
                world.honest.remove(&victim);
                world.victims.insert(victim);
            }
        }
        let burst = NEW_YEAR - (20 + 3 * ring as i64) * DAY;
        for bot in 0..size {
            let mut photos = Vec::new();
            for slot in 0..3 {
                let stolen = &pool[(bot + slot * 2) % pool.len()][0].bytes;
                photos.push(serve(remake(stolen, REMAKES[(bot * 3 + slot + ring) % REMAKES.len()])?));
            }
            world.add_bot(&name, &format!("{name}-bot-{bot:02}"), 5000 + 100 * ring + bot, burst, photos);
        }
    }
    // Bots and honest accounts arrive mixed, as they do in life.
    world
        .events
        .sort_by_key(|event| scatter(event.key.bytes().map(usize::from).sum::<usize>() * 31, 1 << 20));
    Ok(world)
}
