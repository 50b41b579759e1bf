//! The face index: FAISS segments, training, search with exact re-ranking.
