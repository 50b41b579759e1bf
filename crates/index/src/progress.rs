//! How far a training is, and how much of the work that is.

use std::cell::Cell;

/// How far a training is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TrainProgress {
    /// What is being done: `reading`, `level 1`, `assigning`, `level 2`, `codes`, `measuring`; then `encoding` when an
    /// index is rebuilt.
    pub phase: &'static str,
    /// Units of it done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// Share of the whole training's work that is done, 0 to 1, by the number of comparisons each phase takes; `None`
    /// where only the phase is known.
    pub fraction: Option<f64>,
}

/// Turns steps of phases into shares of the whole.
pub struct Meter<'a> {
    report: &'a dyn Fn(&TrainProgress),
    /// Phases in order, with their work.
    plan: Vec<(&'static str, f64)>,
    /// Never goes back: a phase may begin with reading, which counts as an earlier one.
    reached: Cell<f64>,
}

impl<'a> Meter<'a> {
    /// A plan of phases with their work, in any unit.
    pub fn new(report: &'a dyn Fn(&TrainProgress), plan: Vec<(&'static str, f64)>) -> Self {
        Self { report, plan, reached: Cell::new(0.0) }
    }

    /// Tells that so much of a phase is done.
    pub fn step(&self, phase: &'static str, done: u64, total: u64) {
        let whole: f64 = self.plan.iter().map(|(_, work)| work).sum();
        let before: f64 = self.plan.iter().take_while(|(name, _)| *name != phase).map(|(_, work)| work).sum();
        let own = self.plan.iter().find(|(name, _)| *name == phase).map_or(0.0, |(_, work)| *work);
        let share = done.min(total) as f64 / total.max(1) as f64;
        let fraction = if whole > 0.0 { (before + own * share) / whole } else { 0.0 };
        self.reached.set(self.reached.get().max(fraction));
        (self.report)(&TrainProgress { phase, done, total, fraction: Some(self.reached.get()) });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn shares_follow_the_plan_and_never_go_back() {
        let seen = RefCell::new(Vec::new());
        let report = |step: &TrainProgress| seen.borrow_mut().push(step.fraction.unwrap());
        let meter = Meter::new(&report, vec![("reading", 10.0), ("level 1", 30.0), ("codes", 60.0)]);
        meter.step("reading", 5, 10);
        meter.step("level 1", 0, 1);
        meter.step("reading", 1, 10);
        meter.step("codes", 1, 2);
        meter.step("codes", 2, 2);
        assert_eq!(*seen.borrow(), [0.05, 0.1, 0.1, 0.7, 1.0]);
    }
}
