//! Model packs: a folder with two networks and `pack.toml`, which says everything about them.
//!
//! A pack that exists as a [`ModelPack`] may be used: its licence is accepted, its files are there and have the hashes
//! that the description gives.

use std::io::Read;
use std::path::{Path, PathBuf};

use records::PackId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::PackError;
use crate::normalise::Normalisation;

/// Name of the description within a pack's folder.
pub const DESCRIPTION_FILE: &str = "pack.toml";
/// An empty file with this name in a pack's folder says that its licence was accepted.
pub const ACCEPTED_FILE: &str = "LICENSE-ACCEPTED";

/// How a detector's outputs are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectorFamily {
    /// SCRFD (InsightFace): nine outputs by position, two anchors a cell.
    Scrfd,
    /// YuNet (libfacedetection): twelve outputs by name, one prior a cell.
    Yunet,
}

/// A detector and how to feed it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorDescription {
    /// How its outputs are read.
    pub family: DetectorFamily,
    /// File name within the pack's folder (within the archive, where `url` is one).
    pub file: String,
    /// SHA-256 of the file, 64 hexadecimal digits. Only descriptions of packs not yet installed may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where the file, or a zip archive with it, can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Side of the square input in pixels, a multiple of 32.
    pub input_size: usize,
    /// Least score of a face, 0 to 1.
    pub score_threshold: f32,
    /// Most overlap (intersection over union) of two faces, 0 to 1.
    pub nms_threshold: f32,
    /// Width in pixels of the input from which faces count; 0 for all.
    #[serde(default)]
    pub smallest_face: f32,
    /// How pixels become numbers.
    #[serde(flatten)]
    pub normalisation: Normalisation,
}

/// A file as it is published, where the pack needs it a little different.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFile {
    /// SHA-256 of the published file.
    pub sha256: String,
    /// What turns it into the pack's file, by rising places.
    pub edits: Vec<Edit>,
}

/// Bytes that stand for others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Their place in the published file.
    pub at: usize,
    /// The bytes there, in hexadecimal digits.
    pub old: String,
    /// The bytes that take their place.
    pub new: String,
}

impl PublishedFile {
    /// The pack's file; `None` if the bytes are not those that were published.
    pub(crate) fn edited(&self, published: &[u8]) -> Option<Vec<u8>> {
        let (mut edited, mut done) = (Vec::with_capacity(published.len() + 256), 0);
        for edit in &self.edits {
            let (old, new) = (hex::decode(&edit.old).ok()?, hex::decode(&edit.new).ok()?);
            edited.extend_from_slice(published.get(done..edit.at)?);
            let end = edit.at.checked_add(old.len())?;
            if published.get(edit.at..end)? != old {
                return None;
            }
            edited.extend(new);
            done = end;
        }
        edited.extend_from_slice(published.get(done..)?);
        Some(edited)
    }
}

/// An embedder and how to feed it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderDescription {
    /// File name within the pack's folder (within the archive, where `url` is one).
    pub file: String,
    /// SHA-256 of the file, 64 hexadecimal digits. Only descriptions of packs not yet installed may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where the file, or a zip archive with it, can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The file at that address, if it is not quite the pack's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedFile>,
    /// Side of the aligned face in pixels: 112, the size of ArcFace's template.
    pub input_size: usize,
    /// How pixels become numbers.
    #[serde(flatten)]
    pub normalisation: Normalisation,
}

/// What cosines of this pack's embeddings mean.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Cosine below which two faces are never called one person, however few faces there are.
    pub same_person_floor: f32,
    /// Cosine from which embeddings confirm that two pictures are one photo, re-cropped or mirrored.
    pub same_photo_cosine: f32,
    /// Mean cosine of two different people.
    pub impostor_mean: f64,
    /// Standard deviation of the cosine of two different people.
    pub impostor_sd: f64,
    /// `[cosine, share of pairs of different people at or above it]`, cosines rising and shares falling.
    pub impostor_tail: Vec<[f64; 2]>,
    /// How these figures came about.
    pub basis: String,
}

/// Everything about a pack: `pack.toml`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackDescription {
    /// The pack's id; the name of its folder.
    pub id: PackId,
    /// One sentence for `facering models list`.
    pub about: String,
    /// Numbers in an embedding, 2 to 4096.
    pub dimension: usize,
    /// The licence of the weights.
    pub license: String,
    /// Whether the licence forbids commercial use and has to be accepted.
    #[serde(default)]
    pub non_commercial: bool,
    /// The detector.
    pub detector: DetectorDescription,
    /// The embedder.
    pub embedder: EmbedderDescription,
    /// What cosines mean.
    pub calibration: Calibration,
}

impl PackDescription {
    /// Reads a description; `path` is for messages.
    ///
    /// # Errors
    /// [`PackError::Description`] says everything that is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, PackError> {
        let wrong = |detail: String| PackError::Description { path: path.to_path_buf(), detail };
        let description: Self = toml::from_str(text).map_err(|error| wrong(error.message().to_owned()))?;
        match description.problems() {
            problems if problems.is_empty() => Ok(description),
            problems => {
                let list: Vec<String> = problems.iter().map(|(key, what)| format!("{key} {what}")).collect();
                Err(wrong(list.join("; ")))
            }
        }
    }

    /// Everything wrong with the values, as (key, sentence).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut check = |key: &str, fits: bool, must: &str| {
            if !fits {
                problems.push((key.to_owned(), format!("must be {must}")));
            }
        };
        check("id", crate::config::is_pack_name(self.id.as_str()), "letters, digits, '-', '_' and '.'");
        check("dimension", (2..=4096).contains(&self.dimension), "2 to 4096");
        let (detector, embedder) = (&self.detector, &self.embedder);
        let plain = |name: &str| crate::config::is_pack_name(name);
        let hash = |hash: &Option<String>| {
            hash.as_ref().is_none_or(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let unit = |value: f32| (0.0..=1.0).contains(&value);
        check("detector.file", plain(&detector.file), "a plain file name");
        check("detector.sha256", hash(&detector.sha256), "64 hexadecimal digits");
        let size = detector.input_size;
        check(
            "detector.input_size",
            size % 32 == 0 && (64..=2048).contains(&size),
            "a multiple of 32, 64 to 2048",
        );
        check("detector.score_threshold", unit(detector.score_threshold), "0 to 1");
        check("detector.nms_threshold", unit(detector.nms_threshold), "0 to 1");
        check(
            "detector.smallest_face",
            (0.0..=size as f32).contains(&detector.smallest_face),
            "0 to the input size",
        );
        check("detector.std", detector.normalisation.is_sound(), "finite and not zero");
        check("embedder.file", plain(&embedder.file), "a plain file name");
        check("embedder.sha256", hash(&embedder.sha256), "64 hexadecimal digits");
        check("embedder.input_size", embedder.input_size == crate::align::FACE_SIDE, "112");
        check("embedder.std", embedder.normalisation.is_sound(), "finite and not zero");
        let calibration = &self.calibration;
        check("calibration.same_person_floor", unit(calibration.same_person_floor), "0 to 1");
        check("calibration.same_photo_cosine", unit(calibration.same_photo_cosine), "0 to 1");
        check("calibration.impostor_mean", calibration.impostor_mean.abs() <= 1.0, "-1 to 1");
        check(
            "calibration.impostor_sd",
            calibration.impostor_sd > 0.0 && calibration.impostor_sd <= 1.0,
            "above 0, at most 1",
        );
        let tail = &calibration.impostor_tail;
        let falls = tail.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] >= pair[1][1]);
        let rates = tail.iter().all(|[cosine, rate]| cosine.abs() <= 1.0 && (0.0..=1.0).contains(rate));
        check(
            "calibration.impostor_tail",
            falls && rates,
            "[cosine, share] with cosines rising and shares falling",
        );
        problems
    }

    fn files(&self) -> [(&str, Option<&String>); 2] {
        [
            (&self.detector.file, self.detector.sha256.as_ref()),
            (&self.embedder.file, self.embedder.sha256.as_ref()),
        ]
    }
}

/// A pack whose files were found and checked.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelPack {
    description: PackDescription,
    folder: PathBuf,
}

impl ModelPack {
    /// Reads and checks the pack in a folder.
    ///
    /// # Errors
    /// [`PackError`] if the description is wrong, the licence is not accepted, or a file is missing or has another hash.
    pub fn open(folder: &Path, accept_license: bool) -> Result<Self, PackError> {
        let path = folder.join(DESCRIPTION_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| PackError::Description { path: path.clone(), detail: error.to_string() })?;
        let description = PackDescription::parse(&text, &path)?;
        Self::new(description, folder, accept_license || folder.join(ACCEPTED_FILE).exists())
    }

    /// Checks the files of a described pack.
    ///
    /// # Errors
    /// As [`ModelPack::open`].
    pub fn new(description: PackDescription, folder: &Path, accepted: bool) -> Result<Self, PackError> {
        if description.non_commercial && !accepted {
            return Err(PackError::License { pack: description.id, license: description.license });
        }
        let pack = Self { description, folder: folder.to_path_buf() };
        pack.verify_files()?;
        Ok(pack)
    }

    /// The description.
    pub fn description(&self) -> &PackDescription {
        &self.description
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The pack's id.
    pub fn id(&self) -> &PackId {
        &self.description.id
    }

    /// Numbers in an embedding.
    pub fn dimension(&self) -> usize {
        self.description.dimension
    }

    /// What cosines mean.
    pub fn calibration(&self) -> &Calibration {
        &self.description.calibration
    }

    /// Path of the detector's file.
    pub fn detector_path(&self) -> PathBuf {
        self.folder.join(&self.description.detector.file)
    }

    /// Path of the embedder's file.
    pub fn embedder_path(&self) -> PathBuf {
        self.folder.join(&self.description.embedder.file)
    }

    /// Hashes the files again.
    ///
    /// # Errors
    /// [`PackError`] if one is missing or has another hash.
    pub fn verify_files(&self) -> Result<(), PackError> {
        let pack = &self.description.id;
        for (file, expected) in self.description.files() {
            let path = self.folder.join(file);
            let found = sha256_of(pack, &path)?;
            let expected = expected
                .ok_or_else(|| PackError::Unhashed { pack: pack.clone(), file: file.to_owned() })?
                .to_ascii_lowercase();
            if found != expected {
                return Err(PackError::Hash { pack: pack.clone(), path, expected, found });
            }
        }
        Ok(())
    }
}

/// SHA-256 of a file of the pack as hexadecimal digits.
pub(crate) fn sha256_of(pack: &PackId, path: &Path) -> Result<String, PackError> {
    let failed = |error: std::io::Error| PackError::File {
        pack: pack.clone(),
        path: path.to_path_buf(),
        detail: error.to_string(),
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
