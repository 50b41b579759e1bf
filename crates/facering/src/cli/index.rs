//! `facering index`: what may be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub enum IndexAction {
    /// Vectors, lists, imbalance, segments, tombstones, bytes, calibration, recall card
    Info(IndexFolder),
    /// Train centroids and codes: for the state's own index, or an empty block with --out
    Train(IndexTrainArgs),
    /// Add the embeddings of Parquet files to a block; goes on where an interrupted one stopped
    Fill(IndexFillArgs),
    /// Merge blocks on disk into one index
    Merge(IndexMergeArgs),
    /// Search a block for the embeddings of a Parquet file
    Search(IndexSearchArgs),
    /// Measure training, adding, searching, recall and size
    Bench(IndexBenchArgs),
    /// Physically remove deleted vectors and join segments
    Compact(IndexFolder),
}

#[derive(Args, Debug)]
pub struct IndexFolder {
    /// The folder of a block instead of the state's index
    #[arg(long, value_name = "DIR")]
    pub index: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct IndexTrainArgs {
    /// Parquet with a column `embedding` (a file, folder or pattern), or `store`: the faces of the state
    #[arg(long, value_name = "PARQUET|store")]
    pub from: String,
    /// FAISS factory string, like IVF262144,PQ64
    #[arg(long)]
    pub factory: String,
    /// Metric; index.metric if not given
    #[arg(long, value_parser = ["ip", "l2"])]
    pub metric: Option<String>,
    /// Make an empty block in this folder; without it the state's own index is moved to the new model
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Vectors to train on; 0 takes 64 for each list, and at least 524,288
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub sample: u64,
}

#[derive(Args, Debug)]
pub struct IndexFillArgs {
    /// The block's folder: a new one, or one that was begun
    pub block: PathBuf,
    /// The empty block whose model a new block gets
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Parquet with a column `embedding`: a file, folder or pattern
    #[arg(long, value_name = "PARQUET")]
    pub from: PathBuf,
    /// Keep no exact vectors (2 bytes a number on disk): found cosines are then estimates
    #[arg(long)]
    pub codes_only: bool,
}

#[derive(Args, Debug)]
pub struct IndexMergeArgs {
    /// The folder of the merged index: a new one, or one that takes in more blocks
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Blocks with one model; they stay as they are
    #[arg(required = true)]
    pub blocks: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct IndexSearchArgs {
    /// The folder of a block or merged index
    pub index: PathBuf,
    /// Parquet with a column `embedding`: the queries
    #[arg(long, value_name = "PARQUET")]
    pub from: PathBuf,
    /// Most similar vectors to print for each query
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub k: u32,
    /// Print everything at or above this cosine instead of the k nearest
    #[arg(long, value_name = "COSINE")]
    pub threshold: Option<f32>,
    /// Lists visited a query; the tuned number if not given
    #[arg(long, value_name = "N")]
    pub nprobe: Option<usize>,
}

#[derive(Args, Debug)]
pub struct IndexBenchArgs {
    /// FAISS factory string
    #[arg(long, default_value = "IVF1024,PQ64", conflicts_with = "index")]
    pub factory: String,
    /// Metric
    #[arg(long, default_value = "ip", value_parser = ["ip", "l2"], conflicts_with = "index")]
    pub metric: String,
    /// Vectors to add: 100,000 synthetic ones, or all of --from
    #[arg(long, conflicts_with = "index")]
    pub vectors: Option<usize>,
    /// Vectors to train on; as many as are added if not given
    #[arg(long, conflicts_with = "index")]
    pub train: Option<usize>,
    /// Queries of each cosine (.9, .7 and .5): copies of stored vectors
    #[arg(long, default_value_t = 1000)]
    pub queries: usize,
    /// Dimension of synthetic vectors
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub dim: u32,
    /// Threads; 0 for all cores
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Seed of the vectors
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Parquet with a column `embedding` instead of synthetic vectors, or `store`: the faces of the state
    #[arg(long, value_name = "PARQUET|store", conflicts_with = "index")]
    pub from: Option<String>,
    /// Queries from Parquet instead of copies of stored vectors
    #[arg(long, value_name = "PARQUET")]
    pub queries_from: Option<PathBuf>,
    /// Measure searching in this block or merged index, which must have kept its exact vectors
    #[arg(long, value_name = "DIR")]
    pub index: Option<PathBuf>,
    /// Compare only the two ways to find lists, among so many centroids drawn like the vectors
    #[arg(long, value_name = "LISTS", conflicts_with = "index")]
    pub assignment: Option<usize>,
}
