//! Model packs: detect faces, align, embed, judge quality, hash the photo.
