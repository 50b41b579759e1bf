use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;

fn accounts(options: Options) -> Vec<Account> {
    Population::new(options).unwrap().accounts()
}

fn by_kind(accounts: &[Account]) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    accounts.iter().for_each(|account| *kinds.entry(account.label.kind).or_default() += 1);
    kinds
}

#[test]
fn has_exactly_as_many_accounts_with_ids_of_their_own() {
    for (count, seed) in [(20, 1), (21, 2), (300, 3), (1_999, 4), (70_001, 5)] {
        let drawn = accounts(Options { accounts: count, seed, ..Options::default() });
        assert_eq!(drawn.len() as u64, count);
        let ids: HashSet<_> = drawn.iter().map(|account| &account.id).collect();
        assert_eq!(ids.len() as u64, count);
        let bots = drawn.iter().filter(|account| account.label.role == TrueRole::Bot).count();
        assert!((bots as f64 - count as f64 * 0.06).abs() <= 6.0, "{bots} of {count}");
    }
}

#[test]
fn every_kind_comes_up_with_its_share() {
    let options = Options { accounts: 40_000, ..Options::default() };
    let drawn = accounts(options.clone());
    let kinds = by_kind(&drawn);
    eprintln!("{kinds:?}");
    assert_eq!(kinds.len(), 6 + 1 + 14, "{kinds:?}");
    let share = |kind: &str| kinds[kind] as f64 / 40_000.0;
    let honest: usize = kinds.iter().filter(|(kind, _)| kind.starts_with("honest")).map(|(_, n)| n).sum();
    assert!((share("honest_friend") * 40_000.0 / honest as f64 - 0.33).abs() < 0.01);
    assert!((share("bot_stolen_pool") / options.bots - 0.35).abs() < 0.05);
    assert!(share("victim") > 0.001);

    let small = by_kind(&accounts(Options { accounts: 400, bots: 0.25, ..Options::default() }));
    assert_eq!(small.len(), 6 + 1 + 14, "{small:?}");
    let none = Options { bots: 0.0, ..Options::default() };
    assert!(accounts(none).iter().all(|account| account.label.role == TrueRole::Honest));
}

#[test]
fn rings_are_numbered_sized_and_told_apart() {
    let options = Options { accounts: 30_000, bots: 0.2, seed: 9, ..Options::default() };
    let population = Population::new(options.clone()).unwrap();
    let drawn = population.accounts();
    let mut rings: HashMap<u32, Vec<&Account>> = HashMap::new();
    for account in &drawn {
        assert_eq!(account.label.ring.is_some(), account.label.role == TrueRole::Bot);
        if let Some(ring) = account.label.ring {
            rings.entry(ring).or_default().push(account);
        }
    }
    assert_eq!(rings.len() as u32, population.rings());
    for (number, members) in &rings {
        assert!(*number < population.rings());
        assert!(members.len() >= options.smallest_ring as usize, "{number}: {}", members.len());
        assert!(members.iter().all(|bot| bot.label.kind == members[0].label.kind));
    }
    let largest = |kind: &str| {
        rings.values().filter(|m| m[0].label.kind == kind).map(Vec::len).max().unwrap_or_default()
    };
    assert!(largest("bot_mass_photo") > 200);
    assert!(largest("bot_stolen_pool") <= 2 * options.largest_ring as usize);
}

/// Everything a ring does leaves a trace in the pictures: its accounts hang together by pictures, or by a person.
#[test]
fn rings_hang_together() {
    for account_ring in rings(Options { accounts: 20_000, seed: 3, ..Options::default() }) {
        let by_person = account_ring[0].label.kind == "bot_one_person";
        let mut owners: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, account) in account_ring.iter().enumerate() {
            for photo in &account.photos {
                let original = &photo.picture.original;
                match by_person {
                    true => {
                        original.faces.iter().for_each(|f| owners.entry(f.person.seed).or_default().push(at))
                    }
                    false => owners.entry(original.seed).or_default().push(at),
                }
            }
        }
        let mut reached = HashSet::from([0]);
        loop {
            let before = reached.len();
            for group in owners.values() {
                if group.iter().any(|at| reached.contains(at)) {
                    reached.extend(group.iter().copied());
                }
            }
            if reached.len() == before {
                break;
            }
        }
        assert_eq!(reached.len(), account_ring.len(), "{}", account_ring[0].label.kind);
    }
}

fn rings(options: Options) -> Vec<Vec<Account>> {
    let mut rings: BTreeMap<u32, Vec<Account>> = BTreeMap::new();
    for account in accounts(options) {
        if let Some(ring) = account.label.ring {
            rings.entry(ring).or_default().push(account);
        }
    }
    rings.into_values().collect()
}

#[test]
fn slow_rings_take_months_and_others_days() {
    let span = |ring: &[Account]| {
        let mut seen: Vec<i64> = ring.iter().map(|a| a.photos[0].observed_at.as_micros()).collect();
        seen.sort_unstable();
        // The middle eight tenths, since sundries and bought accounts may be older.
        (seen[seen.len() * 9 / 10] - seen[seen.len() / 10]) as f64 / 86_400e6
    };
    let drawn = rings(Options { accounts: 40_000, seed: 4, ..Options::default() });
    let mean = |kind: &str| {
        let spans: Vec<f64> = drawn.iter().filter(|r| r[0].label.kind == kind).map(|r| span(r)).collect();
        spans.iter().sum::<f64>() / spans.len() as f64
    };
    assert!(mean("bot_slow") > 90.0, "{}", mean("bot_slow"));
    assert!(mean("bot_stolen_pool") < 25.0, "{}", mean("bot_stolen_pool"));
}

#[test]
fn no_rule_about_profiles_separates() {
    let drawn = accounts(Options { accounts: 40_000, bots: 0.2, ..Options::default() });
    type Rule = fn(&ProfileFacts) -> Option<bool>;
    let rules: [(&str, Rule); 4] = [
        ("follows far more than it is followed", |f| Some(f.following? > 3 * f.followers?)),
        ("few posts", |f| Some(f.posts? <= 5)),
        ("no name", |f| Some(f.full_name.as_deref()?.is_empty())),
        ("few followers", |f| Some(f.followers? < 50)),
    ];
    for (name, rule) in rules {
        let rate = |role: TrueRole| {
            let told: Vec<bool> =
                drawn.iter().filter(|a| a.label.role == role).filter_map(|a| rule(&a.facts)).collect();
            told.iter().filter(|says| **says).count() as f64 / told.len() as f64
        };
        let (bots, honest) = (rate(TrueRole::Bot), rate(TrueRole::Honest));
        eprintln!("{name}: {bots:.2} of bots, {honest:.2} of honest accounts");
        assert!(bots > honest + 0.1, "{name} tells something: {bots} {honest}");
        assert!(bots < 0.9 && honest > 0.03, "{name} tells too much: {bots} {honest}");
    }
}

/// The honest accounts are not easy: many share pictures or people with others.
#[test]
fn honest_accounts_share_faces_too() {
    let drawn = accounts(Options { accounts: 20_000, ..Options::default() });
    let (mut pictures, mut people): (HashMap<u64, HashSet<usize>>, HashMap<u64, HashSet<usize>>) =
        Default::default();
    for (at, account) in drawn.iter().enumerate() {
        for photo in &account.photos {
            let original = &photo.picture.original;
            pictures.entry(original.seed).or_default().insert(at);
            original.faces.iter().for_each(|face| {
                people.entry(face.person.seed).or_default().insert(at);
            });
        }
    }
    let honest: Vec<usize> =
        (0..drawn.len()).filter(|at| drawn[*at].label.role == TrueRole::Honest).collect();
    let shared = |owners: &HashMap<u64, HashSet<usize>>| {
        let shared: HashSet<usize> = owners.values().filter(|of| of.len() > 1).flatten().copied().collect();
        honest.iter().filter(|at| shared.contains(at)).count() as f64 / honest.len() as f64
    };
    let (by_picture, by_person) = (shared(&pictures), shared(&people));
    eprintln!("{by_picture:.2} of the honest share a picture with another account, {by_person:.2} a person");
    assert!(by_picture > 0.3 && by_person > 0.4);
}

#[test]
fn victims_are_older_and_mostly_seen_first() {
    let drawn = accounts(Options { accounts: 60_000, bots: 0.2, seed: 8, ..Options::default() });
    let mut first_use: HashMap<u64, Timestamp> = HashMap::new();
    for photo in drawn.iter().filter(|a| a.label.role == TrueRole::Bot).flat_map(|a| &a.photos) {
        let first = first_use.entry(photo.picture.original.seed).or_insert(photo.observed_at);
        *first = (*first).min(photo.observed_at);
    }
    let (mut earlier, mut later) = (0, 0);
    for victim in drawn.iter().filter(|a| a.label.role == TrueRole::Victim) {
        let stolen = victim.photos.iter().filter(|photo| !photo.picture.original.faces.is_empty());
        let first = stolen
            .filter_map(|photo| Some((photo.observed_at, first_use.get(&photo.picture.original.seed)?)));
        for (own, theirs) in first {
            if own < *theirs { earlier += 1 } else { later += 1 }
        }
    }
    let share = f64::from(earlier) / f64::from(earlier + later);
    assert!((0.75..0.97).contains(&share), "{share} of {}", earlier + later);
}

#[test]
fn photos_are_in_order_within_the_window() {
    let options = Options { accounts: 5_000, days: 60, ..Options::default() };
    let window = clock::Window::new(&options);
    for account in accounts(options) {
        assert!(!account.photos.is_empty());
        assert!(account.photos.is_sorted_by_key(|photo| photo.observed_at));
        for photo in &account.photos {
            assert!((window.start..=window.end).contains(&photo.observed_at.as_micros()));
        }
    }
}

#[test]
fn blocks_are_bounded_and_equal_whatever_the_threads() {
    let population = Population::new(Options { accounts: 100_000, seed: 2, ..Options::default() }).unwrap();
    let sizes: Vec<usize> = population.blocks().map(|block| block.len()).collect();
    assert!(sizes.len() >= 3 && sizes.iter().all(|size| *size < 40_000), "{sizes:?}");
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let first = population.blocks().next().unwrap();
    assert!(one.install(|| population.blocks().next().unwrap()) == first);
}
