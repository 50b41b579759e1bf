//! The command line: what a user may type. Every command takes `--config FILE` and `--set key=value`.

mod index;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::index::{
    IndexAction, IndexBenchArgs, IndexFillArgs, IndexMergeArgs, IndexSearchArgs, IndexTrainArgs,
};

const EXAMPLES: &str = "\
Examples:
  facering demo                                     the whole pipeline on a synthetic network, nothing needed
  facering check pipelines/stream.toml              every configuration problem at once
  facering run pipelines/stream.toml --set source.brokers=kafka:9092
  facering run pipelines/backfill.toml --set source.path=profiles/
  facering report --html report.html                a page for the analyst, from the newest snapshot
  facering decisions dismiss c0ffee012345 --reason fans
  facering evaluate --clusters output --truth truth.parquet --json

Every command reads the compiled-in defaults, then --config FILE, then the pipeline file, then variables such as
FACERING__STATE__PATH, then --set key=value; later ones win. Exit: 0 done, 1 failed, 2 wrong usage or configuration.";

/// Finds networks of fake accounts by the faces they share.
#[derive(Parser, Debug)]
#[command(name = "facering", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug, Clone, Default)]
pub struct Common {
    /// Read settings from this TOML file (config/default.toml lists all of them)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one setting, like --set state.path=/data/facering; may be given many times
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more in the log: -v debug, -vv trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a pipeline: `stream` until stopped, `backfill` until its input ends, `report` once
    Run {
        /// The pipeline file, such as pipelines/stream.toml
        pipeline: PathBuf,
        /// Fill a second state with the faces of models.pack, beside the one in use (then `models switch`)
        #[arg(long)]
        beside: bool,
    },
    /// Report every configuration problem at once, start nothing
    Check {
        /// The pipeline file
        pipeline: PathBuf,
    },
    /// Run the whole pipeline on a synthetic network, with a broker and a picture server of its own
    Demo(DemoArgs),
    /// Train, fill, merge, inspect and measure the face index
    Index {
        #[command(subcommand)]
        action: IndexAction,
    },
    /// Find the most similar photos of a picture, an account or a face
    Search(SearchArgs),
    /// What an analyst reads, from the newest snapshot
    Report(ReportArgs),
    /// Write a labelled synthetic population
    Simulate(SimulateArgs),
    /// Hold clusters against the truth
    Evaluate(EvaluateArgs),
    /// Model packs: what there is, install, verify, measure
    Models {
        #[command(subcommand)]
        action: ModelsAction,
    },
    /// Serve the review pages and the API over a state that no stream is running on
    Serve,
    /// Erase an account everywhere and print a signed receipt
    Forget {
        /// The account
        account: String,
    },
    /// Check a receipt of an erasure
    Receipt {
        #[command(subcommand)]
        action: ReceiptAction,
    },
    /// What analysts decided about clusters, and deciding
    Decisions(DecisionsArgs),
    /// Events and photos that were given up
    Deadletters {
        #[command(subcommand)]
        action: DeadlettersAction,
    },
}

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Accounts to simulate
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(100..=5000))]
    pub accounts: u32,
    /// Another seed draws another population
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for clusters/, truth.parquet and report.html; emptied of an earlier demo
    #[arg(long, default_value = "demo", value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct SearchTarget {
    /// A picture file
    pub image: Option<PathBuf>,
    /// Every face of this account
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// One face, by the id that other searches print
    #[arg(long, value_name = "ID")]
    pub face: Option<String>,
}

#[derive(Args, Debug)]
pub struct SearchArgs {
    #[command(flatten)]
    pub target: SearchTarget,
    /// Most similar photos to print for each face
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub k: u32,
    /// Look-alikes below the threshold at which two faces count as one person
    #[arg(long)]
    pub clones: bool,
}

#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Write one self-contained page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the clusters as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Compare with an earlier snapshot: a folder, or its name
    #[arg(long, value_name = "SNAPSHOT")]
    pub since: Option<String>,
    /// Read this snapshot or output folder instead of output.path
    #[arg(long, value_name = "DIR")]
    pub clusters: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// Folder for faces.parquet and truth.parquet, or for pictures and events
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Accounts to simulate
    #[arg(long, default_value_t = 10_000)]
    pub accounts: u64,
    /// Another seed draws another population
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Draw pictures (thousands of accounts) instead of writing embeddings (millions)
    #[arg(long)]
    pub images: bool,
    /// What stands before the pictures' paths in their URLs
    #[arg(long, default_value = "http://127.0.0.1:8080/", value_name = "URL", requires = "images")]
    pub url_prefix: String,
    /// Put the pictures themselves into profiles.parquet instead of their URLs
    #[arg(long, requires = "images")]
    pub inline: bool,
    /// Numbers in an embedding: like a small network's (128) or a large one's (512)
    #[arg(long, default_value = "512", value_parser = ["128", "512"])]
    pub dimension: String,
    /// Leave out photo_sha256 and photo_pdq, as sources that know only embeddings do
    #[arg(long)]
    pub no_hashes: bool,
    /// Share of accounts that belong to rings, 0 to 0.9
    #[arg(long)]
    pub bots: Option<f64>,
    /// Any option of the population: sizes (smallest_ring=4), habits (bots_in_disguise=0.5), mixes (rings.slow=0.3,
    /// honest.fan=0). docs/evaluation.md lists them
    #[arg(long = "with", value_name = "KEY=VALUE")]
    pub with: Vec<String>,
    /// Leave out the profile columns, as sources that know only photos do
    #[arg(long)]
    pub no_profiles: bool,
}

#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// A snapshot folder, or an output folder with clusters/LATEST
    #[arg(long, value_name = "DIR")]
    pub clusters: PathBuf,
    /// truth.parquet: account_id, ring_id or null, role
    #[arg(long, value_name = "FILE")]
    pub truth: PathBuf,
}

#[derive(Subcommand, Debug)]
pub enum ModelsAction {
    /// Packs that are known and whether they are installed
    List,
    /// Put a pack's files in place and verify them
    Install {
        /// The pack
        pack: String,
        /// A folder, a zip archive or an address with the files; the published address if not given
        #[arg(long, value_name = "URL|FOLDER|ZIP")]
        from: Option<String>,
        /// Accept the licence that `models list` shows
        #[arg(long)]
        accept_license: bool,
    },
    /// Check an installed pack's hashes, shapes and that a batch equals singles
    Verify {
        /// The pack; models.pack if not given
        pack: Option<String>,
    },
    /// Use the state that `run --beside` filled with this pack's faces
    Switch {
        /// The pack
        pack: String,
        /// Switch although that state has not read everything that the one in use has
        #[arg(long)]
        anyway: bool,
        /// Remove the state that was in use
        #[arg(long)]
        remove_old: bool,
    },
    /// Faces a second by batch size, and where the time goes
    Bench(ModelsBenchArgs),
}

#[derive(Args, Debug)]
pub struct ModelsBenchArgs {
    /// The pack; models.pack if not given
    pub pack: Option<String>,
    /// Batch sizes to measure
    #[arg(long, value_delimiter = ',', default_value = "1,8,32", value_parser = batch_size)]
    pub batches: Vec<usize>,
    /// Seconds for each batch size
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// A folder with pictures instead of drawn portraits of 320 x 320 pixels
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
}

fn batch_size(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|size| (1..=1024).contains(size))
        .ok_or_else(|| "1 to 1024 are allowed".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|s| (0.01..=3600.0).contains(s))
        .ok_or_else(|| "0.01 to 3600 are allowed".to_owned())
}

#[derive(Subcommand, Debug)]
pub enum ReceiptAction {
    /// Check that a receipt is as it was signed
    Verify {
        /// What `facering forget --json` printed
        file: PathBuf,
        /// The key that it should be signed with; `receipt key` prints one's own
        #[arg(long, value_name = "BASE64")]
        public_key: Option<String>,
    },
    /// Print the public key of this state's receipts
    Key,
}

#[derive(Args, Debug)]
pub struct DecisionsArgs {
    #[command(subcommand)]
    pub action: DecisionsAction,
    /// Who decides; by default the user of this session
    #[arg(long, global = true, value_name = "NAME")]
    pub author: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum DecisionsAction {
    /// Decisions in force
    List {
        /// Those that were undone, superseded or have expired too
        #[arg(long)]
        all: bool,
    },
    /// A cluster is a network
    Confirm {
        /// The cluster
        cluster: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// A cluster is none; it stays away until new evidence comes
    Dismiss {
        /// The cluster
        cluster: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// A cluster is several
    Split {
        /// The cluster
        cluster: String,
        /// Accounts that belong together, like a,b,c; give two or more
        #[arg(long = "part", value_name = "ACCOUNTS", required = true)]
        parts: Vec<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Clusters are one
    Merge {
        /// Two or more clusters
        #[arg(required = true, num_args = 2..)]
        clusters: Vec<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// What confirmations and dismissals say about the score: the clusters.calibration that fits them
    Calibrate,
    /// Vouch for an account, a photo or a face
    Allow(AllowArgs),
    /// Take an earlier decision back
    Undo {
        /// Its number
        decision: u64,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Args, Debug)]
pub struct AllowArgs {
    /// An account that is never suspected
    #[arg(long, value_name = "ID", group = "subject")]
    pub account: Option<String>,
    /// A picture that links nobody, with its copies
    #[arg(long, value_name = "SHA256", group = "subject")]
    pub photo: Option<String>,
    /// A face whose pictures link nobody
    #[arg(long, value_name = "ID", group = "subject")]
    pub face: Option<String>,
    /// Until this day or time
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// Why
    #[arg(long)]
    pub reason: String,
}

#[derive(Subcommand, Debug)]
pub enum DeadlettersAction {
    /// Count them by reason, or list those of one reason
    List {
        /// Only this reason (docs/dead-letters.md)
        #[arg(long)]
        reason: Option<String>,
        /// Most letters to print
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Send the original events to the source topic again; newer pictures are never undone
    Replay {
        /// Only this reason
        #[arg(long)]
        reason: Option<String>,
    },
}
