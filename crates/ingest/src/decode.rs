//! The Kafka contract: one JSON object a message, keyed by the account, null for a deleted account.
//!
//! Invariants: never panics, whatever the bytes; whatever is refused keeps its original key, bytes and headers.

use bytes::Bytes;
use records::{
    AccountId, DeadLetter, DeadLetterReason, EventBody, Origin, PartitionId, PhotoRef, PhotoSource, PhotoUrl,
    Position, ProfileEvent, ProfileFacts, Stage, Timestamp,
};
use serde::Deserialize;
use serde_json::Value;

use crate::profile::{self, Refusal};

/// A message as the broker gave it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it stood.
    pub partition: PartitionId,
    /// Its own offset.
    pub position: Position,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone: the account was deleted.
    pub payload: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Bytes)>,
    /// The record's own time in milliseconds since 1970, if it has one.
    pub timestamp_ms: Option<i64>,
}

/// The fields facering knows, of any JSON type, so that the one with the wrong type can be named.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RawEvent {
    account_id: Option<Value>,
    observed_at: Option<Value>,
    photos: Option<Value>,
    username: Option<Value>,
    full_name: Option<Value>,
    followers: Option<Value>,
    following: Option<Value>,
    posts: Option<Value>,
    created_at: Option<Value>,
    verified: Option<Value>,
}

/// Turns a message into an event, or into the dead letter that says why not.
///
/// # Errors
/// A letter with reason `too_large`, `malformed_json`, `missing_field`, `invalid_field` or `duplicate_photo`; it names
/// account and time as far as they could be read.
pub fn decode(record: Record, max_message_bytes: usize) -> Result<ProfileEvent, Box<DeadLetter>> {
    let Record { partition, position, key, payload, headers, timestamp_ms } = record;
    let tombstone = payload.is_none();
    let payload = payload.unwrap_or_default();
    let origin = Origin { partition, position, key, payload: payload.clone(), headers };
    if payload.len() > max_message_bytes {
        let detail = format!("the message has {} bytes, {max_message_bytes} are allowed", payload.len());
        return Err(Box::new(origin.dead_letter(Stage::Ingest, DeadLetterReason::TooLarge, detail)));
    }
    if tombstone {
        return deleted(&origin, timestamp_ms)
            .map(|(account, observed_at)| ProfileEvent {
                account,
                observed_at,
                body: EventBody::Deleted,
                origin: origin.clone(),
            })
            .map_err(|refusal| Box::new(refusal.letter(&origin)));
    }
    let mut raw = match parse(&payload) {
        Ok(raw) => raw,
        Err(refusal) => return Err(Box::new(refusal.letter(&origin))),
    };
    // Account and time are read first, so that letters about later fields can name them.
    let account = match account(&mut raw, origin.key.as_deref()) {
        Ok(account) => account,
        Err(refusal) => return Err(Box::new(refusal.letter(&origin))),
    };
    let observed_at = match required_time("observed_at", raw.observed_at.take()) {
        Ok(time) => time,
        Err(refusal) => {
            let mut letter = refusal.letter(&origin);
            letter.account = Some(account);
            return Err(Box::new(letter));
        }
    };
    match body(raw) {
        Ok((photos, facts)) => profile::replace(account, observed_at, photos, facts, origin),
        Err(refusal) => Err(Box::new(refusal.letter(&origin).of_event(account, observed_at))),
    }
}

fn deleted(origin: &Origin, timestamp_ms: Option<i64>) -> Result<(AccountId, Timestamp), Refusal> {
    let account = key_account(origin.key.as_deref())?;
    let millis = timestamp_ms.ok_or_else(|| {
        Refusal::invalid("timestamp", "a record with a null value needs one for the deletion")
    })?;
    Ok((account, profile::time("timestamp", Timestamp::from_millis(millis))?))
}

fn key_account(key: Option<&[u8]>) -> Result<AccountId, Refusal> {
    let key =
        key.ok_or_else(|| Refusal::invalid("key", "the message has no key, it must be the account_id"))?;
    let text = std::str::from_utf8(key).map_err(|_| Refusal::invalid("key", "the key is not UTF-8"))?;
    AccountId::new(text).map_err(|e| Refusal::invalid("key", e))
}

fn parse(payload: &[u8]) -> Result<RawEvent, Refusal> {
    let malformed = |detail: String| Refusal { reason: DeadLetterReason::MalformedJson, detail };
    // A struct would also be read from an array, which the contract does not allow.
    if payload.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(malformed("the message is no JSON object".into()));
    }
    // The parser's own words may quote the message, so only the place is told.
    serde_json::from_slice(payload)
        .map_err(|e| malformed(format!("the JSON is broken at line {}, column {}", e.line(), e.column())))
}

fn account(raw: &mut RawEvent, key: Option<&[u8]>) -> Result<AccountId, Refusal> {
    let text = text("account_id", raw.account_id.take())?;
    let account = profile::account(text.as_deref())?;
    match key {
        Some(key) if key == account.as_str().as_bytes() => Ok(account),
        Some(_) => Err(Refusal::invalid("key", "the message's key is not its account_id")),
        None => Err(Refusal::invalid("key", "the message has no key, it must be the account_id")),
    }
}

fn body(raw: RawEvent) -> Result<(Vec<PhotoRef>, ProfileFacts), Refusal> {
    let list = match profile::required("photos", raw.photos)? {
        Value::Array(list) => list,
        other => return Err(wrong_type("photos", "a list", &other)),
    };
    let photos =
        list.into_iter().enumerate().map(|(at, value)| photo(at, value)).collect::<Result<_, _>>()?;
    let facts = ProfileFacts {
        username: text("username", raw.username)?,
        full_name: text("full_name", raw.full_name)?,
        followers: count("followers", raw.followers)?,
        following: count("following", raw.following)?,
        posts: count("posts", raw.posts)?,
        created_at: time("created_at", raw.created_at)?,
        verified: flag("verified", raw.verified)?,
    };
    Ok((photos, facts))
}

fn photo(at: usize, value: Value) -> Result<PhotoRef, Refusal> {
    let field = format!("photos[{at}]");
    let Value::Object(mut object) = value else {
        return Err(wrong_type(&field, "an object", &value));
    };
    let id = text(&format!("{field}.photo_id"), object.remove("photo_id"))?;
    let url = text(&format!("{field}.url"), object.remove("url"))?;
    profile::photo(&field, id.as_deref(), url.map(|url| PhotoSource::Url(PhotoUrl::new(url))))
}

fn wrong_type(field: &str, wanted: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::invalid(field, format_args!("expected {wanted}, found {found}"))
}

fn text(field: &str, value: Option<Value>) -> Result<Option<String>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong_type(field, "a text", &other)),
    }
}

fn count(field: &str, value: Option<Value>) -> Result<Option<i64>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(value) => profile::count(field, Some(value)),
            None => Err(Refusal::invalid(field, "expected a whole number of 64 bits")),
        },
        Some(other) => Err(wrong_type(field, "a whole number", &other)),
    }
}

fn flag(field: &str, value: Option<Value>) -> Result<Option<bool>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(other) => Err(wrong_type(field, "a boolean", &other)),
    }
}

fn time(field: &str, value: Option<Value>) -> Result<Option<Timestamp>, Refusal> {
    text(field, value)?.map(|text| profile::time(field, text.parse())).transpose()
}

fn required_time(field: &str, value: Option<Value>) -> Result<Timestamp, Refusal> {
    profile::required(field, time(field, value)?)
}

#[cfg(test)]
mod tests;
