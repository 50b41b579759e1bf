//! The columns of the tables, as `docs/tables.md` fixes them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};

/// Key in each file's metadata that holds the schema's version.
pub(crate) const VERSION_KEY: &str = "facering.schema";

/// `timestamp[us, UTC]`.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn given(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn maybe(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(given("item", item)))
}

/// Fields of a reason.
pub(crate) fn reason() -> Fields {
    Fields::from(vec![
        given("signal", DataType::Utf8),
        given("log_odds", DataType::Float64),
        given("detail", DataType::Utf8),
    ])
}

/// Fields of a weakest link.
pub(crate) fn weakest_link() -> Fields {
    Fields::from(vec![
        given("account_a", DataType::Utf8),
        given("account_b", DataType::Utf8),
        given("weight", DataType::Float64),
        given("separates", DataType::Int32),
    ])
}

/// `clusters.parquet`.
pub(crate) fn clusters() -> Schema {
    Schema::new(vec![
        given("cluster_id", DataType::Utf8),
        given("score", DataType::Float64),
        given("accounts", DataType::Int32),
        given("photos", DataType::Int32),
        given("identities", DataType::Int32),
        given("first_seen", timestamp()),
        given("last_seen", timestamp()),
        given("kinds", list(DataType::Utf8)),
        given("reasons", list(DataType::Struct(reason()))),
        maybe("weakest_link", DataType::Struct(weakest_link())),
        given("change", DataType::Utf8),
        given("parents", list(DataType::Utf8)),
    ])
}

/// `members.parquet`.
pub(crate) fn members() -> Schema {
    Schema::new(vec![
        given("cluster_id", DataType::Utf8),
        given("account_id", DataType::Utf8),
        given("score", DataType::Float64),
        given("role", DataType::Utf8),
        given("reasons", list(DataType::Struct(reason()))),
    ])
}

/// `evidence.parquet`.
pub(crate) fn evidence() -> Schema {
    Schema::new(vec![
        given("cluster_id", DataType::Utf8),
        given("account_a", DataType::Utf8),
        given("account_b", DataType::Utf8),
        given("kind", DataType::Utf8),
        given("photo_a", DataType::Utf8),
        given("photo_b", DataType::Utf8),
        given("picture_a", DataType::Utf8),
        given("picture_b", DataType::Utf8),
        maybe("similarity", DataType::Float32),
        maybe("pdq_distance", DataType::Int32),
        given("owners", DataType::Int32),
        given("weight", DataType::Float64),
        given("observed_a", timestamp()),
        given("observed_b", timestamp()),
    ])
}

/// `accounts.parquet`.
pub(crate) fn accounts() -> Schema {
    Schema::new(vec![
        given("account_id", DataType::Utf8),
        maybe("username", DataType::Utf8),
        maybe("full_name", DataType::Utf8),
        maybe("followers", DataType::Int64),
        maybe("following", DataType::Int64),
        maybe("posts", DataType::Int64),
        maybe("created_at", timestamp()),
        maybe("verified", DataType::Boolean),
        given("first_seen", timestamp()),
        given("last_seen", timestamp()),
        given("photos", DataType::Int32),
    ])
}
