//! `starling-sim pbs`: how stale reads are with this N, R and W on these latencies; predicted by a
//! model of what a coordinator does, and measured on real cores that meet the same latencies.

pub mod cluster;
mod draws;
pub mod latency;
mod measure;
mod model;
pub mod plot;
mod print;
pub mod shape;
mod side;

pub use draws::Draws;
pub use measure::Prober;
pub use model::{Trial, predict};
pub use side::{Quantile, Side};

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use latency::Latency;
use serde::Serialize;
use shape::{Leg, Shape};
use starling_node::config::Durability;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The share of reads for which prediction and measurement are compared.
const COMPARED: f64 = 0.999;
/// How far they may be apart: relative, or in ms.
const APART: (f64, f64) = (0.1, 1.0);

/// When a replica acknowledges a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// After its group commit
    Sync,
    /// Before it
    Batched,
}

/// A question about staleness.
#[derive(Args, Clone, Debug)]
pub struct Pbs {
    /// Replicas of an object
    #[arg(long, default_value_t = 3)]
    n: usize,
    /// Replicas that answer a read
    #[arg(long, default_value_t = 1)]
    r: usize,
    /// Replicas that acknowledge a write
    #[arg(long, default_value_t = 1)]
    w: usize,
    /// Nodes of the cluster; N unless said
    #[arg(long)]
    nodes: Option<usize>,
    /// Zones that they are spread over; more than one needs --cross-latency
    #[arg(long, default_value_t = 1)]
    zones: usize,
    /// Every message: exp:MEAN_MS, lognormal:MEDIAN_MS,P99_MS, uniform:LEAST_MS,MOST_MS, const:MS,
    /// or a file of MS or MS,COUNT a line
    #[arg(long, default_value = "exp:1")]
    latency: Latency,
    /// Writes on their way to replicas (W of WARS) instead
    #[arg(long)]
    write_latency: Option<Latency>,
    /// Their acknowledgements (A) instead
    #[arg(long)]
    ack_latency: Option<Latency>,
    /// Reads and their answers (R and S) instead
    #[arg(long)]
    read_latency: Option<Latency>,
    /// Added to each message between zones
    #[arg(long)]
    cross_latency: Option<Latency>,
    /// From applying a write until it is on disk
    #[arg(long, default_value = "const:0.2")]
    sync: Latency,
    /// When a replica acknowledges
    #[arg(long, value_enum, default_value = "sync")]
    durability: When,
    /// Until a slow replica is doubled by another, ms
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    hedge_ms: u64,
    /// Times after the acknowledgement to tell about, ms
    #[arg(long, value_delimiter = ',', default_value = "0,1,2,5,10,20,50,100")]
    at: Vec<f64>,
    /// Trials of the model
    #[arg(long, default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    trials: u64,
    /// Measure on real cores too; exit status 1 when t-visibility at 99.9 % differs by more than
    /// 10 % and 1 ms
    #[arg(long)]
    measure: bool,
    /// Trials of real cores
    #[arg(long, default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    measured_trials: u64,
    /// Everything drawn follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw the curve into this SVG file
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// What was asked, and the answers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Replicas of an object.
    pub n: usize,
    /// Replicas that answer a read.
    pub r: usize,
    /// Replicas that acknowledge a write.
    pub w: usize,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Zones that they are spread over.
    pub zones: usize,
    /// Distributions of W, A, R, S, between zones, and of a sync.
    pub latencies: Vec<(String, String)>,
    /// Of the draws.
    pub seed: u64,
    /// By the model.
    pub predicted: Side,
    /// By real cores.
    pub measured: Option<Side>,
    /// What does not fit the model.
    pub warnings: Vec<String>,
    /// Whether both sides agree on t-visibility at 99.9 %.
    pub agree: Option<bool>,
}

impl Pbs {
    /// The cluster and the requests.
    ///
    /// # Errors
    /// What is impossible, as a sentence that names the option.
    pub fn shape(&self) -> Result<Shape, String> {
        let nodes = self.nodes.unwrap_or(self.n.max(2));
        Shape::check(nodes, self.zones, self.n, self.r, self.w)?;
        if self.at.iter().any(|ms| !(0.0..=3_600_000.0).contains(ms)) {
            return Err("--at takes times from 0 to 3600000 ms".into());
        }
        if self.zones == 1 && self.cross_latency.is_some() {
            return Err("--cross-latency has no meaning with one zone: say --zones".into());
        }
        if self.zones > 1 && self.cross_latency.is_none() {
            return Err("--zones makes no difference without --cross-latency".into());
        }
        let or = |leg: &Option<Latency>| leg.as_ref().unwrap_or(&self.latency).clone();
        let (write, ack, read) =
            (or(&self.write_latency), or(&self.ack_latency), or(&self.read_latency));
        Ok(Shape {
            nodes,
            zones: self.zones,
            n: self.n,
            r: self.r,
            w: self.w,
            durability: match self.durability {
                When::Sync => Durability::Sync,
                When::Batched => Durability::Batched,
            },
            hedge_us: self.hedge_ms * 1_000,
            legs: [write, ack, read.clone(), read],
            cross: self.cross_latency.clone(),
            means_us: Vec::new(),
            sync: self.sync.clone(),
            lists: Shape::lists(nodes, self.zones, self.n),
        })
    }

    fn times_us(&self) -> Vec<u64> {
        let mut times: Vec<u64> = self.at.iter().map(|ms| (ms * 1_000.0).round() as u64).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// Answers the question.
    ///
    /// # Errors
    /// What the cores said instead of an answer.
    pub fn answer(&self, shape: &Shape) -> Result<Report, String> {
        let bar = progress(!self.json);
        let predicted = self.model(shape, &bar);
        let measured = match self.measure {
            true => Some(self.cores(shape, &bar)?),
            false => None,
        };
        bar.finish_and_clear();
        let agree = measured.as_ref().map(|measured| agree(&predicted, measured));
        let mut latencies = Vec::new();
        for (name, leg) in [("W", Leg::Write), ("A", Leg::Ack), ("R and S", Leg::Read)] {
            latencies.push((name.to_string(), shape.latency(leg).to_string()));
        }
        let cross = shape.cross.iter().map(|more| ("between zones".to_string(), more.to_string()));
        latencies.extend(cross);
        latencies.push(("sync".to_string(), shape.sync.to_string()));
        Ok(Report {
            n: self.n,
            r: self.r,
            w: self.w,
            nodes: shape.nodes,
            zones: self.zones,
            latencies,
            seed: self.seed,
            predicted,
            measured,
            warnings: warnings(shape),
            agree,
        })
    }

    fn model(&self, shape: &Shape, bar: &ProgressBar) -> Side {
        bar.set_length(self.trials);
        bar.set_message("model");
        let trial = |trial: u64| {
            if trial.is_multiple_of(4_096) {
                bar.set_position(trial);
            }
            predict(shape, &Draws::new(self.seed, trial))
        };
        let trials: Vec<Trial> = (0..self.trials).map(trial).collect();
        Side::of_model(&trials, &self.times_us())
    }

    fn cores(&self, shape: &Shape, bar: &ProgressBar) -> Result<Side, String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        // Draws of their own: the two sides share nothing but the question.
        let seed = !self.seed;
        let mut prober = Prober::new(shape, seed, self.measured_trials, jobs)?;
        prober.first_look(bar)?;
        Side::of_cores(&mut prober, &self.times_us(), bar)
    }
}

/// Whether t-visibility at 99.9 % is within 10 % or 1 ms.
pub fn agree(predicted: &Side, measured: &Side) -> bool {
    let both = predicted.visible(COMPARED).zip(measured.visible(COMPARED));
    both.is_some_and(|(predicted, measured)| close(predicted.ms, measured.ms))
}

/// Whether a measured time is within 10 % or 1 ms of the predicted one.
pub fn close(predicted_ms: f64, measured_ms: f64) -> bool {
    let apart = (predicted_ms - measured_ms).abs();
    apart <= APART.1 || apart <= APART.0 * predicted_ms
}

/// Latencies that lead where the model does not go.
fn warnings(shape: &Shape) -> Vec<String> {
    let slowest = [Leg::Write, Leg::Ack, Leg::Read];
    let worst_us = slowest.map(|leg| shape.latency(leg).quantile_us(0.9999)).into_iter().max();
    let across_us = shape.cross.as_ref().map_or(0, |more| more.quantile_us(0.9999));
    let round_us = 2 * (worst_us.unwrap_or(0) + across_us) + shape.sync.quantile_us(0.9999);
    let slow = round_us > 500_000;
    let text = "some writes reach an owner later than 500 ms after their acknowledgement: from \
                then on hints deliver them, which the model leaves out, so it predicts too much";
    slow.then(|| text.to_string()).into_iter().collect()
}

/// A bar on standard error that shows itself when something takes longer than a second.
pub(crate) fn progress(shown: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    if shown {
        let late = bar.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(1));
            if !late.is_finished() {
                late.set_draw_target(ProgressDrawTarget::stderr());
            }
        });
    }
    bar
}

/// Ends the program as wrong usage does.
pub fn wrong_usage(problem: &str) -> ! {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{problem}\n")).exit()
}

/// Does what was asked; false when prediction and measurement do not agree.
///
/// # Errors
/// The cores did not answer, or a file could not be written.
pub fn run(args: &Pbs) -> io::Result<bool> {
    let shape = args.shape().unwrap_or_else(|problem| wrong_usage(&problem));
    let report = args.answer(&shape).map_err(io::Error::other)?;
    match args.json {
        true => crate::say!("{}", serde_json::to_string_pretty(&report)?),
        false => crate::out::print(format_args!("{}", print::report(&report))),
    }
    if let Some(path) = &args.plot {
        print::plot(&report, path)?;
    }
    Ok(report.agree.unwrap_or(true))
}
