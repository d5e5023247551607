//! The answer to a question from one side, the model or real cores, with the error of its tails.

use super::measure::Prober;
use super::model::Trial;
use indicatif::ProgressBar;
use serde::Serialize;

/// Shares of trials for which t-visibility is told.
pub const VISIBLE: [f64; 4] = [0.5, 0.99, 0.999, 0.9999];

/// Latency quantiles that are told.
pub const LATENCIES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];

/// A tail with fewer trials beyond it than that is not told.
const BEYOND_MIN: f64 = 10.0;

/// A time at a share of trials, with the 95 % confidence interval of the sample.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantile {
    /// The share, 0 to 1.
    pub q: f64,
    /// The time, ms.
    pub ms: f64,
    /// Lower end, ms.
    pub low_ms: f64,
    /// Upper end, ms.
    pub high_ms: f64,
}

/// How many reads return the write.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Consistent {
    /// Begun so long after the acknowledgement, ms.
    pub t_ms: f64,
    /// The share of them, 0 to 1.
    pub p: f64,
}

/// One side's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// Independent writes, each with a read.
    pub trials: u64,
    /// By the time between them.
    pub consistent: Vec<Consistent>,
    /// t-visibility: the time after which that share of reads returns the write.
    pub visibility: Vec<Quantile>,
    /// Latency of writes.
    pub write: Vec<Quantile>,
    /// Latency of reads begun at the acknowledgement.
    pub read: Vec<Quantile>,
}

impl Side {
    /// t-visibility at a share, if there were enough trials for it.
    pub fn visible(&self, q: f64) -> Option<Quantile> {
        self.visibility.iter().find(|quantile| quantile.q == q).copied()
    }

    /// From trials of the model.
    pub fn of_model(trials: &[Trial], times_us: &[u64]) -> Side {
        let sorted = |of: &dyn Fn(&Trial) -> u64| {
            let mut times: Vec<u64> = trials.iter().map(of).collect();
            times.sort_unstable();
            times
        };
        let visible = sorted(&|trial| trial.visible_us);
        let fresh = |t: u64| visible.partition_point(|visible| *visible <= t);
        let consistent = times_us.iter().map(|t| share(*t, fresh(*t), trials.len())).collect();
        Side {
            trials: trials.len() as u64,
            consistent,
            visibility: quantiles(&visible, &VISIBLE),
            write: quantiles(&sorted(&|trial| trial.write_us), &LATENCIES),
            read: quantiles(&sorted(&|trial| trial.read_us), &LATENCIES),
        }
    }

    /// From trials of real cores.
    ///
    /// # Errors
    /// As [`Prober::fresh_at`].
    pub fn of_cores(
        prober: &mut Prober,
        times_us: &[u64],
        bar: &ProgressBar,
    ) -> Result<Side, String> {
        let trials = prober.trials();
        let mut consistent = Vec::new();
        for t_us in times_us {
            consistent.push(share(*t_us, prober.fresh_at(*t_us, bar)?, trials));
        }
        let mut visibility = Vec::new();
        for q in VISIBLE {
            let Some([low, middle, high]) = ranks(q, trials) else { continue };
            let low_ms = ms(prober.turn_of(low, bar)?);
            let high_ms = ms(prober.turn_of(high, bar)?);
            visibility.push(Quantile { q, ms: ms(prober.turn_of(middle, bar)?), low_ms, high_ms });
        }
        Ok(Side {
            trials: trials as u64,
            consistent,
            visibility,
            write: quantiles(&prober.write_us, &LATENCIES),
            read: quantiles(&prober.read_us, &LATENCIES),
        })
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

fn share(t_us: u64, fresh: usize, trials: usize) -> Consistent {
    Consistent { t_ms: ms(t_us), p: fresh as f64 / trials as f64 }
}

fn quantiles(sorted_us: &[u64], shares: &[f64]) -> Vec<Quantile> {
    let known = shares.iter().filter_map(|q| Some((*q, ranks(*q, sorted_us.len())?)));
    let quantile = |(q, ranks): (f64, [usize; 3])| {
        let [low_ms, middle, high_ms] = ranks.map(|rank| ms(sorted_us[rank]));
        Quantile { q, ms: middle, low_ms, high_ms }
    };
    known.map(quantile).collect()
}

/// Ranks from 0 of a quantile in a sorted sample, and of the ends of its 95 % interval: the number
/// of trials below a quantile is binomial. `None` when the sample is too small for it.
fn ranks(q: f64, trials: usize) -> Option<[usize; 3]> {
    let (count, spread) = (trials as f64, (trials as f64 * q * (1.0 - q)).sqrt() * 1.96);
    let rank = |at: f64| (at.ceil().max(1.0) as usize - 1).min(trials - 1);
    let enough = count * (1.0 - q) >= BEYOND_MIN;
    enough.then(|| [count * q - spread, count * q, count * q + spread].map(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_comes_with_the_error_of_its_sample() {
        let sorted: Vec<u64> = (1..=100_000).collect();
        let found = quantiles(&sorted, &VISIBLE);
        let of = |at: usize| (found[at].low_ms, found[at].ms, found[at].high_ms);
        assert_eq!(of(0).1, 50.0);
        // 99.9 % of 100,000: 100 trials beyond, give or take 1.96 times ten.
        assert_eq!(of(2), (99.881, 99.9, 99.92));
        assert_eq!(found.len(), 3, "too few for 99.99 %");
        assert_eq!(quantiles(&sorted[..9_000], &VISIBLE).len(), 2, "too few for 99.9 %");
    }
}
