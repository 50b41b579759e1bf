//! A detector that remembers: an update costs what its neighbourhood costs.
//!
//! Everything that is found depends on the accounts around it and on the [`Background`], which is measured over the whole
//! population and held fixed between full runs. An update therefore walks from the changed accounts over what accounts
//! share (copies of a photo, photos of a person), runs the detector on what it reached, and puts the result in the place of
//! what was there.
//!
//! Invariants:
//! - After any sequence of updates the clusters are those of a full run over the same rows with the same background.
//! - A popular photo or person connects nobody (it links nobody), so the walk does not spread over a meme.
//! - When the population has grown by a twentieth, or decisions have changed, the next update is a full run with a new
//!   background.

mod labels;
mod rows;

use std::collections::{BTreeSet, HashSet};

use records::AccountId;

use crate::background::Background;
use crate::detect::{Detection, Local, detection, find};
use crate::input::Input;
use crate::tables::Raw;
use crate::{ClustersConfig, ClustersError};
use rows::Rows;

/// Share of the population after whose change a new background is measured.
const GROWTH: f64 = 0.05;

/// What has changed: accounts as they are now, with everything they show.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The changed and new accounts with *all* their ownerships, and the pictures and faces behind these; links of new
    /// faces, whose other ends may be pictures and faces that are known already (they are listed too, without owners). Its
    /// allow-lists, decisions and previous clusters hold from now on.
    pub rows: Input,
    /// Accounts that are no more.
    pub deleted: Vec<AccountId>,
}

/// A population with what was found in it.
#[derive(Debug)]
pub struct Incremental {
    config: ClustersConfig,
    rows: Rows,
    background: Background,
    /// Every cluster, before it has a name.
    found: Vec<Raw>,
    /// What else the last full run said.
    local: Local,
    /// Accounts that changed since.
    changed: usize,
}

impl Incremental {
    /// Runs the detector over a whole population.
    ///
    /// # Errors
    /// Those of [`crate::detect`].
    pub fn new(input: Input, config: &ClustersConfig) -> Result<(Self, Detection), ClustersError> {
        let input = input.canonical()?;
        let mut rows = Rows::new(&input);
        let mut input = input;
        let (local, background, found) = full(&mut input, config, None);
        rows.relabel(&input, &local.entities, |_| true);
        let this = Self { config: config.clone(), rows, background, found, local, changed: 0 };
        let detection = this.detection();
        Ok((this, detection))
    }

    /// Takes changes in and gives the clusters as they are now.
    ///
    /// # Errors
    /// [`ClustersError::Reference`] if the changes name rows that are not there.
    pub fn update(&mut self, changes: Changes) -> Result<Detection, ClustersError> {
        let Changes { rows, deleted } = changes;
        let rows = rows.canonical()?;
        let same_decisions = self.rows.frame.allow == rows.allow
            && self.rows.frame.confirmed == rows.confirmed
            && self.rows.frame.merged == rows.merged
            && self.rows.frame.split == rows.split;
        self.changed += rows.accounts.len() + deleted.len();
        let touched = self.rows.take(rows, &deleted, &self.background);
        let aged = self.changed as f64 > GROWTH * self.background.accounts as f64;
        if aged || !same_decisions {
            self.renew();
        } else {
            self.refresh(touched);
        }
        Ok(self.detection())
    }

    /// The clusters of a full run over the present rows with the present background: what updates are held against.
    pub fn recomputed(&self) -> Detection {
        let (local, background, found) = full(&mut self.rows.whole(), &self.config, Some(&self.background));
        let frame = &self.rows.frame;
        detection(&found, &local, &background, &frame.pack, (&frame.previous, &frame.dismissed), &self.config)
    }

    /// Runs the detector over everything.
    fn renew(&mut self) {
        let mut input = self.rows.whole();
        let (local, background, found) = full(&mut input, &self.config, None);
        self.rows.relabel(&input, &local.entities, |_| true);
        (self.local, self.background, self.found, self.changed) = (local, background, found, 0);
    }

    /// Runs the detector on what the touched accounts reach.
    fn refresh(&mut self, touched: BTreeSet<u32>) {
        let (mut input, reached, photos) =
            self.rows.around(touched, &self.background, self.config.copy_cosine);
        let names: HashSet<&AccountId> =
            reached.iter().filter_map(|a| self.rows.accounts[*a as usize].as_ref()).map(|a| &a.id).collect();
        let accounts = &self.rows.accounts;
        let account_at = &self.rows.account_at;
        let gone = |id: &AccountId| account_at.get(id).is_none_or(|at| accounts[*at as usize].is_none());
        self.found
            .retain(|raw| !raw.members.iter().any(|m| names.contains(&m.account_id) || gone(&m.account_id)));
        if !input.accounts.is_empty() {
            let (local, _) = find(&mut input, &self.config, Some(&self.background));
            self.found.extend(local.raws);
            self.rows.relabel(&input, &local.entities, |photo| photos.contains(&photo));
        }
    }

    fn detection(&self) -> Detection {
        let frame = &self.rows.frame;
        detection(
            &self.found,
            &self.local,
            &self.background,
            &frame.pack,
            (&frame.previous, &frame.dismissed),
            &self.config,
        )
    }
}

fn full(
    input: &mut Input,
    config: &ClustersConfig,
    background: Option<&Background>,
) -> (Local, Background, Vec<Raw>) {
    let (mut local, measured) = find(input, config, background);
    let found = std::mem::take(&mut local.raws);
    let background = measured.or_else(|| background.cloned());
    (local, background.unwrap_or_default(), found)
}
