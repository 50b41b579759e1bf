//! Decisions on the way to the desk: from the command line with what the newest snapshot knows, from the pages with what
//! they showed.

use anyhow::Context;
use records::tables::Role;
use records::{ClusterFacts, Decision, Deed, Proposal, Standing};
use serde_json::{Value, json};

use crate::answers::Owner;
use crate::pipeline::Order;

impl Owner {
    /// Every decision, oldest first.
    pub fn decisions(&self) -> anyhow::Result<Vec<Decision>> {
        Ok(self.reader().decisions()?)
    }

    /// Takes a decision.
    pub fn decide(&self, author: &str, deed: Deed) -> anyhow::Result<Decision> {
        let (name, ordered) = (author.to_owned(), deed.clone());
        self.at_desk(|desk| desk.decide(author, deed), |answer| Order::Decide(name, ordered, answer))
    }

    /// Takes a decision about clusters of the newest snapshot.
    pub fn decide_on_newest(&self, author: &str, proposal: Proposal) -> anyhow::Result<Value> {
        let output = self.output();
        let tables = match clusters::latest(output)? {
            Some(folder) => {
                Some(clusters::read_snapshot(&folder).context("the newest snapshot cannot be read")?.0)
            }
            None => None,
        };
        let deed = proposal.deed(|cluster_id| {
            let tables = tables.as_ref()?;
            tables.clusters.iter().find(|row| row.cluster_id == cluster_id)?;
            let members = tables.members.iter().filter(|row| row.role == Role::Member);
            Some(ClusterFacts {
                members: members
                    .filter(|row| row.cluster_id == cluster_id)
                    .map(|row| row.account_id.clone())
                    .collect(),
                evidence: tables
                    .evidence
                    .iter()
                    .filter(|row| row.cluster_id == cluster_id)
                    .map(records::tables::EvidenceRow::key)
                    .collect(),
            })
        })?;
        Ok(serde_json::to_value(self.decide(author, deed)?)?)
    }

    /// Every decision with whether it holds, for the command line.
    pub fn list_decisions(&self) -> anyhow::Result<Value> {
        let log = self.decisions()?;
        let standing = Standing::of(&log);
        let now = crate::clock::now();
        let rows = log.iter().map(|decision| {
            let mut row = serde_json::to_value(decision)?;
            let expired = matches!(&decision.deed, Deed::Allow { until: Some(until), .. } if *until <= now);
            let holds = standing.in_force().iter().any(|held| held.id == decision.id) && !expired;
            row["holds"] = json!(holds);
            row["undone_by"] = json!(standing.undone_by(decision.id));
            Ok(row)
        });
        Ok(json!({"decisions": rows.collect::<anyhow::Result<Vec<_>>>()?}))
    }
}
