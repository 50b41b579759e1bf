//! Sources of profile events: Kafka and Parquet; decoding, dead letters.
