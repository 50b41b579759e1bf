//! The rules for a profile's fields, the same for Kafka and Parquet.

use records::{
    AccountId, DeadLetter, DeadLetterReason, EventBody, Origin, PhotoId, PhotoRef, PhotoSource, ProfileEvent,
    ProfileFacts, Stage, TimeError, Timestamp,
};

/// A field that breaks a rule: why, and one sentence that names the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: DeadLetterReason,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn missing(field: &str) -> Self {
        Self { reason: DeadLetterReason::MissingField, detail: format!("{field} is missing or null") }
    }

    pub(crate) fn invalid(field: &str, why: impl std::fmt::Display) -> Self {
        Self { reason: DeadLetterReason::InvalidField, detail: format!("{field}: {why}") }
    }

    pub(crate) fn letter(self, origin: &Origin) -> DeadLetter {
        origin.dead_letter(Stage::Ingest, self.reason, self.detail)
    }
}

/// The text of a required field.
pub(crate) fn required<T>(field: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::missing(field))
}

/// An account id.
pub(crate) fn account(text: Option<&str>) -> Result<AccountId, Refusal> {
    AccountId::new(required("account_id", text)?).map_err(|e| Refusal::invalid("account_id", e))
}

/// A photo id; `field` tells which photo of the list it belongs to.
pub(crate) fn photo_id(field: &str, text: Option<&str>) -> Result<PhotoId, Refusal> {
    PhotoId::new(required(field, text)?).map_err(|e| Refusal::invalid(field, e))
}

/// A time that is already a number of the right unit.
pub(crate) fn time(field: &str, time: Result<Timestamp, TimeError>) -> Result<Timestamp, Refusal> {
    time.map_err(|e| Refusal::invalid(field, e))
}

/// A count: none or not negative.
pub(crate) fn count(field: &str, value: Option<i64>) -> Result<Option<i64>, Refusal> {
    match value {
        Some(value) if value < 0 => Err(Refusal::invalid(field, "a count may not be negative")),
        value => Ok(value),
    }
}

/// One photo of the list from its parts.
pub(crate) fn photo(field: &str, id: Option<&str>, source: Option<PhotoSource>) -> Result<PhotoRef, Refusal> {
    let photo_id = photo_id(&format!("{field}.photo_id"), id)?;
    let source = required(&format!("{field}.url"), source)?;
    if let PhotoSource::Url(url) = &source
        && url.expose().trim().is_empty()
    {
        return Err(Refusal::invalid(&format!("{field}.url"), "a URL may not be empty"));
    }
    Ok(PhotoRef { photo_id, source })
}

/// The whole event from its checked parts, or a letter if a photo stands in it twice.
pub(crate) fn replace(
    account: AccountId,
    observed_at: Timestamp,
    photos: Vec<PhotoRef>,
    facts: ProfileFacts,
    origin: Origin,
) -> Result<ProfileEvent, Box<DeadLetter>> {
    let event = ProfileEvent { account, observed_at, body: EventBody::Replace { photos, facts }, origin };
    match event.validate() {
        Ok(()) => Ok(event),
        Err(error) => {
            let detail = format!("photos: {error}");
            let letter = Refusal { reason: DeadLetterReason::DuplicatePhoto, detail }.letter(&event.origin);
            Err(Box::new(letter.of_event(event.account, event.observed_at)))
        }
    }
}
