//! The durable state and its one atomic commit.
