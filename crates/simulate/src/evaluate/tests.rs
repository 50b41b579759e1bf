use proptest::prelude::*;

use super::*;

fn truth(accounts: &[(&str, Option<&str>, &str, &str)]) -> Truth {
    let owned = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Truth(
        accounts
            .iter()
            .map(|(account, ring, role, kind)| {
                let facts =
                    TrueAccount { ring_id: ring.map(str::to_owned), role: owned(role), kind: owned(kind) };
                ((*account).to_owned(), facts)
            })
            .collect(),
    )
}

fn accused(rows: &[(&str, &str, f64)]) -> Vec<AccusedAccount> {
    let row = |(cluster, account, score): &(&str, &str, f64)| AccusedAccount {
        cluster_id: (*cluster).to_owned(),
        account_id: (*account).to_owned(),
        score: *score,
    };
    rows.iter().map(row).collect()
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} is not {b}");
}

/// Ring r: a b c d; ring s: e f. Cluster 1: a b c and the honest h; cluster 2: e. d and f were missed.
#[test]
fn by_hand() {
    let truth = truth(&[
        ("a", Some("r"), "bot", "bot_slow"),
        ("b", Some("r"), "bot", "bot_slow"),
        ("c", Some("r"), "bot", "bot_slow"),
        ("d", Some("r"), "bot", "bot_slow"),
        ("e", Some("s"), "bot", "bot_mass"),
        ("f", Some("s"), "bot", "bot_mass"),
        ("h", None, "honest", "honest_fan"),
        ("i", None, "honest", "honest_fan"),
        ("j", None, "honest", "honest_twin"),
        ("v", None, "victim", "victim"),
    ]);
    let members =
        accused(&[("1", "a", 0.95), ("1", "b", 0.95), ("1", "c", 0.95), ("1", "h", 0.95), ("2", "e", 0.55)]);
    let scores = HashMap::from([("1".to_owned(), 0.95), ("2".to_owned(), 0.65)]);
    let e = evaluate(&members, &scores, &truth).unwrap();
    // Pairs: cluster 1 has 6, of which 3 right; rings have 6 + 1 = 7.
    near(e.pairwise_p, 3.0 / 6.0);
    near(e.pairwise_r, 3.0 / 7.0);
    near(e.pairwise_f, 2.0 * 3.0 / 13.0);
    // Accounts a b c d e f h. Precision: a b c 3/4 each, h 1/4, d e f 1 each. Recall: a b c 3/4, d 1/4, e f 1/2, h 1.
    near(e.bcubed_p, (2.25 + 0.25 + 3.0) / 7.0);
    near(e.bcubed_r, (2.25 + 0.25 + 1.0 + 1.0) / 7.0);
    near(e.account_recall, 4.0 / 6.0);
    // Cluster 1 holds 3 of 4 of r and is 3/4 r; cluster 2 holds half of s and is all s.
    near(e.ring_recall, 1.0);
    near(e.false_accusation, 1.0 / 4.0);
    assert_eq!(e.falsely_accused, 1);
    near(e.purity, 4.0 / 5.0);
    assert_eq!((e.largest_cluster, e.victims_accused), (4, 0));
    // Cluster 1 is true, cluster 2 is one account and no network: (.05 + .65) / 2.
    near(e.calibration_error.unwrap(), 0.35);
    // Members in 0.9 to 1: four said 3.8, three true; in 0.5 to 0.6: one said .55 and is true.
    near(e.member_calibration_error.unwrap(), (0.8 + 0.45) / 5.0);
    assert_eq!(e.by_kind["honest_fan"], KindOfHonest { accounts: 2, accused: 1, rate: 0.5 });
    assert_eq!(e.by_kind["honest_twin"].accused, 0);
    near(e.bots_by_kind["bot_slow"].recall, 0.75);
    let counts = Counts {
        accounts: 10,
        bots: 6,
        victims: 1,
        honest: 4,
        rings: 2,
        clusters: 2,
        accused: 5,
        accused_unknown: 0,
    };
    assert_eq!(e.counts, counts);
}

#[test]
fn perfect_and_empty() {
    let labels = truth(&[("a", Some("r"), "", ""), ("b", Some("r"), "", ""), ("h", None, "", "")]);
    let perfect = evaluate(&accused(&[("x", "a", 1.0), ("x", "b", 1.0)]), &HashMap::new(), &labels).unwrap();
    for figure in
        [perfect.pairwise_f, perfect.bcubed_f, perfect.ring_recall, perfect.account_recall, perfect.purity]
    {
        near(figure, 1.0);
    }
    near(perfect.false_accusation, 0.0);
    assert_eq!(perfect.calibration_error, None, "no cluster has a score");

    // Nothing said: no credit for the many honest accounts that were left alone.
    let silent = evaluate(&[], &HashMap::new(), &labels).unwrap();
    assert_eq!((silent.pairwise_p, silent.pairwise_r, silent.pairwise_f), (0.0, 0.0, 0.0));
    assert_eq!((silent.bcubed_p, silent.bcubed_r), (1.0, 0.5));
    assert_eq!((silent.account_recall, silent.ring_recall, silent.purity), (0.0, 0.0, 0.0));

    let honest = truth(&[("h", None, "honest", "")]);
    let nothing = evaluate(&[], &HashMap::new(), &honest).unwrap();
    assert_eq!(
        (nothing.pairwise_f, nothing.bcubed_f, nothing.account_recall, nothing.ring_recall),
        (1.0, 1.0, 1.0, 1.0)
    );
}

#[test]
fn honest_accounts_left_alone_change_no_clustering_figure() {
    let mut rows = vec![("a", Some("r"), "bot", ""), ("b", Some("r"), "bot", ""), ("h", None, "honest", "")];
    let members = accused(&[("x", "a", 0.5), ("x", "h", 0.5)]);
    let few = evaluate(&members, &HashMap::new(), &truth(&rows)).unwrap();
    let names: Vec<String> = (0..500).map(|n| format!("h{n}")).collect();
    rows.extend(names.iter().map(|name| (name.as_str(), None, "honest", "")));
    let many = evaluate(&members, &HashMap::new(), &truth(&rows)).unwrap();
    assert_eq!((few.bcubed_p, few.bcubed_r, few.pairwise_p), (many.bcubed_p, many.bcubed_r, many.pairwise_p));
    assert!(many.false_accusation < few.false_accusation);
}

#[test]
fn words_of_other_generators() {
    let standing = |ring: Option<&str>, role: Option<&str>| {
        TrueAccount { ring_id: ring.map(str::to_owned), role: role.map(str::to_owned), kind: None }.standing()
    };
    assert_eq!(standing(Some("r"), None), Standing::Bot);
    assert_eq!(standing(None, None), Standing::Honest);
    assert_eq!(standing(Some("r"), Some("Victim")), Standing::Victim);
    assert_eq!(standing(Some("r"), Some("honest")), Standing::Honest);
    assert_eq!(standing(Some("r"), Some("seeder")), Standing::Bot);
    assert_eq!(standing(None, Some("twin_of_somebody")), Standing::Honest);
    assert_eq!(standing(None, Some("bot")), Standing::Bot);
}

#[test]
fn accused_strangers_are_honest_and_accused_twice_is_an_error() {
    let truth = truth(&[("a", Some("r"), "bot", ""), ("b", Some("r"), "bot", "")]);
    let e = evaluate(&accused(&[("x", "a", 1.0), ("x", "stranger", 1.0)]), &HashMap::new(), &truth).unwrap();
    assert_eq!((e.counts.accused_unknown, e.falsely_accused, e.counts.honest), (1, 1, 1));
    near(e.false_accusation, 1.0);
    let twice = evaluate(&accused(&[("x", "a", 1.0), ("y", "a", 1.0)]), &HashMap::new(), &truth);
    assert!(matches!(twice, Err(SimulateError::Twice { .. })));
}

/// Tables of other writers: large or dictionary texts, other orders of columns, float scores, victims among the members.
#[test]
fn reads_snapshots_and_truths_by_column_name() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Float32Array, LargeStringArray, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = std::fs::File::create(folder.path().join(name)).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    assert!(matches!(read_clusters(folder.path()), Err(SimulateError::NoClusters(_))));
    let snapshot = folder.path().join("clusters/snapshot=20260101T000000Z");
    std::fs::create_dir_all(&snapshot).unwrap();
    let in_snapshot = |name: &str| format!("clusters/snapshot=20260101T000000Z/{name}");
    let roles: DictionaryArray<Int32Type> = ["member", "member", "victim"].into_iter().collect();
    write(
        &in_snapshot("members.parquet"),
        vec![
            ("role", Arc::new(roles) as ArrayRef),
            ("account_id", Arc::new(LargeStringArray::from(vec!["a", "b", "v"]))),
            ("score", Arc::new(Float32Array::from(vec![0.75, 0.5, 0.25]))),
            ("cluster_id", Arc::new(StringArray::from(vec!["x", "x", "x"]))),
        ],
    );
    write(
        &in_snapshot("clusters.parquet"),
        vec![
            ("cluster_id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
            ("score", Arc::new(Float32Array::from(vec![0.5]))),
        ],
    );
    let truth = |extra: Option<&str>| {
        let mut accounts = vec!["a", "b", "v"];
        accounts.extend(extra);
        let rings = (0..accounts.len()).map(|at| (at < 2).then_some("r"));
        let rings = StringArray::from_iter(rings);
        write(
            "truth.parquet",
            vec![
                ("ring_id", Arc::new(rings) as ArrayRef),
                ("account_id", Arc::new(StringArray::from(accounts))),
            ],
        );
        folder.path().join("truth.parquet")
    };
    std::fs::write(folder.path().join("clusters/LATEST"), "snapshot=20260101T000000Z\n").unwrap();
    for place in [folder.path(), &folder.path().join("clusters"), &snapshot] {
        let e = evaluate_files(place, &truth(None)).unwrap();
        assert_eq!((e.bcubed_f, e.pairwise_f, e.falsely_accused, e.counts.honest), (1.0, 1.0, 0, 1));
        assert_eq!((e.calibration_error, e.member_calibration_error), (Some(0.5), Some(0.375)));
        let keys = serde_json::to_value(&e).unwrap();
        assert!(keys["false_accusation_ci"][1].as_f64().unwrap() > 0.5);
    }
    let twice = evaluate_files(folder.path(), &truth(Some("a")));
    assert!(matches!(twice, Err(SimulateError::Twice { table: "truth", .. })));
    let no_members = evaluate_files(folder.path(), &snapshot.join("members.parquet"));
    assert!(matches!(no_members, Err(SimulateError::Column { column, .. }) if column == "ring_id"));
}

/// Definitions word by word, over all pairs.
fn oracle(items: &[(Option<u8>, Option<u8>)]) -> [f64; 4] {
    let same = |a: (usize, Option<u8>), b: (usize, Option<u8>)| a.0 == b.0 || (a.1.is_some() && a.1 == b.1);
    let (mut right, mut said, mut wanted) = (0.0, 0.0, 0.0);
    let (mut precision, mut recall) = (0.0, 0.0);
    for (i, (cluster, ring)) in items.iter().enumerate() {
        let (mut in_cluster, mut in_ring, mut in_both) = (0.0, 0.0, 0.0);
        for (j, (other_cluster, other_ring)) in items.iter().enumerate() {
            let one_cluster = same((i, *cluster), (j, *other_cluster));
            let one_ring = same((i, *ring), (j, *other_ring));
            in_cluster += f64::from(one_cluster);
            in_ring += f64::from(one_ring);
            in_both += f64::from(one_cluster && one_ring);
            if i < j {
                said += f64::from(one_cluster);
                wanted += f64::from(one_ring);
                right += f64::from(one_cluster && one_ring);
            }
        }
        precision += in_both / in_cluster;
        recall += in_both / in_ring;
    }
    let ratio = |part: f64, whole: f64| match whole > 0.0 {
        true => part / whole,
        false => f64::from(said + wanted == 0.0),
    };
    let mean = |sum: f64| if items.is_empty() { 1.0 } else { sum / items.len() as f64 };
    [ratio(right, said), ratio(right, wanted), mean(precision), mean(recall)]
}

proptest! {
    /// Against the definitions, whatever the groupings, with honest accounts, missed bots and bots without a ring.
    #[test]
    fn agrees_with_brute_force(rows in prop::collection::vec((prop::option::of(0u8..5), prop::option::of(0u8..5), any::<bool>()), 0..60)) {
        let names: Vec<String> = (0..rows.len()).map(|n| n.to_string()).collect();
        let mut labels = HashMap::new();
        let mut members = Vec::new();
        let mut items = Vec::new();
        for (name, (cluster, ring, lone_bot)) in names.iter().zip(&rows) {
            let is_bot = ring.is_some() || *lone_bot;
            let role = if is_bot { "bot" } else { "honest" };
            labels.insert(name.clone(), TrueAccount { ring_id: ring.map(|r| r.to_string()), role: Some(role.into()), kind: None });
            if let Some(cluster) = cluster {
                members.push(AccusedAccount { cluster_id: cluster.to_string(), account_id: name.clone(), score: 0.5 });
            }
            if is_bot || cluster.is_some() {
                items.push((*cluster, *ring));
            }
        }
        let e = evaluate(&members, &HashMap::new(), &Truth(labels)).unwrap();
        let [pp, pr, bp, br] = oracle(&items);
        prop_assert!((e.pairwise_p - pp).abs() < 1e-9, "{} {pp}", e.pairwise_p);
        prop_assert!((e.pairwise_r - pr).abs() < 1e-9, "{} {pr}", e.pairwise_r);
        prop_assert!((e.bcubed_p - bp).abs() < 1e-9, "{} {bp}", e.bcubed_p);
        prop_assert!((e.bcubed_r - br).abs() < 1e-9, "{} {br}", e.bcubed_r);

        // Rings found, main rings and true clusters by their definitions.
        let (mut found, mut main) = (0, 0);
        for ring in 0..5 {
            let size = items.iter().filter(|(_, r)| *r == Some(ring)).count();
            found += usize::from(size >= 2 && (0..5).any(|cluster| {
                let both = items.iter().filter(|i| **i == (Some(cluster), Some(ring))).count();
                let whole = items.iter().filter(|(c, _)| *c == Some(cluster)).count();
                2 * both >= size && 2 * both > whole
            }));
        }
        for cluster in 0..5 {
            let of = |ring| items.iter().filter(|i| **i == (Some(cluster), Some(ring))).count();
            main += (0..5).map(of).max().unwrap_or_default();
        }
        let rings = e.counts.rings;
        prop_assert!(rings == 0 || (e.ring_recall * rings as f64 - found as f64).abs() < 1e-9);
        prop_assert!(members.is_empty() || (e.purity * members.len() as f64 - main as f64).abs() < 1e-9);
    }
}
