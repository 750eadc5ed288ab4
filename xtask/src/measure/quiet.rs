//! Whether other programs leave the machine alone.

use std::fs;
use std::thread;

use super::trouble;
use crate::steps::{Trouble, failed};

/// CPUs that other programs may use while something is measured, on average.
pub(super) const MAX_OTHERS: f64 = 0.25;

/// Share of the CPUs that the load average may name.
const MAX_LOAD: f64 = 0.75;

/// What the machine does besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) cpus: usize,
    /// Average of the last minute.
    pub(super) load: f64,
}

impl Machine {
    pub(super) fn now() -> Result<Self, Trouble> {
        let file = "/proc/loadavg";
        let text = fs::read_to_string(file).map_err(|error| trouble(&file, &error))?;
        let cpus = thread::available_parallelism().map_err(|error| trouble(&"CPUs", &error))?;
        let Some(load) = text.split(' ').next().and_then(|first| first.parse().ok()) else {
            return failed(format!("{file} has no load average"));
        };
        Ok(Self {
            cpus: cpus.get(),
            load,
        })
    }

    pub(super) fn is_quiet(self) -> bool {
        self.load < MAX_LOAD * self.cpus as f64
    }

    /// Refuses to measure beside others, unless that is wanted.
    pub(super) fn check(self, noisy: bool) -> Result<(), Trouble> {
        let Self { cpus, load } = self;
        let most = MAX_LOAD * cpus as f64;
        if self.is_quiet() {
            println!("load average {load} on {cpus} CPUs");
        } else if noisy {
            println!(
                "NOISY: load average {load} on {cpus} CPUs; nobody should believe these figures"
            );
        } else {
            return failed(format!(
                "the machine is not quiet: load average {load} on {cpus} CPUs, {most} at most; wait, end other programs, \
                 or see the figures all the same with --noisy"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_average_of_three_quarters_of_the_cpus_is_too_much() {
        let quiet = Machine {
            cpus: 2,
            load: 1.49,
        };
        let busy = Machine { load: 1.5, ..quiet };
        assert!(quiet.check(false).is_ok());
        assert!(busy.check(false).is_err());
        assert!(busy.check(true).is_ok());
    }
}
