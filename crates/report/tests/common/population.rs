//! A made-up population of clusters, the same every time, with drawn portraits.

use std::collections::BTreeMap;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use records::tables::{
    AccountRow, Change, ClusterRow, EvidenceRow, LinkKind, MemberRow, Reason, Role, RunInfo, TABLES_VERSION,
    Tables, WeakestLink,
};
use records::{AccountId, Checkpoint, PartitionId, PhotoId, PhotoKey, Position, ProfileFacts, Timestamp};

const DAY: i64 = 86_400_000_000;
const HOSTILE: &str = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}";

pub fn account(text: &str) -> AccountId {
    AccountId::new(text).unwrap()
}

fn time(day: i64, minute: i64) -> Timestamp {
    // Day 0 is 1 January 2026.
    Timestamp::from_micros(1_767_225_600_000_000 + day * DAY + minute * 60_000_000).unwrap()
}

/// A small generator of numbers, so that the population needs no crate and never changes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as i64).rem_euclid(n)
    }
}

fn reason(signal: &str, log_odds: f64, detail: &str) -> Reason {
    Reason { signal: signal.into(), log_odds, detail: detail.into() }
}

/// Who shares what: one cluster to be built.
struct Plan {
    id: &'static str,
    members: usize,
    people: usize,
    victims: usize,
    /// One file for all, or each person's picture re-encoded by every account.
    star: bool,
    burst_days: i64,
    start_day: i64,
    change: Change,
    score_shift: f64,
}

pub struct Population {
    pub tables: Tables,
    /// Which drawn person each picture shows, and which variant of the picture.
    pub pictures: BTreeMap<PhotoKey, (u64, u64)>,
}

pub fn population() -> Population {
    let plan = |id, members, people, victims, star, burst_days, start_day, change, score_shift| Plan {
        id,
        members,
        people,
        victims,
        star,
        burst_days,
        start_day,
        change,
        score_shift,
    };
    let mut plans = vec![
        plan("fc-7c1e90", 14, 3, 2, false, 2, 61, Change::New, 0.8),
        plan("fc-2b84d7", 34, 1, 1, true, 1, 75, Change::Grown, 0.3),
        plan("fc-e05a11", 6, 2, 0, false, 9, 40, Change::Merged, -1.6),
        plan("fc-90b3fe", 3, 1, 1, false, 1, 82, Change::New, -1.9),
        plan("fc-4417aa", 230, 9, 4, false, 30, 12, Change::Unchanged, 1.5),
    ];
    const SMALL: [&str; 12] = [
        "fc-10c2b1",
        "fc-13f07d",
        "fc-1855e3",
        "fc-1a9d24",
        "fc-1f6680",
        "fc-22e9c5",
        "fc-267b0a",
        "fc-2c41f8",
        "fc-31d093",
        "fc-35a7de",
        "fc-3b126c",
        "fc-3ef549",
    ];
    for (nth, id) in SMALL.into_iter().enumerate() {
        let members = 3 + nth % 5;
        plans.push(plan(
            id,
            members,
            1 + nth % 2,
            nth % 2,
            false,
            3,
            nth as i64 * 5,
            Change::Unchanged,
            -2.0,
        ));
    }
    let mut dice = Dice(7);
    let mut out = Population {
        tables: Tables { clusters: vec![], members: vec![], evidence: vec![], accounts: vec![] },
        pictures: BTreeMap::new(),
    };
    for (nth, plan) in plans.iter().enumerate() {
        build(nth, plan, &mut dice, &mut out);
    }
    out
}

fn build(nth: usize, plan: &Plan, dice: &mut Dice, out: &mut Population) {
    let names =
        ["lena", "mara", "olek", "tess", "ivo", "nina", "jon", "sofia", "emil", "kaya", "rosa", "finn"];
    let person = |p: usize| (nth * 100 + p) as u64;
    // (account, person, picture, created, observed)
    let mut owners: Vec<(AccountId, usize, PhotoKey, Timestamp)> = Vec::new();
    let mut picture = |p: usize, variant: u64| {
        let key = PhotoKey::of_bytes(format!("{} {p} {variant}", plan.id).as_bytes());
        out.pictures.insert(key, (person(p), variant));
        key
    };
    for v in 0..plan.victims {
        let id = account(&format!("{}", 18_400_000 + nth as i64 * 1000 + v as i64));
        let observed = time(plan.start_day - 40, dice.below(1000));
        owners.push((id.clone(), v % plan.people, picture(v % plan.people, 0), observed));
        out.tables.accounts.push(AccountRow {
            account_id: id.clone(),
            facts: ProfileFacts {
                username: Some(format!("{}.photographs", names[(nth + v) % names.len()])),
                full_name: Some("Zoë Marchetti-Lindqvist".into()),
                followers: Some(900 + dice.below(9000)),
                following: Some(200 + dice.below(300)),
                posts: Some(300 + dice.below(900)),
                created_at: Some(time(-900 + dice.below(300), 0)),
                verified: Some(v == 0),
            },
            first_seen: observed,
            last_seen: time(90, 0),
            photos: 20 + dice.below(60) as i32,
        });
        out.tables.members.push(MemberRow {
            cluster_id: plan.id.into(),
            account_id: id,
            score: 0.93,
            role: Role::Victim,
            reasons: vec![
                reason("prior", -2.0, "most accounts are nobody's victim"),
                reason("earliest_owner", 2.7, "showed this person 41 days before any other account"),
                reason("own_pictures", 1.9, "has 38 other pictures of this person that nobody else shows"),
            ],
        });
    }
    for m in 0..plan.members {
        let id = account(&format!("{}", 20_260_000 + nth as i64 * 1000 + m as i64));
        let username = match (nth, m) {
            (0, 0) => HOSTILE.to_owned(),
            (0, 1) => "\u{202e}gnihton_rof".to_owned(),
            _ => format!("{}_{:04}", names[dice.below(12) as usize], dice.below(9999)),
        };
        let created = if m == plan.members - 1 && plan.members > 4 {
            time(plan.start_day - 210, 0)
        } else {
            time(plan.start_day, dice.below(plan.burst_days * 1440))
        };
        let p = m % plan.people;
        let observed = time(plan.start_day + 3 + dice.below(4), dice.below(1440));
        owners.push((id.clone(), p, picture(p, if plan.star { 0 } else { 1 + m as u64 }), observed));
        out.tables.accounts.push(AccountRow {
            account_id: id.clone(),
            facts: ProfileFacts {
                username: (m % 9 != 8).then_some(username),
                full_name: (m % 3 == 0).then(|| format!("{} M.", names[m % names.len()])),
                followers: Some(dice.below(30)),
                following: Some(900 + dice.below(4000)),
                posts: Some(dice.below(3)),
                created_at: Some(created),
                verified: Some(false),
            },
            first_seen: observed,
            last_seen: time(91, 0),
            photos: 1 + dice.below(4) as i32,
        });
        out.tables.members.push(MemberRow {
            cluster_id: plan.id.into(),
            account_id: id,
            score: 0.97 - 0.004 * (m as f64).min(60.0),
            role: Role::Member,
            reasons: vec![
                reason("prior", -4.0, "few accounts are part of a network"),
                reason("same_photo", 3.2, "shows a picture that 13 other members show"),
                reason("creation_burst", 2.4, "created within the cluster's burst"),
                reason("follows_many", 1.6, "follows far more accounts than follow it"),
                reason("age", -0.4, "first seen more than a week ago"),
            ],
        });
    }
    let first_evidence = out.tables.evidence.len();
    for (i, (a, pa, ka, ta)) in owners.iter().enumerate() {
        for (j, (b, pb, kb, tb)) in owners.iter().enumerate().skip(i + 1) {
            // Groups of one person hang together; one bridge ties each group to the next.
            let bridge = pa != pb && i >= plan.victims && j == i + 1 && i < plan.victims + plan.people - 1;
            if pa != pb && !bridge || plan.members > 100 && (i * 31 + j * 17) % 7 != 0 && !bridge {
                continue;
            }
            let kind = if ka == kb {
                LinkKind::SameBytes
            } else if bridge || (i + j) % 11 == 0 {
                LinkKind::SamePerson
            } else {
                LinkKind::SamePhoto
            };
            let (a, b, ka, kb, ta, tb) = if a < b { (a, b, ka, kb, ta, tb) } else { (b, a, kb, ka, tb, ta) };
            out.tables.evidence.push(EvidenceRow {
                cluster_id: plan.id.into(),
                account_a: a.clone(),
                account_b: b.clone(),
                kind,
                photo_a: PhotoId::new("avatar").unwrap(),
                photo_b: PhotoId::new("avatar").unwrap(),
                picture_a: *ka,
                picture_b: *kb,
                similarity: Some(if kind == LinkKind::SameBytes {
                    1.0
                } else {
                    0.8 + 0.001 * dice.below(190) as f32
                }),
                pdq_distance: (kind != LinkKind::SamePerson).then(|| dice.below(28) as i32),
                owners: (plan.members / plan.people) as i32 + 1,
                weight: if bridge { 0.31 } else { 0.7 + 0.001 * dice.below(290) as f64 },
                observed_a: *ta,
                observed_b: *tb,
            });
        }
    }
    let evidence = &out.tables.evidence[first_evidence..];
    let kinds = LinkKind::ALL.iter().copied().filter(|k| evidence.iter().any(|e| e.kind == *k)).collect();
    let group = plan.members.div_ceil(plan.people) as i32;
    let weakest_link = (plan.people > 1).then(|| WeakestLink {
        account_a: owners[plan.victims].0.clone(),
        account_b: owners[plan.victims + 1].0.clone(),
        weight: 0.31,
        separates: group,
    });
    let reasons = vec![
        reason("prior", -4.6, "one group in a hundred with shared faces is a network"),
        reason("same_photo_share", 4.1, "92% of the members show a picture that another member shows"),
        reason(
            "creation_burst",
            3.3,
            "created far closer together than chance: p = 0.0004 over 2,000 shuffles",
        ),
        reason("profile_rules", 1.9 + plan.score_shift, "follow far more than they are followed, few posts"),
        reason("generated_portraits", -0.2, "eyes are not aligned as in generated portraits"),
        reason("popularity", -0.7, "one of the faces is also seen on 3 unrelated accounts"),
    ];
    let log_odds: f64 = reasons.iter().map(|r| r.log_odds).sum();
    out.tables.clusters.push(ClusterRow {
        cluster_id: plan.id.into(),
        score: 1.0 / (1.0 + (-log_odds).exp()),
        accounts: plan.members as i32,
        photos: evidence
            .iter()
            .flat_map(|e| [e.picture_a, e.picture_b])
            .collect::<std::collections::BTreeSet<_>>()
            .len() as i32,
        identities: plan.people as i32,
        first_seen: owners.iter().map(|o| o.3).min().unwrap(),
        last_seen: owners.iter().map(|o| o.3).max().unwrap(),
        kinds,
        reasons,
        weakest_link,
        change: plan.change,
        parents: if plan.change == Change::Merged {
            vec!["fc-77aa01".into(), "fc-77aa02".into()]
        } else {
            vec![]
        },
    });
}

pub fn run_info(snapshot: &str) -> RunInfo {
    let mut checkpoint = Checkpoint::default();
    checkpoint.restore(PartitionId::kafka("profiles", 0), Position(1_204_411));
    checkpoint.restore(PartitionId::kafka("profiles", 1), Position(1_199_087));
    let pairs =
        [("clusters.min_score", 0.5), ("links.same_person_cosine", 0.612), ("links.same_photo_pdq", 31.0)];
    RunInfo {
        tables_version: TABLES_VERSION.into(),
        facering_version: "0.1.0".into(),
        snapshot: snapshot.into(),
        kind: Default::default(),
        as_of: time(91, 754),
        pack: "yunet-sface-128".into(),
        accounts: 2_403_498,
        photos: 5_118_220,
        faces: 4_870_112,
        links: 611_904,
        dead_letters: [("malformed_json".to_owned(), 12), ("too_large".to_owned(), 803)].into(),
        checkpoint,
        thresholds: pairs.map(|(name, value)| (name.to_owned(), value)).into(),
    }
}

/// Writes a drawn portrait for each picture.
pub fn write_thumbnails(folder: &Path, pictures: &BTreeMap<PhotoKey, (u64, u64)>) {
    std::fs::create_dir_all(folder).unwrap();
    for (key, (person, variant)) in pictures {
        std::fs::write(folder.join(format!("{key}.jpg")), portrait(*person, *variant)).unwrap();
    }
}

/// A face of circles; the person decides skin, hair and ground, the variant crop and brightness.
fn portrait(person: u64, variant: u64) -> Vec<u8> {
    let mut dice = Dice(person * 977 + 5);
    let mut colour = |low: i64, high: i64| [0; 3].map(|_| (low + dice.below(high - low)) as f32);
    let (ground, hair, shirt) = (colour(120, 210), colour(20, 120), colour(60, 200));
    let tone = 120.0 + (person * 37 % 110) as f32;
    let skin = [tone + 20.0, tone - 10.0, tone - 40.0];
    let zoom = 1.0 + (variant % 4) as f32 * 0.06;
    let light = 1.0 + (variant % 3) as f32 * 0.07 - 0.05;
    let picture = RgbImage::from_fn(112, 112, |x, y| {
        let flip = if variant % 5 == 4 { 111 - x } else { x };
        let (u, v) = ((flip as f32 / 112.0 - 0.5) / zoom, (y as f32 / 112.0 - 0.5) / zoom);
        let inside =
            |cx: f32, cy: f32, rx: f32, ry: f32| ((u - cx) / rx).powi(2) + ((v - cy) / ry).powi(2) < 1.0;
        let c = if inside(-0.09, -0.04, 0.025, 0.03) || inside(0.09, -0.04, 0.025, 0.03) {
            [30.0, 30.0, 36.0]
        } else if inside(0.0, 0.13, 0.07, 0.022) {
            [150.0, 60.0, 60.0]
        } else if inside(0.02, -0.24, 0.23, 0.14) {
            hair
        } else if inside(0.0, 0.0, 0.2, 0.27) {
            skin
        } else if inside(0.0, -0.06, 0.26, 0.32) && person.is_multiple_of(2) {
            hair
        } else if inside(0.0, 0.62, 0.42, 0.34) {
            shirt
        } else {
            ground.map(|g| g - v * 40.0)
        };
        Rgb(c.map(|value| (value * light).clamp(0.0, 255.0) as u8))
    });
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 82)
        .write_image(picture.as_raw(), 112, 112, ExtendedColorType::Rgb8)
        .unwrap();
    jpeg
}
