//! Labelled synthetic populations and the evaluation of clusters against their truth.
