//! One run, inside namespaces of its own: start, clients and faults, recovery, judgement.

use crate::breaker::{Breaker, Wrong};
use crate::checks::{self, Findings};
use crate::clients;
use crate::faults::{Kind, Scheduled};
use crate::figures::{self, Figures};
use crate::history::{Action, Object, Outcome, Record};
use crate::net::{HTTP, host};
use crate::process::Setup;
use crate::scenario::Scenario;
use crate::settle::Cluster;
use crate::shell::run;
use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use starling_client::{Client, Options, Quorum};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// For a cluster to come up, and for one to recover: an exchange comes every minute.
const START_MAX: Duration = Duration::from_secs(60);
const RECOVERY_MAX: Duration = Duration::from_secs(180);
/// Between rounds of gossip, as in the simulator, ms.
const GOSSIP_MS: u64 = 500;
/// What was acknowledged so short before a disk is lost, by one replica alone, may be lost too.
const ALONE: Duration = Duration::from_secs(2);

/// What came out of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// Its seed, which is the number of the run in `all`.
    pub seed: u64,
    /// How long clients lasted.
    pub seconds: u64,
    /// Numbers.
    pub figures: Figures,
    /// What checks found.
    pub findings: Findings,
    /// Processes that ended, or lived on, and should not have; recovery that did not come.
    pub wrong: Vec<String>,
    /// What the simulator says of the same file, from one seed or from several.
    #[serde(default)]
    pub predictions: Vec<Figures>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        let found = &self.findings;
        found.lost + found.counters_wrong + found.invented == 0 && self.wrong.is_empty()
    }
}

/// Runs a scenario; `dir` is empty and stays.
///
/// # Errors
/// The rig itself failed; broken promises are in the report.
pub fn one(scenario: &Scenario, program: &Path, dir: &Path) -> anyhow::Result<Report> {
    let secret = dir.join("secret");
    std::fs::write(&secret, "a secret for this run alone, long enough\n")?;
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600))?;
    std::fs::write(dir.join("config.toml"), format!("gossip_interval_ms = {GOSSIP_MS}\n"))?;
    let zones = scenario.cluster.zones.clone();
    let nodes = zones.len();
    let setup = Setup {
        program: program.to_owned(),
        dir: dir.to_owned(),
        zones,
        shifted: vec![false; nodes],
    };
    let wrong = Wrong::default();
    let breaker = Breaker::start(scenario.plan(), setup, wrong.clone())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (figures, findings) = runtime.block_on(inside(scenario, program, breaker, &wrong))?;
    let wrong = std::mem::take(&mut *wrong.lock().expect("nobody panics with it"));
    let (name, seed, seconds) = (scenario.name.clone(), scenario.seed, scenario.seconds);
    Ok(Report { name, seed, seconds, figures, findings, wrong, predictions: Vec::new() })
}

async fn inside(
    scenario: &Scenario,
    program: &Path,
    mut breaker: Breaker,
    wrong: &Wrong,
) -> anyhow::Result<(Figures, Findings)> {
    let nodes = scenario.cluster.zones.len();
    let cluster = Cluster::new(nodes);
    form(&cluster, program, nodes).await.context("starting the cluster")?;
    let begun = Instant::now();
    let (over, is_over) = tokio::sync::oneshot::channel();
    let faults = spawn_blocking(move || {
        let gone = breaker.go_through(begun).map(|()| breaker);
        let _ = over.send(()); // Nobody waits where there is no fault.
        gone
    });
    let watch = tokio::spawn(watch(cluster.clone(), scenario.clone(), begun, is_over));
    let (load, seconds) = (&scenario.workload, scenario.seconds);
    let records = clients::run(load, nodes, scenario.seed, begun, seconds).await?;
    let mut breaker = faults.await??;
    breaker.look_after();
    let say = |what: String| wrong.lock().expect("nobody panics with it").push(what);
    let (recovery_s, look_ms) = watch.await?.unwrap_or_else(|why| {
        say(format!("no recovery: {why}"));
        (None, None)
    });
    let (values, unsettled) = last_words(&cluster, &records, nodes).await;
    unsettled.into_iter().for_each(&say);
    breaker.finish();
    let start_ms = breaker.start_ms();
    let odd = records.iter().filter(|record| matches!(record.outcome, Outcome::Odd(_)));
    odd.clone().take(5).for_each(|record| say(format!("an odd answer: {record:?}")));
    let plan = scenario.plan();
    let findings = checks::judge(&records, &values, |record| held_alone(&plan, record));
    let ms = Duration::from_millis;
    let spans: Vec<_> = plan.iter().map(|fault| ms(fault.from_ms)..ms(fault.until_ms)).collect();
    let counted = figures::count(&records, &spans);
    let figures = Figures {
        recovery_s,
        start_ms,
        look_ms,
        lost: findings.lost,
        counters_exact: findings.counters_wrong == 0,
        ..counted
    };
    explain_failures(&records);
    Ok((figures, findings))
}

/// Waits for all nodes, forms the cluster and waits until it is ready.
async fn form(cluster: &Cluster, program: &Path, nodes: usize) -> anyhow::Result<()> {
    let until = Instant::now() + START_MAX;
    let (program, count) = (program.display().to_string(), nodes.to_string());
    let url = format!("http://{}:{HTTP}", host(0));
    let mut applied = Err(anyhow!("not tried"));
    while applied.is_err() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let apply = ["cluster", "apply", "--url", &url, "--expect-members", &count];
        applied = run(&program, &apply);
    }
    applied?;
    cluster.calm(until).await.map_err(anyhow::Error::msg)?;
    Ok(())
}

/// How long after the end of the last fault nothing of it was left, s, and how long a look took
/// at least, ms.
async fn watch(
    cluster: Cluster,
    scenario: Scenario,
    begun: Instant,
    is_over: tokio::sync::oneshot::Receiver<()>,
) -> Result<(Option<f64>, Option<u64>), String> {
    let Some(end_ms) = scenario.plan().iter().map(|fault| fault.until_ms).max() else {
        return Ok((None, None));
    };
    let end = begun + Duration::from_millis(end_ms);
    tokio::time::sleep_until(end.into()).await;
    // What ends a fault may take a moment, such as a restart from another disk.
    is_over.await.map_err(|_| "the faults could not be made".to_owned())?;
    let until = end + RECOVERY_MAX;
    let looks = cluster.calm(until).await?;
    let mut last = Instant::now();
    let look_ms = looks.iter().min().map(|took| took.as_millis() as u64);
    let since = |then: Instant| then.saturating_duration_since(end).as_secs_f64();
    eprintln!("all hear all and nothing is owed {:.1} s after the faults", since(last));
    let keys = 0..scenario.workload.keys;
    let types = crate::history::Type::ALL;
    let objects: BTreeSet<Object> = types
        .into_iter()
        .flat_map(|tag| keys.clone().map(move |key| Object { tag, key }))
        .collect();
    if let Some(equal) = cluster.equal(&objects, until).await? {
        eprintln!("the last object was equal {:.1} s after the faults", since(equal));
        last = last.max(equal);
    }
    Ok((Some(since(last)), look_ms))
}

/// Waits until all is quiet and equal, and reads every object from all owners.
async fn last_words(
    cluster: &Cluster,
    records: &[Record],
    nodes: usize,
) -> (BTreeMap<Object, BTreeSet<String>>, Vec<String>) {
    let until = Instant::now() + RECOVERY_MAX;
    let mut wrong = Vec::new();
    let objects: BTreeSet<Object> = records.iter().map(|record| record.object).collect();
    if let Err(why) = cluster.calm(until).await {
        wrong.push(format!("in the end: {why}"));
    }
    if let Err(why) = cluster.equal(&objects, until).await {
        wrong.push(format!("in the end: {why}"));
    }
    let mut values = BTreeMap::new();
    let options = Options { r: Some(Quorum::All), attempts: 1, ..Options::default() };
    for object in objects {
        let url = format!("http://{}:{HTTP}", host(object.key % nodes));
        let read = match Client::connect([url]) {
            Ok(http) => clients::whole(&http.with_options(options.clone()), object).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(found) => drop(values.insert(object, found)),
            Err(error) => wrong.push(format!("{object} cannot be read from all owners: {error}")),
        }
    }
    wrong.truncate(20);
    (values, wrong)
}

/// Whether the write may be gone with the disk that a fault took: one replica acknowledged it,
/// just before. An acknowledgement of two is never excused.
fn held_alone(plan: &[Scheduled], record: &Record) -> bool {
    plan.iter().any(|fault| {
        let taken_ms = match fault.fault {
            Kind::Wipe(_) => fault.from_ms,
            Kind::OldBackup(_) => fault.until_ms,
            _ => return false,
        };
        let taken = Duration::from_millis(taken_ms);
        let near = taken.saturating_sub(ALONE)..taken + Duration::from_millis(500);
        record.outcome == Outcome::Written(1) && near.contains(&record.done)
    })
}

/// Prints how often what was answered instead of success, by node.
fn explain_failures(records: &[Record]) {
    let mut reasons: BTreeMap<(usize, &str, String), usize> = BTreeMap::new();
    for record in records {
        let (kind, text) = match &record.outcome {
            Outcome::Unknown(text) => ("unknown", text),
            Outcome::Refused(text) => ("refused", text),
            Outcome::Odd(text) => ("odd", text),
            _ => continue,
        };
        let what = if matches!(record.action, Action::Read) { "read" } else { "write" };
        let text: String = text.chars().take(110).collect();
        *reasons.entry((record.node, kind, format!("{what}: {text}"))).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((node, kind, text), count) in reasons.into_iter().take(24) {
        eprintln!("{count:>6} {kind} at node{node}, {text}");
    }
}
