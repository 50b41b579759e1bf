//! Which columns a file has, and whether they are what they should be.

use arrow::datatypes::{DataType, Field, Schema};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One row an event.
    Profiles,
    /// One row a face.
    Faces,
}

/// What a column means, whichever of several types it is written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Text,
    Time,
    Whole,
    Flag,
    Width,
    Hash,
    /// Its length, if the type fixes it.
    Vector(Option<i32>),
    /// Whether pictures may stand inline.
    Photos {
        image: bool,
    },
}

/// The columns of a file that facering knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    /// Name and meaning, in the order of the table below.
    pub(super) columns: Vec<(&'static str, Meaning)>,
}

type Check = fn(&DataType) -> Option<Meaning>;

struct Known {
    name: &'static str,
    kind: Option<Kind>,
    required: bool,
    wanted: &'static str,
    check: Check,
}

const fn known(
    name: &'static str,
    kind: Option<Kind>,
    required: bool,
    wanted: &'static str,
    check: Check,
) -> Known {
    Known { name, kind, required, wanted, check }
}

/// Every column of the contract.
const KNOWN: &[Known] = &[
    known("account_id", None, true, "utf8", text),
    known("observed_at", None, true, "timestamp", time),
    known("photos", Some(Kind::Profiles), true, PHOTOS, photos),
    known("photo_id", Some(Kind::Faces), true, "utf8", text),
    known("embedding", Some(Kind::Faces), true, "fixed_size_list<float32> or list<float32>", vector),
    known("face_width_px", Some(Kind::Faces), false, "float32", width),
    known("photo_sha256", Some(Kind::Faces), false, "fixed_size_binary(32)", hash),
    known("photo_pdq", Some(Kind::Faces), false, "fixed_size_binary(32)", hash),
    known("pack", Some(Kind::Faces), false, "utf8", text),
    known("username", None, false, "utf8", text),
    known("full_name", None, false, "utf8", text),
    known("followers", None, false, "int64", whole),
    known("following", None, false, "int64", whole),
    known("posts", None, false, "int64", whole),
    known("created_at", None, false, "timestamp", time),
    known("verified", None, false, "boolean", flag),
];

const PHOTOS: &str = "list<struct<photo_id: utf8, url: utf8, image: binary?>>";

impl Layout {
    /// Recognises a file by its columns.
    ///
    /// # Errors
    /// A sentence that names the column, what was found and what is needed.
    pub(super) fn of(schema: &Schema) -> Result<Self, String> {
        let has = |name: &str| schema.column_with_name(name).is_some();
        let kind = match (has("photos"), has("embedding")) {
            (true, false) => Kind::Profiles,
            (false, true) => Kind::Faces,
            (true, true) => {
                return Err(
                    "it has both columns photos and embedding; profiles have photos, faces have embedding"
                        .into(),
                );
            }
            (false, false) => {
                return Err("it has neither a column photos (profiles) nor a column embedding (faces)".into());
            }
        };
        let mut columns = Vec::new();
        for known in KNOWN.iter().filter(|known| known.kind.is_none_or(|of| of == kind)) {
            match schema.column_with_name(known.name) {
                Some((_, field)) => columns.push((known.name, meaning(known, field)?)),
                None if known.required => {
                    return Err(format!("the column {} ({}) is missing", known.name, known.wanted));
                }
                None => {}
            }
        }
        Ok(Self { kind, columns })
    }

    /// The length of every embedding, if the type fixes it and no column says that rows are of several packs.
    pub(super) fn fixed_dimension(&self) -> Option<usize> {
        let column = |name| self.columns.iter().find(|(n, _)| *n == name).map(|(_, meaning)| meaning);
        match (column("embedding"), column("pack")) {
            (Some(Meaning::Vector(Some(length))), None) => usize::try_from(*length).ok(),
            _ => None,
        }
    }

    /// What differs from another file's layout, as a sentence; `None` if nothing does.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.kind != other.kind {
            return Some("one holds profiles, the other faces".into());
        }
        let find =
            |layout: &Self, name| layout.columns.iter().find(|(n, _)| *n == name).map(|(_, m)| m.clone());
        KNOWN.iter().find_map(|known| match (find(self, known.name), find(other, known.name)) {
            (a, b) if a == b => None,
            (Some(Meaning::Vector(a)), Some(Meaning::Vector(b))) => {
                let length = |n: Option<i32>| n.map_or("any number of".to_owned(), |n| n.to_string());
                Some(format!("the embeddings have {} and {} dimensions", length(a), length(b)))
            }
            _ => Some(format!("the column {} is not the same in both", known.name)),
        })
    }
}

fn meaning(known: &Known, field: &Field) -> Result<Meaning, String> {
    (known.check)(field.data_type()).ok_or_else(|| {
        format!("the column {} has the type {}, it must be {}", known.name, field.data_type(), known.wanted)
    })
}

fn value(of: &DataType) -> &DataType {
    match of {
        DataType::Dictionary(_, value) => value,
        other => other,
    }
}

fn text(of: &DataType) -> Option<Meaning> {
    matches!(value(of), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View).then_some(Meaning::Text)
}

fn time(of: &DataType) -> Option<Meaning> {
    matches!(of, DataType::Timestamp(..)).then_some(Meaning::Time)
}

fn whole(of: &DataType) -> Option<Meaning> {
    of.is_integer().then_some(Meaning::Whole)
}

fn flag(of: &DataType) -> Option<Meaning> {
    (*of == DataType::Boolean).then_some(Meaning::Flag)
}

fn is_float(of: &DataType) -> bool {
    matches!(of, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

fn width(of: &DataType) -> Option<Meaning> {
    (is_float(of) || of.is_integer()).then_some(Meaning::Width)
}

fn is_binary(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    )
}

fn hash(of: &DataType) -> Option<Meaning> {
    let fits = match of {
        DataType::FixedSizeBinary(length) => *length == 32,
        other => is_binary(other),
    };
    fits.then_some(Meaning::Hash)
}

fn vector(of: &DataType) -> Option<Meaning> {
    match of {
        DataType::FixedSizeList(item, length) if is_float(item.data_type()) => {
            Some(Meaning::Vector(Some(*length)))
        }
        DataType::List(item) | DataType::LargeList(item) if is_float(item.data_type()) => {
            Some(Meaning::Vector(None))
        }
        _ => None,
    }
}

fn photos(of: &DataType) -> Option<Meaning> {
    let (DataType::List(item) | DataType::LargeList(item)) = of else { return None };
    let DataType::Struct(fields) = item.data_type() else { return None };
    let find = |name: &str| fields.iter().find(|f| f.name() == name).map(|f| f.data_type());
    text(find("photo_id")?)?;
    if let Some(url) = find("url") {
        text(url)?;
    }
    let image = match find("image") {
        Some(image) => is_binary(image).then_some(true)?,
        None => false,
    };
    (image || find("url").is_some()).then_some(Meaning::Photos { image })
}
