//! The detector on small labelled populations: every kind of ring, and every honest case that looks like one.

mod cases;
mod invariants;
mod population;
