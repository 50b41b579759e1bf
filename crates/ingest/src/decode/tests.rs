use proptest::prelude::*;
use serde_json::json;

use super::*;

const MAX: usize = 4096;

fn record(key: Option<&str>, payload: Option<&str>) -> Record {
    Record {
        partition: PartitionId::kafka("profiles", 3),
        position: Position(17),
        key: key.map(|k| Bytes::copy_from_slice(k.as_bytes())),
        payload: payload.map(|p| Bytes::copy_from_slice(p.as_bytes())),
        headers: vec![("trace".into(), Bytes::from_static(b"1"))],
        timestamp_ms: Some(1_700_000_000_123),
    }
}

fn full() -> Value {
    json!({
        "account_id": "a", "observed_at": "2026-01-31T12:00:00.5+02:00",
        "photos": [{"photo_id": "p", "url": "https://h.example/1.jpg", "width": 3}, {"photo_id": "q", "url": "x"}],
        "username": "u", "full_name": null, "followers": 1, "following": 2, "posts": 3,
        "created_at": "2025-01-01T00:00:00Z", "verified": false, "unknown": {"deep": [1, 2]}
    })
}

fn changed(
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) -> Result<ProfileEvent, Box<DeadLetter>> {
    let mut value = full();
    change(value.as_object_mut().unwrap());
    decode(record(Some("a"), Some(&value.to_string())), MAX)
}

fn refused(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> (DeadLetterReason, String) {
    let letter = changed(change).unwrap_err();
    assert_eq!(letter.origin.position, Position(17));
    assert_eq!(letter.origin.headers.len(), 1);
    assert!(!letter.origin.payload.is_empty());
    (letter.reason, letter.detail)
}

#[test]
fn a_whole_event_is_read() {
    let event = changed(|_| ()).unwrap();
    assert_eq!(event.account.as_str(), "a");
    assert_eq!(event.observed_at.to_string(), "2026-01-31T10:00:00.5Z");
    let EventBody::Replace { photos, facts } = event.body else { panic!("no replacement") };
    assert_eq!(photos.len(), 2);
    assert_eq!(photos[0].source, PhotoSource::Url(PhotoUrl::new("https://h.example/1.jpg")));
    assert_eq!(facts.username.as_deref(), Some("u"));
    assert_eq!(
        (facts.full_name, facts.followers, facts.following, facts.posts),
        (None, Some(1), Some(2), Some(3))
    );
    assert_eq!(facts.created_at.unwrap().to_string(), "2025-01-01T00:00:00Z");
    assert_eq!(facts.verified, Some(false));
}

#[test]
fn only_three_fields_are_needed() {
    let text = r#" {"account_id":"a","observed_at":"2026-01-31T12:00:00Z","photos":[]}"#;
    let event = decode(record(Some("a"), Some(text)), MAX).unwrap();
    assert_eq!(event.body, EventBody::Replace { photos: vec![], facts: ProfileFacts::default() });
}

#[test]
fn a_null_value_deletes_at_the_records_time() {
    let event = decode(record(Some("a"), None), MAX).unwrap();
    assert_eq!(event.body, EventBody::Deleted);
    assert_eq!(event.observed_at, Timestamp::from_millis(1_700_000_000_123).unwrap());
    assert_eq!(decode(record(None, None), MAX).unwrap_err().reason, DeadLetterReason::InvalidField);
    let timeless = Record { timestamp_ms: None, ..record(Some("a"), None) };
    assert_eq!(decode(timeless, MAX).unwrap_err().reason, DeadLetterReason::InvalidField);
}

#[test]
fn each_broken_rule_has_its_reason_and_names_the_field() {
    use DeadLetterReason::{DuplicatePhoto, InvalidField, MissingField};
    type Change = Box<dyn FnOnce(&mut serde_json::Map<String, Value>)>;
    let set = |key: &'static str, value: Value| -> Change {
        Box::new(move |map| {
            map.insert(key.into(), value);
        })
    };
    let cases: Vec<(Change, DeadLetterReason, &str)> = vec![
        (set("account_id", Value::Null), MissingField, "account_id"),
        (set("account_id", json!(7)), InvalidField, "account_id"),
        (set("account_id", json!("b")), InvalidField, "key"),
        (set("observed_at", Value::Null), MissingField, "observed_at"),
        (set("observed_at", json!("yesterday")), InvalidField, "observed_at"),
        (set("photos", Value::Null), MissingField, "photos"),
        (set("photos", json!({})), InvalidField, "photos"),
        (set("photos", json!([1])), InvalidField, "photos[0]"),
        (set("photos", json!([{"url": "x"}])), MissingField, "photos[0].photo_id"),
        (set("photos", json!([{"photo_id": "p"}])), MissingField, "photos[0].url"),
        (set("photos", json!([{"photo_id": "p", "url": " "}])), InvalidField, "photos[0].url"),
        (set("photos", json!([{"photo_id": "p\u{0}", "url": "x"}])), InvalidField, "photos[0].photo_id"),
        (
            set("photos", json!([{"photo_id": "p", "url": "x"}, {"photo_id": "p", "url": "y"}])),
            DuplicatePhoto,
            "photo_id p",
        ),
        (set("followers", json!(-1)), InvalidField, "followers"),
        (set("following", json!(1.5)), InvalidField, "following"),
        (set("posts", json!("3")), InvalidField, "posts"),
        (set("created_at", json!(5)), InvalidField, "created_at"),
        (set("verified", json!("no")), InvalidField, "verified"),
        (set("username", json!([])), InvalidField, "username"),
    ];
    for (change, reason, field) in cases {
        let (found, detail) = refused(change);
        assert_eq!(found, reason, "{field}: {detail}");
        assert!(detail.contains(field), "{detail} does not name {field}");
    }
    let (reason, _) = refused(|map| {
        map.remove("photos");
    });
    assert_eq!(reason, MissingField);
}

#[test]
fn what_is_no_object_is_malformed() {
    for text in
        ["", "null", "[1]", r#"["a","2026-01-31T12:00:00Z",[]]"#, "{", "{\"a\":1,}", "\u{feff}{}", "17"]
    {
        let letter = decode(record(Some("a"), Some(text)), MAX).unwrap_err();
        assert_eq!(letter.reason, DeadLetterReason::MalformedJson, "{text}");
    }
    let deep = "[".repeat(2000);
    let text = format!(r#"{{"x":{deep}"#);
    assert_eq!(
        decode(record(Some("a"), Some(&text)), MAX).unwrap_err().reason,
        DeadLetterReason::MalformedJson
    );
}

#[test]
fn large_messages_and_missing_keys_are_refused() {
    let text = full().to_string();
    assert_eq!(decode(record(Some("a"), Some(&text)), 20).unwrap_err().reason, DeadLetterReason::TooLarge);
    let letter = decode(record(None, Some(&text)), MAX).unwrap_err();
    assert_eq!(letter.reason, DeadLetterReason::InvalidField);
}

#[test]
fn letters_name_account_and_time_once_known() {
    let letter = changed(|map| {
        map.insert("followers".into(), json!(-5));
    })
    .unwrap_err();
    assert_eq!(letter.account.as_ref().map(AccountId::as_str), Some("a"));
    assert!(letter.observed_at.is_some());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
                                   payload in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
                                   millis in prop::option::of(any::<i64>())) {
        let record = Record {
            key: key.map(Bytes::from),
            payload: payload.map(Bytes::from),
            timestamp_ms: millis,
            ..record(None, None)
        };
        let _ = decode(record, 150);
    }

    /// A valid message with bytes changed, removed, doubled or cut gives an event or a letter that still holds the bytes.
    #[test]
    fn mutated_messages_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..10),
    ) {
        let mut payload = full().to_string().into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(payload.len());
            match how {
                0 => payload[at] = byte,
                1 => payload.insert(at, byte),
                2 if payload.len() > 2 => drop(payload.remove(at)),
                _ => {
                    let piece = payload[at..(at + usize::from(byte)).min(payload.len())].to_vec();
                    payload.splice(at..at, piece);
                }
            }
        }
        let payload = Bytes::from(payload);
        let record = Record { payload: Some(payload.clone()), ..record(Some("a"), None) };
        match decode(record, MAX) {
            Ok(event) => prop_assert_eq!(event.account.as_str(), "a"),
            Err(letter) => prop_assert_eq!(&letter.origin.payload, &payload),
        }
    }
}
