//! How long something takes, as a distribution: given by name and numbers, or by a file of samples.

use crate::random::split_mix;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal, weighted::WeightedIndex};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// The 99 % quantile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// The longest time that is taken as a latency, ms: an hour.
const MAX_MS: f64 = 3_600_000.0;

/// Samples in a file at most.
const SAMPLES_MAX: usize = 10_000_000;

/// A distribution of times.
#[derive(Clone, Debug)]
pub struct Latency {
    text: String,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Const(u64),
    Uniform(u64, u64),
    Exp(Exp<f64>),
    LogNormal(LogNormal<f64>),
    Samples(Arc<(Vec<f64>, WeightedIndex<f64>)>),
}

impl Latency {
    /// A draw that depends on `key` alone, µs.
    pub fn draw_us(&self, key: u64) -> u64 {
        let mut rng = SmallRng::seed_from_u64(key);
        let ms = match &self.shape {
            Shape::Const(us) => return *us,
            Shape::Uniform(least, most) => return rng.random_range(*least..=*most),
            Shape::Exp(exp) => exp.sample(&mut rng),
            Shape::LogNormal(normal) => normal.sample(&mut rng),
            Shape::Samples(samples) => samples.0[samples.1.sample(&mut rng)],
        };
        to_us(ms.min(MAX_MS))
    }

    /// A quantile, µs, estimated from 100,000 draws: for warnings and limits.
    pub fn quantile_us(&self, q: f64) -> u64 {
        let mut state = 0;
        let mut draws: Vec<u64> =
            (0..100_000).map(|_| self.draw_us(split_mix(&mut state))).collect();
        draws.sort_unstable();
        draws[((draws.len() as f64 * q) as usize).min(draws.len() - 1)]
    }

    fn of_file(path: &str) -> Result<Shape, String> {
        let text = std::fs::read_to_string(Path::new(path)).map_err(|e| format!("{path}: {e}"))?;
        let (mut values, mut weights) = (Vec::new(), Vec::new());
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            let mut cells = line.split([',', ';', '\t']).map(str::trim);
            let first = cells.next().unwrap_or_default();
            if line.is_empty()
                || line.starts_with('#')
                || (at == 0 && first.parse::<f64>().is_err())
            {
                continue;
            }
            let cell = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
            let bad = || format!("{path}, line {}: expected MS or MS,COUNT, got {line:?}", at + 1);
            values.push(cell(first).filter(|ms| *ms <= MAX_MS).ok_or_else(bad)?);
            weights.push(cells.next().map_or(Some(1.0), cell).ok_or_else(bad)?);
            if values.len() > SAMPLES_MAX {
                return Err(format!("{path}: more than {SAMPLES_MAX} samples"));
            }
        }
        let index = WeightedIndex::new(&weights).map_err(|e| format!("{path}: {e}"))?;
        Ok(Shape::Samples(Arc::new((values, index))))
    }
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = |part: &str| match part.trim().parse::<f64>() {
            Ok(ms) if (0.0..=MAX_MS).contains(&ms) => Ok(ms),
            _ => Err(format!("{part:?} is not a time from 0 to {MAX_MS} ms")),
        };
        let shape = match text.split_once(':') {
            Some(("const", value)) => Shape::Const(to_us(ms(value)?)),
            Some(("uniform", both)) => {
                let parts = both.split_once(',').ok_or("expected uniform:LEAST,MOST")?;
                let (least, most) = (to_us(ms(parts.0)?), to_us(ms(parts.1)?));
                if most < least {
                    return Err(format!("{text}: expected LEAST <= MOST"));
                }
                Shape::Uniform(least, most)
            }
            Some(("exp", mean)) => match ms(mean)? {
                0.0 => Shape::Const(0),
                mean => Shape::Exp(Exp::new(1.0 / mean).map_err(|e| e.to_string())?),
            },
            Some(("lognormal", both)) => {
                let parts = both.split_once(',').ok_or("expected lognormal:MEDIAN,P99")?;
                let (median, p99) = (ms(parts.0)?, ms(parts.1)?);
                if median <= 0.0 || p99 < median {
                    return Err(format!("{text}: expected 0 < MEDIAN <= P99"));
                }
                let sigma = (p99 / median).ln() / Z99;
                Shape::LogNormal(LogNormal::new(median.ln(), sigma).map_err(|e| e.to_string())?)
            }
            _ if Path::new(text).exists() => Latency::of_file(text)?,
            _ => {
                return Err(format!(
                    "{text:?} is neither exp:MEAN_MS, lognormal:MEDIAN_MS,P99_MS, \
                     uniform:LEAST_MS,MOST_MS, const:MS nor a file of MS or MS,COUNT a line"
                ));
            }
        };
        Ok(Latency { text: text.to_string(), shape })
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn to_us(ms: f64) -> u64 {
    (ms * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile_ms(text: &str, q: f64) -> f64 {
        text.parse::<Latency>().unwrap().quantile_us(q) as f64 / 1_000.0
    }

    fn near(found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < 0.03, "{found} for {wanted}");
    }

    #[test]
    fn draws_have_the_quantiles_that_were_asked_for() {
        near(quantile_ms("exp:5", 0.5), 5.0 * 2f64.ln());
        near(quantile_ms("exp:5", 0.99), 5.0 * 100f64.ln());
        near(quantile_ms("lognormal:2,20", 0.5), 2.0);
        near(quantile_ms("lognormal:2,20", 0.99), 20.0);
        near(quantile_ms("const:0.25", 0.9), 0.25);
    }

    #[test]
    fn a_file_gives_its_samples_by_their_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.csv");
        std::fs::write(&path, "latency_ms,count\n1,90\n7.5,10\n").unwrap();
        let path = path.to_str().unwrap();
        assert_eq!((quantile_ms(path, 0.8), quantile_ms(path, 0.95)), (1.0, 7.5));
        std::fs::write(path, "1\nfast\n").unwrap();
        assert!(path.parse::<Latency>().unwrap_err().contains("line 2"));
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for bad in [
            "",
            "exp",
            "exp:-1",
            "exp:x",
            "lognormal:3",
            "lognormal:5,2",
            "uniform:2,1",
            "nowhere.csv",
        ] {
            assert!(bad.parse::<Latency>().is_err(), "{bad}");
        }
        assert!("fast".parse::<Latency>().unwrap_err().contains("lognormal:MEDIAN_MS"));
    }
}
