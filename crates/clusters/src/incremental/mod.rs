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
//! - When a twentieth of the population has changed, decisions have, or the faces of a popular photo, the next update is a
//!   full run with a new background ([`Incremental::is_due`]).
//! - Pictures that nobody shows are as if they were not there.

mod labels;
mod rows;
mod take;
mod walk;

use std::collections::{BTreeSet, HashSet};

use records::{AccountId, PhotoKey};

use crate::background::Background;
use crate::detect::{Detection, Local, detection, find};
use crate::input::Input;
use crate::tables::Raw;
use crate::{ClustersConfig, ClustersError, PackCalibration};
use rows::Rows;
use walk::{Around, Meaning};

/// Share of the population after whose change a new background is measured.
const GROWTH: f64 = 0.05;

/// What has changed: accounts as they are now, with everything they show.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The changed and new accounts with *all* their ownerships, the pictures behind these *whole*, that is with all their
    /// faces and all links of these faces. The other ends of the links are listed too, as pictures without owners. Faces and
    /// links of whole pictures that are not listed are no more. Allow-lists, decisions and previous clusters hold from now
    /// on.
    pub rows: Input,
    /// Further pictures that are listed whole: their description, faces or links changed, whoever shows them.
    pub photos: Vec<PhotoKey>,
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

    /// Whether these changes ask for a full run with a new background. [`Self::update`] makes it out of what it knows;
    /// whoever can read the population anew may rather begin again with [`Self::new`].
    pub fn is_due(&self, changes: &Changes) -> bool {
        let Changes { rows, photos, deleted } = changes;
        let changed = self.changed + rows.accounts.len() + deleted.len();
        let frame = &self.rows.frame;
        changed as f64 > GROWTH * self.background.accounts as f64
            || frame.allow != rows.allow
            || frame.confirmed != rows.confirmed
            || frame.merged != rows.merged
            || frame.split != rows.split
            || take::touches_popular(photos, &self.background)
    }

    /// Changed accounts from which on an update is a full run.
    pub fn most_changes(&self) -> usize {
        (GROWTH * self.background.accounts as f64) as usize
    }

    /// What a cosine means, since the last full run.
    pub fn pack(&self) -> &PackCalibration {
        &self.rows.frame.pack
    }

    /// Takes changes in and gives the clusters as they are now.
    ///
    /// # Errors
    /// [`ClustersError::Reference`] if the changes name rows that are not there.
    pub fn update(&mut self, changes: Changes) -> Result<Detection, ClustersError> {
        let due = self.is_due(&changes);
        let Changes { rows, photos, deleted } = changes;
        let rows = rows.canonical()?;
        self.changed += rows.accounts.len() + deleted.len();
        let meaning = Meaning {
            background: &self.background,
            config: &self.config,
            same_photo_cosine: self.rows.frame.pack.same_photo_cosine,
        };
        let touched = self.rows.take(&rows, &photos, &deleted, &meaning);
        if due {
            self.renew();
        } else {
            self.refresh(touched);
        }
        Ok(self.detection())
    }

    /// The clusters of a full run over the present rows with the present background: what updates are held against.
    pub fn recomputed(&self) -> Detection {
        self.full_run(self.rows.whole())
    }

    /// The same over rows from elsewhere, which should be the present ones.
    ///
    /// # Errors
    /// Those of [`crate::detect`].
    pub fn recomputed_from(&self, input: Input) -> Result<Detection, ClustersError> {
        Ok(self.full_run(input.canonical()?))
    }

    fn full_run(&self, mut input: Input) -> Detection {
        let (local, background, found) = full(&mut input, &self.config, Some(&self.background));
        let lineage = (&*input.previous, &*input.dismissed);
        detection(&found, &local, &background, &input.pack, lineage, &self.config)
    }

    /// Runs the detector over everything.
    fn renew(&mut self) {
        let mut input = self.rows.whole();
        // Rows that went are let go of.
        self.rows = Rows::new(&input);
        let (local, background, found) = full(&mut input, &self.config, None);
        self.rows.relabel(&input, &local.entities, |_| true);
        (self.local, self.background, self.found, self.changed) = (local, background, found, 0);
    }

    /// Runs the detector on what the touched accounts reach.
    fn refresh(&mut self, touched: BTreeSet<u32>) {
        let meaning = Meaning {
            background: &self.background,
            config: &self.config,
            same_photo_cosine: self.rows.frame.pack.same_photo_cosine,
        };
        let Around { mut input, accounts: reached, photos } = self.rows.around(touched, &meaning);
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
