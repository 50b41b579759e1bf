//! Faces that came already embedded.

use records::{DeadLetterReason, Embedding, Face, GivenFace, PackId, PhotoContent, PhotoFacts, PhotoId};

use crate::{EmbedConfig, quality};

/// Why a row was given up.
#[derive(Clone, PartialEq, Debug)]
pub struct RefusedRow {
    /// The photo it names.
    pub photo: PhotoId,
    /// Why.
    pub reason: DeadLetterReason,
    /// One sentence.
    pub detail: String,
}

/// What some rows of one photo say, and the rows that were given up; no content if none was left.
///
/// Rows of a photo come in any order and spread over batches, so nothing here depends on what stands beside a row: every
/// such face counts as a main one.
pub fn content_of(
    rows: Vec<GivenFace>,
    pack: &PackId,
    dimension: usize,
    config: &EmbedConfig,
) -> (Option<PhotoContent>, Vec<RefusedRow>) {
    let mut refused = Vec::new();
    let mut kept = Vec::new();
    for row in rows {
        match trouble(&row, pack, dimension) {
            Some((reason, detail)) => refused.push(RefusedRow { photo: row.photo_id, reason, detail }),
            None => kept.push(row),
        }
    }
    if kept.is_empty() {
        return (None, refused);
    }
    let pdq = kept.iter().find_map(|row| row.photo_pdq);
    let facts = PhotoFacts {
        size: (0, 0),
        hashed: kept.iter().any(|row| row.photo_sha256.is_some()),
        pdq,
        pdq_mirrored: pdq.map(|pdq| pdq.mirrored()),
        pack: pack.clone(),
    };
    let mut faces: Vec<Face> = Vec::new();
    for row in kept {
        if let Some(embedding) = row.embedding
            && !faces.iter().any(|face| face.embedding == embedding)
        {
            faces.push(face(embedding, row.face_width_px, config));
        }
    }
    faces.sort_by(|a, b| b.quality.width_px.total_cmp(&a.quality.width_px));
    (Some(PhotoContent { facts, faces, partial: true, thumbnail: None }), refused)
}

fn face(embedding: Embedding, width_px: Option<f32>, config: &EmbedConfig) -> Face {
    Face {
        place: None,
        quality: quality::given(width_px, config),
        main: true,
        eye_alignment: None,
        pdq: None,
        pdq_mirrored: None,
        embedding,
    }
}

fn trouble(row: &GivenFace, pack: &PackId, dimension: usize) -> Option<(DeadLetterReason, String)> {
    if let Some(other) = row.pack.as_ref().filter(|other| *other != pack) {
        let detail =
            format!("the embedding was made by the pack {other}; this pipeline compares those of {pack}");
        return Some((DeadLetterReason::WrongPack, detail));
    }
    let found = row.embedding.as_ref()?.dimension();
    (found != dimension).then(|| {
        let detail =
            format!("the embedding has {found} dimensions; those of the pack {pack} have {dimension}");
        (DeadLetterReason::WrongDimension, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: Option<&[f32]>, width: Option<f32>, pack: Option<&str>) -> GivenFace {
        GivenFace {
            photo_id: PhotoId::new("p").unwrap(),
            photo_sha256: None,
            photo_pdq: None,
            face_width_px: width,
            embedding: values.map(|values| Embedding::normalised(values).unwrap()),
            pack: pack.map(|pack| PackId::new(pack).unwrap()),
        }
    }

    fn content(rows: Vec<GivenFace>) -> (Option<PhotoContent>, Vec<RefusedRow>) {
        content_of(rows, &PackId::new("bundled").unwrap(), 3, &EmbedConfig::default())
    }

    #[test]
    fn a_wrong_row_does_not_harm_the_others() {
        let (found, refused) = content(vec![
            row(Some(&[1.0, 0.0, 0.0]), Some(30.0), None),
            row(Some(&[1.0, 0.0]), None, None),
            row(Some(&[0.0, 1.0, 0.0]), None, Some("other")),
            row(Some(&[0.0, 1.0, 0.0]), Some(45.0), Some("bundled")),
            row(Some(&[0.0, 0.0, 1.0]), None, None),
            row(Some(&[0.0, 0.0, 2.0]), None, None),
        ]);
        let reasons: Vec<DeadLetterReason> = refused.iter().map(|row| row.reason).collect();
        assert_eq!(reasons, [DeadLetterReason::WrongDimension, DeadLetterReason::WrongPack]);
        let found = found.unwrap();
        assert!(found.partial && !found.facts.hashed);
        let faces: Vec<(f32, bool)> =
            found.faces.iter().map(|face| (face.quality.width_px, face.quality.linkable)).collect();
        assert_eq!(faces, [(45.0, true), (30.0, false), (0.0, true)], "an unknown width may link");
    }

    #[test]
    fn a_photo_without_a_face_is_content_and_one_without_rows_is_none() {
        let (found, refused) = content(vec![row(None, None, None)]);
        assert!(found.unwrap().faces.is_empty() && refused.is_empty());
        let (found, refused) = content(vec![row(Some(&[1.0, 0.0]), None, None)]);
        assert!(found.is_none() && refused.len() == 1);
    }
}
