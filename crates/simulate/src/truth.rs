//! `truth.parquet`: what each account is in truth. Columns `account_id`, `ring_id` (null for accounts of no ring),
//! `role` and, in files of this crate, `kind`.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::SimulateError;
use crate::columns::Table;
use crate::population::Account;

/// Writes `truth.parquet` bit by bit.
pub(crate) struct TruthWriter {
    path: PathBuf,
    schema: Arc<Schema>,
    writer: ArrowWriter<File>,
}

impl TruthWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, SimulateError> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("account_id", DataType::Utf8, false),
            Field::new("ring_id", DataType::Utf8, true),
            Field::new("role", DataType::Utf8, false),
            Field::new("kind", DataType::Utf8, false),
        ]));
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let file = File::create(path).map_err(SimulateError::file(path))?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(SimulateError::parquet(path))?;
        Ok(Self { path: path.to_owned(), schema, writer })
    }

    pub(crate) fn write(&mut self, accounts: &[Account]) -> Result<(), SimulateError> {
        let (mut ids, mut rings) = (StringBuilder::new(), StringBuilder::new());
        let (mut roles, mut kinds) = (StringBuilder::new(), StringBuilder::new());
        for account in accounts {
            ids.append_value(account.id.as_str());
            rings.append_option(account.label.ring_id());
            roles.append_value(account.label.role.as_str());
            kinds.append_value(account.label.kind);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids.finish()),
            Arc::new(rings.finish()),
            Arc::new(roles.finish()),
            Arc::new(kinds.finish()),
        ];
        let batch =
            RecordBatch::try_new(self.schema.clone(), columns).map_err(SimulateError::columns(&self.path))?;
        self.writer.write(&batch).map_err(SimulateError::parquet(&self.path))
    }

    pub(crate) fn close(self) -> Result<PathBuf, SimulateError> {
        self.writer.close().map_err(SimulateError::parquet(&self.path))?;
        Ok(self.path)
    }
}

/// Writes `truth.parquet` for accounts that stand in memory.
///
/// # Errors
/// [`SimulateError`] if the file cannot be written.
pub fn write_truth(accounts: &[Account], path: &Path) -> Result<(), SimulateError> {
    let mut writer = TruthWriter::create(path)?;
    writer.write(accounts)?;
    writer.close().map(|_| ())
}

/// What an account is in truth, as read from a file that this or any other generator wrote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrueAccount {
    /// The ring, if it is part of one.
    pub ring_id: Option<String>,
    /// The role in the generator's own word, if it gives one.
    pub role: Option<String>,
    /// The kind of account, if the generator tells.
    pub kind: Option<String>,
}

/// What an account's label means for the evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// To be found.
    Bot,
    /// Never to be accused: its photos were stolen.
    Victim,
    /// Never to be accused.
    Honest,
}

impl TrueAccount {
    /// Words that name the role decide; with none, or one that is unknown, an account of a ring is a bot and any other
    /// is honest.
    pub fn standing(&self) -> Standing {
        match self.role.as_deref().map(|role| role.trim().to_ascii_lowercase()).as_deref() {
            Some("victim") => Standing::Victim,
            Some("honest" | "legit" | "legitimate" | "genuine" | "real" | "human" | "benign" | "normal") => {
                Standing::Honest
            }
            Some("bot" | "member" | "fake" | "sybil" | "ring") => Standing::Bot,
            _ if self.ring_id.is_some() => Standing::Bot,
            _ => Standing::Honest,
        }
    }
}

/// What every account is in truth, by account id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Truth(pub HashMap<String, TrueAccount>);

impl Truth {
    /// The truth of accounts that were simulated.
    pub fn of(accounts: &[Account]) -> Self {
        Self(
            accounts
                .iter()
                .map(|account| {
                    let truth = TrueAccount {
                        ring_id: account.label.ring_id(),
                        role: Some(account.label.role.as_str().to_owned()),
                        kind: Some(account.label.kind.to_owned()),
                    };
                    (account.id.as_str().to_owned(), truth)
                })
                .collect(),
        )
    }

    /// Reads a truth file. Needs the columns `account_id` and `ring_id`; `role` and `kind` may be missing.
    ///
    /// # Errors
    /// [`SimulateError`] if the file cannot be read, lacks a column, or names an account twice.
    pub fn read(path: &Path) -> Result<Self, SimulateError> {
        let table = Table::read(path)?;
        let accounts = table.required_texts("account_id")?;
        let mut rings = table.texts("ring_id")?.into_iter();
        let mut roles = table.optional_texts("role")?.into_iter();
        let mut kinds = table.optional_texts("kind")?.into_iter();
        let mut truth = HashMap::with_capacity(accounts.len());
        for account in accounts {
            let facts = TrueAccount {
                ring_id: rings.next().flatten().filter(|ring| !ring.is_empty()),
                role: roles.next().flatten().filter(|role| !role.is_empty()),
                kind: kinds.next().flatten(),
            };
            if truth.insert(account.clone(), facts).is_some() {
                return Err(SimulateError::Twice { account, table: "truth" });
            }
        }
        Ok(Self(truth))
    }
}
