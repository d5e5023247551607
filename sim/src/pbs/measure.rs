//! Puts the question to real cores, in as many trials as a far quantile needs.
//!
//! A trial is one write and one read `t` later. With the same draws the same trial can be had
//! again with another `t`, and a read that returns the write at `t` returns it at any later time:
//! so a trial that was fresh is not asked about later times again, nor a stale one about earlier
//! ones, and the moment at which a trial turns is found by halving.

use super::cluster::Cluster;
use super::draws::Draws;
use super::shape::Shape;
use indicatif::ProgressBar;
use std::collections::BTreeMap;

/// What is known of one trial, µs.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    /// The latest read that was stale, plus one.
    stale_below: u64,
    /// The earliest read that was fresh.
    fresh_from: u64,
}

/// Trials of real cores, asked as often as needed.
pub struct Prober {
    clusters: Vec<Cluster>,
    seed: u64,
    brackets: Vec<Bracket>,
    /// Fresh trials at each time that was looked at.
    counts: BTreeMap<u64, usize>,
    /// Latency of writes, µs, sorted after the first look.
    pub write_us: Vec<u64>,
    /// Latency of reads begun at once, µs, sorted after the first look.
    pub read_us: Vec<u64>,
    /// How many trials were run, repetitions counted.
    pub runs: u64,
}

/// One trial's share of a look.
struct Look {
    trial: u64,
    write_us: u64,
    read_us: u64,
}

impl Prober {
    /// Clusters for `trials` trials on `jobs` threads.
    ///
    /// # Errors
    /// A cluster did not form.
    pub fn new(shape: &Shape, seed: u64, trials: u64, jobs: usize) -> Result<Self, String> {
        let clusters = (0..jobs.max(1)).map(|_| Cluster::new(shape)).collect::<Result<_, _>>()?;
        let unknown = Bracket { stale_below: 0, fresh_from: u64::MAX };
        Ok(Prober {
            clusters,
            seed,
            brackets: vec![unknown; trials as usize],
            counts: BTreeMap::new(),
            write_us: Vec::new(),
            read_us: Vec::new(),
            runs: 0,
        })
    }

    /// Runs each trial once with a read at once, and keeps the latencies.
    ///
    /// # Errors
    /// A request was not answered as it should be.
    pub fn first_look(&mut self, bar: &ProgressBar) -> Result<(), String> {
        let looks = self.look(0, bar)?;
        self.write_us = looks.iter().map(|look| look.write_us).collect();
        self.read_us = looks.iter().map(|look| look.read_us).collect();
        self.write_us.sort_unstable();
        self.read_us.sort_unstable();
        Ok(())
    }

    /// How many trials there are.
    pub fn trials(&self) -> usize {
        self.brackets.len()
    }

    /// In how many trials a read `t_us` after the acknowledgement returns the write.
    ///
    /// # Errors
    /// A request was not answered as it should be.
    pub fn fresh_at(&mut self, t_us: u64, bar: &ProgressBar) -> Result<usize, String> {
        self.look(t_us, bar)?;
        let fresh = self.brackets.iter().filter(|bracket| bracket.fresh_from <= t_us).count();
        self.counts.insert(t_us, fresh);
        Ok(fresh)
    }

    /// The least time at which more than `rank` trials are fresh, µs, to within 10 µs or 0.2 %.
    ///
    /// # Errors
    /// A request was not answered as it should be, or there is no such time within an hour.
    pub fn turn_of(&mut self, rank: usize, bar: &ProgressBar) -> Result<u64, String> {
        // Earlier looks that were too early save looks at times before them.
        let early = self.counts.iter().rfind(|(_, fresh)| **fresh <= rank).map(|(t_us, _)| *t_us);
        if early.is_none() && self.fresh_at(0, bar)? > rank {
            return Ok(0);
        }
        let mut stale = early.unwrap_or(0);
        let mut fresh = (stale + stale / 4).max(1_000);
        while self.fresh_at(fresh, bar)? <= rank {
            (stale, fresh) = (fresh, fresh + fresh / 4);
            if fresh > 3_600_000_000 {
                return Err("reads stay stale for more than an hour".into());
            }
        }
        while fresh - stale > 10.max(fresh / 500) {
            let middle = stale.midpoint(fresh);
            match self.fresh_at(middle, bar)? > rank {
                true => fresh = middle,
                false => stale = middle,
            }
        }
        Ok(fresh)
    }

    /// Runs every trial of which it is not known whether it is fresh at `t_us`.
    fn look(&mut self, t_us: u64, bar: &ProgressBar) -> Result<Vec<Look>, String> {
        let open = |bracket: &Bracket| bracket.stale_below <= t_us && t_us < bracket.fresh_from;
        let count = self.brackets.iter().filter(|bracket| open(bracket)).count();
        bar.set_length(count as u64);
        bar.set_position(0);
        bar.set_message(format!("cores, reads after {:.2} ms", t_us as f64 / 1_000.0));
        let share = self.brackets.len().div_ceil(self.clusters.len());
        let seed = self.seed;
        let work = |cluster: &mut Cluster, first: usize, brackets: &mut [Bracket]| {
            let mut looks = Vec::new();
            for (at, bracket) in brackets.iter_mut().enumerate().filter(|(_, b)| open(b)) {
                let trial = (first + at) as u64;
                let seen = cluster.trial(Draws::new(seed, trial), t_us)?;
                match seen.fresh {
                    true => bracket.fresh_from = t_us,
                    false => bracket.stale_below = t_us + 1,
                }
                looks.push(Look { trial, write_us: seen.write_us, read_us: seen.read_us });
                bar.inc(1);
            }
            Ok::<_, String>(looks)
        };
        let parts = self.brackets.chunks_mut(share).enumerate().zip(&mut self.clusters);
        let results: Vec<_> = std::thread::scope(|scope| {
            let started = parts.map(|((part, brackets), cluster)| {
                let first = part * share;
                scope.spawn(move || work(cluster, first, brackets))
            });
            let started: Vec<_> = started.collect();
            started.into_iter().map(|thread| thread.join().expect("trials do not panic")).collect()
        });
        let mut looks = Vec::new();
        for result in results {
            looks.extend(result?);
        }
        looks.sort_by_key(|look| look.trial);
        self.runs += looks.len() as u64;
        Ok(looks)
    }
}
