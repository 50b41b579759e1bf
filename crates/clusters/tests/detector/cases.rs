//! Each case on its own, in a crowd, with everything known, with times only, and with nothing known but the photos.

use crate::population::{ALL, DAYS, Known, NOTHING, Outcome, TIMES_ONLY, World, run};

const EVERY: [Known; 3] = [ALL, TIMES_ONLY, NOTHING];

/// Runs a case with three seeds for each kind of knowledge.
fn each(knowns: &[Known], fill: impl Fn(&mut World), check: impl Fn(&Outcome, Known)) {
    for known in knowns {
        for seed in 0..3 {
            let mut world = World::new(seed, *known);
            world.crowd(1500);
            fill(&mut world);
            let (outcome, _) = run(world);
            check(&outcome, *known);
        }
    }
}

fn nobody_accused(outcome: &Outcome, known: Known) {
    assert_eq!(outcome.accused_in_all(), 0, "{known:?}: {outcome:?}");
}

#[test]
fn fans_and_fan_pages_are_honest() {
    each(&EVERY, |w| (0..3).for_each(|_| w.celebrity(150, 6)), nobody_accused);
}

#[test]
fn memes_and_stock_portraits_are_honest() {
    each(&EVERY, |w| w.memes(30, 900, 2), nobody_accused);
    each(&EVERY, |w| w.memes(60, 300, 6), nobody_accused);
}

#[test]
fn default_avatars_are_honest() {
    each(&EVERY, |w| w.default_avatars(300), nobody_accused);
}

#[test]
fn friends_and_families_are_honest() {
    each(&EVERY, |w| (5..12).for_each(|n| w.friends(n, n)), nobody_accused);
    each(&EVERY, |w| (3..8).for_each(|n| w.family(n, 4)), nobody_accused);
}

#[test]
fn one_person_with_several_accounts_is_honest() {
    each(&EVERY, |w| (2..5).for_each(|n| (0..10).for_each(|_| w.several_accounts(n))), nobody_accused);
}

fn found(least: f64) -> impl Fn(&Outcome, Known) {
    move |outcome, known| {
        assert_eq!(outcome.accused_in_all(), 0, "{known:?}: {outcome:?}");
        assert_eq!(outcome.mixed, 0, "{known:?}: {outcome:?}");
        assert!(outcome.recall() >= least, "{known:?}: {outcome:?}");
    }
}

#[test]
fn pools_of_stolen_photos_are_found() {
    let rings = |w: &mut World| {
        for (bots, victims, each) in [(8, 3, 4), (20, 5, 4), (60, 12, 4)] {
            let pool = w.stolen_pool(victims, 4, 0.7);
            w.pool_ring(bots, &pool, each, DAYS - 200.0, 10.0);
        }
    };
    each(&EVERY, rings, found(0.93));
}

#[test]
fn slow_rings_are_found() {
    let rings = |w: &mut World| {
        for bots in [15, 30] {
            let pool = w.stolen_pool(5, 4, 0.7);
            w.pool_ring(bots, &pool, 4, DAYS - 700.0, 600.0);
        }
    };
    each(&EVERY, rings, found(0.93));
}

#[test]
fn one_photo_on_thousands_is_found() {
    let ring = |w: &mut World| {
        let pool = w.stolen_pool(1, 1, 1.0);
        w.pool_ring(1200, &pool, 1, DAYS - 100.0, 6.0);
    };
    each(&[ALL, TIMES_ONLY], ring, found(0.95));
}

#[test]
fn many_photos_of_one_person_need_a_burst_and_profiles() {
    let ring = |w: &mut World| {
        w.one_person_ring(15, 4, DAYS - 60.0, 5.0);
        w.one_person_ring(30, 3, DAYS - 300.0, 5.0);
    };
    each(&[ALL], ring, found(0.9));
    each(&[TIMES_ONLY, NOTHING], ring, |outcome, known| {
        nobody_accused(outcome, known);
        assert!(outcome.recall() < 0.01, "one person alone accuses nobody: {outcome:?}");
    });
}

#[test]
fn rings_that_share_a_victim_stay_apart() {
    let rings = |w: &mut World| {
        let shared = w.stolen_pool(1, 6, 1.0);
        for ring in 0..2 {
            let mut pool = w.stolen_pool(4, 4, 0.7);
            pool.extend(&shared[ring * 3..ring * 3 + 3]);
            w.pool_ring(20, &pool, 4, DAYS - 400.0 + 200.0 * ring as f64, 10.0);
        }
    };
    each(&EVERY, rings, found(0.93));
}

/// Everything at once: the figures that the crate is held to.
#[test]
fn a_mixed_population() {
    for known in EVERY {
        let (mut accused, mut honest, mut recall) = (0, 0, 0.0);
        for seed in 10..13 {
            let mut w = World::new(seed, known);
            w.crowd(4000);
            (0..5).for_each(|_| w.celebrity(120, 4));
            w.memes(40, 600, 3);
            w.default_avatars(200);
            (0..40).for_each(|i| w.friends(4 + i % 7, 5));
            (0..30).for_each(|i| w.family(3 + i % 4, 4));
            (0..60).for_each(|i| w.several_accounts(2 + i % 3));
            for ring in 0..12 {
                let pool = w.stolen_pool(3 + ring % 5, 4, 0.7);
                let slow = ring % 3 == 0;
                let (start, days) = if slow { (DAYS - 700.0, 600.0) } else { (DAYS - 400.0, 10.0) };
                w.pool_ring(8 + 4 * ring, &pool, 4, start, days);
            }
            let (outcome, detection) = run(w);
            eprintln!(
                "{known:?} seed {seed}: recall {:.3}, accused {:?}, mixed {}, victims shown {}, communities {}",
                outcome.recall(),
                outcome.accused,
                outcome.mixed,
                outcome.victims_shown,
                detection.communities
            );
            accused += outcome.accused_in_all();
            honest += 7000;
            recall += outcome.recall() / 3.0;
            assert_eq!(outcome.mixed, 0);
        }
        assert!(accused * 2000 <= honest, "{accused} of {honest} honest accounts accused ({known:?})");
        assert!(recall >= 0.95, "{recall} ({known:?})");
    }
}

/// Rings of other shapes: few bots, few photos each, one victim only, large and sparse.
#[test]
fn ring_shapes() {
    // Name, bots, victims, photos of each, photos each bot shows, days within which they were made, least recall.
    let shapes = [
        ("five bots", 5, 3, 2, 3, 10.0, 0.95),
        ("six bots, wide pool", 6, 4, 3, 3, 10.0, 0.95),
        ("one victim", 12, 1, 10, 3, 10.0, 0.95),
        ("one victim, slow", 12, 1, 10, 3, 500.0, 0.9),
        ("two photos each", 30, 8, 3, 2, 10.0, 0.95),
        ("two photos each, slow", 30, 8, 3, 2, 500.0, 0.95),
        ("large and sparse", 300, 200, 2, 4, 300.0, 0.95),
    ];
    for known in EVERY {
        for (name, bots, victims, photos, each, days, least) in shapes {
            let mut recall = 0.0;
            for seed in 20..22 {
                let mut w = World::new(seed, known);
                w.crowd(800);
                let pool = w.stolen_pool(victims, photos, 0.7);
                w.pool_ring(bots, &pool, each, DAYS - 600.0, days);
                let (outcome, _) = run(w);
                assert_eq!(outcome.accused_in_all(), 0, "{name}, {known:?}: {outcome:?}");
                recall += outcome.recall() / 2.0;
            }
            assert!(recall >= least, "{name}, {known:?}: {recall}");
        }
    }
}
