//! Rows of a *profiles* file: one row is one event.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use bytes::Bytes;
use records::{
    AccountId, DeadLetter, Origin, PartitionId, PhotoRef, PhotoSource, PhotoUrl, Position, ProfileEvent,
    Timestamp,
};

use super::columns::{Bytestrings, Facts, Texts, Times};
use crate::profile::{self, Refusal};

/// One event or letter for each row, in the order of the rows; `first` is the position of the batch's first row.
pub(super) fn events(
    batch: &RecordBatch,
    partition: &PartitionId,
    first: u64,
) -> Result<Vec<Result<ProfileEvent, Box<DeadLetter>>>, ArrowError> {
    let columns = Columns::of(batch)?;
    let event = |row: usize| {
        let origin = Origin::row(partition.clone(), Position(first + row as u64));
        columns.event(row, origin)
    };
    Ok((0..batch.num_rows()).map(event).collect())
}

struct Columns {
    accounts: Texts,
    times: Times,
    photos: Photos,
    facts: Facts,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            accounts: Texts::of(batch, "account_id")?,
            times: Times::of(batch, "observed_at")?,
            photos: Photos::of(batch)?,
            facts: Facts::of(batch)?,
        })
    }

    fn event(&self, row: usize, origin: Origin) -> Result<ProfileEvent, Box<DeadLetter>> {
        let (account, observed_at) = match self.who_and_when(row) {
            Ok(found) => found,
            Err(refusal) => return Err(Box::new(refusal.letter(&origin))),
        };
        let body = self.photos.get(row).and_then(|photos| Ok((photos, self.facts.get(row)?)));
        match body {
            Ok((photos, facts)) => profile::replace(account, observed_at, photos, facts, origin),
            Err(refusal) => Err(Box::new(refusal.letter(&origin).of_event(account, observed_at))),
        }
    }

    fn who_and_when(&self, row: usize) -> Result<(AccountId, Timestamp), Refusal> {
        let account = profile::account(self.accounts.get(row))?;
        let time = profile::required("observed_at", self.times.get("observed_at", row)?)?;
        Ok((account, time))
    }
}

/// The column `photos`: lists of structs.
struct Photos {
    lists: ArrayRef,
    structs: ArrayRef,
    ids: Texts,
    urls: Texts,
    images: Bytestrings,
}

impl Photos {
    fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let missing = || ArrowError::SchemaError("the column photos is no list of structs".into());
        let lists = batch.column_by_name("photos").ok_or_else(missing)?.clone();
        let structs = match lists.data_type() {
            DataType::List(_) => lists.as_list::<i32>().values().clone(),
            DataType::LargeList(_) => lists.as_list::<i64>().values().clone(),
            _ => return Err(missing()),
        };
        let fields = structs.as_struct_opt().ok_or_else(missing)?;
        let ids = Texts::from_array(fields.column_by_name("photo_id"))?;
        let urls = Texts::from_array(fields.column_by_name("url"))?;
        let images = Bytestrings::from_array(fields.column_by_name("image"))?;
        Ok(Self { structs, ids, urls, images, lists })
    }

    fn get(&self, row: usize) -> Result<Vec<PhotoRef>, Refusal> {
        if self.lists.is_null(row) {
            return Err(Refusal::missing("photos"));
        }
        let (from, to) = match self.lists.data_type() {
            DataType::List(_) => {
                let offsets = self.lists.as_list::<i32>().value_offsets();
                (offsets[row] as usize, offsets[row + 1] as usize)
            }
            _ => {
                let offsets = self.lists.as_list::<i64>().value_offsets();
                (offsets[row] as usize, offsets[row + 1] as usize)
            }
        };
        (from..to).map(|at| self.photo(at, at - from)).collect()
    }

    fn photo(&self, at: usize, number: usize) -> Result<PhotoRef, Refusal> {
        let field = format!("photos[{number}]");
        if self.structs.is_null(at) {
            return Err(Refusal::missing(&field));
        }
        // A picture that came along saves the fetch, also when a URL stands beside it.
        let image = self.images.get(at).filter(|image| !image.is_empty());
        let source = match image {
            Some(image) => Some(PhotoSource::Inline(Bytes::copy_from_slice(image))),
            None => self.urls.get(at).map(|url| PhotoSource::Url(PhotoUrl::new(url))),
        };
        profile::photo(&field, self.ids.get(at), source)
    }
}
