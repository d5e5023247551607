//! Puts a plan of faults into force on real processes. What a fault means at a moment is asked of
//! the simulator's own code, so a schedule means the same in both.

use crate::disk;
use crate::faults::{self, Conditions, Machine, Plan, Stop, Strike};
use crate::net::{Net, namespace};
use crate::process::{Process, Setup, Tamper};
use crate::proxy::{Pair, Way};
use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What went otherwise than it must: a node that died, or one that lived on.
pub type Wrong = Arc<Mutex<Vec<String>>>;

/// The network, the processes and what is done to them.
pub struct Breaker {
    plan: Plan,
    net: Net,
    nodes: Vec<Process>,
    proxies: Vec<Child>,
    pairs: Vec<Vec<Pair>>,
    now: Conditions,
    /// Nodes that end by themselves when their disk fails them.
    may_end: Vec<bool>,
    /// Nodes whose clocks are to shift and have not said so yet.
    to_shift: Vec<bool>,
    /// Nodes that were started again and took no request yet, and since when.
    starting: Vec<(usize, Instant)>,
    /// How long starts took.
    started: Vec<Duration>,
    wrong: Wrong,
}

/// Which faults a plan can lay on whom, over all its moments.
struct Reach {
    proxied: bool,
    shifted: Vec<bool>,
    filled: Vec<bool>,
}

impl Reach {
    fn of(plan: &Plan, nodes: usize) -> anyhow::Result<Reach> {
        let mut reach =
            Reach { proxied: false, shifted: vec![false; nodes], filled: vec![false; nodes] };
        for at_ms in faults::moments(plan) {
            let conditions = faults::conditions(plan, nodes, at_ms);
            let fair = Conditions::fair(nodes);
            ensure!(conditions.load == fair.load, "faults of load are for the simulator alone");
            let links = conditions.links.iter().flatten();
            reach.proxied |= links.clone().any(|link| !Way::from(link).is_plain());
            for (node, machine) in conditions.machines.iter().enumerate() {
                reach.shifted[node] |= machine.skew_ms != 0;
                reach.filled[node] |= machine.full;
                let power = matches!(machine.down, Some(Stop::Torn | Stop::Unsynced));
                ensure!(!power, "a process that is killed loses no unsynced data; use `crash`");
            }
            let flips = |strike: &Strike| matches!(strike, Strike::Flip { .. });
            ensure!(
                !faults::strikes(plan, at_ms).iter().any(flips),
                "bit flips need the simulator"
            );
        }
        Ok(reach)
    }
}

impl Breaker {
    /// Makes the network and starts all nodes.
    ///
    /// # Errors
    /// The plan has faults that real processes cannot have, or something cannot be made.
    pub fn start(plan: Plan, mut setup: Setup, wrong: Wrong) -> anyhow::Result<Breaker> {
        let count = setup.zones.len();
        let reach = Reach::of(&plan, count)?;
        let net = Net::make(count, reach.proxied).context("making the network")?;
        let mut proxies = Vec::new();
        for node in (0..count).filter(|_| reach.proxied) {
            proxies.push(proxy(node, count)?);
        }
        setup.shifted = reach.shifted;
        let mut nodes = Vec::new();
        for node in 0..count {
            let mut process = Process::new(&setup, node)?;
            if reach.filled[node] {
                disk::make_small(&process.data())?;
            }
            process.start()?;
            nodes.push(process);
        }
        let (now, may_end) = (Conditions::fair(count), vec![false; count]);
        let pairs = vec![vec![Pair::default(); count]; count];
        let to_shift = setup.shifted;
        Ok(Breaker {
            plan,
            net,
            nodes,
            proxies,
            pairs,
            now,
            may_end,
            to_shift,
            starting: Vec::new(),
            started: Vec::new(),
            wrong,
        })
    }

    /// Goes through the plan, which began at `begun`, to its end.
    ///
    /// # Errors
    /// A fault cannot be made.
    pub fn go_through(&mut self, begun: Instant) -> anyhow::Result<()> {
        let mut restarts: Vec<(u64, usize)> = Vec::new();
        let mut moments = faults::moments(&self.plan);
        moments.reverse();
        while let Some(at_ms) = moments.pop() {
            let due = begun + Duration::from_millis(at_ms);
            while Instant::now() < due {
                let pause = if self.starting.is_empty() { POLL } else { SOON };
                std::thread::sleep(due.saturating_duration_since(Instant::now()).min(pause));
                self.note_started();
                self.look_after();
                self.ask_clocks();
            }
            for (_, node) in restarts.extract_if(.., |(due_ms, _)| *due_ms <= at_ms) {
                self.start_again(node)?;
            }
            let strikes = faults::strikes(&self.plan, at_ms);
            let next = faults::conditions(&self.plan, self.nodes.len(), at_ms);
            self.change(next, &strikes).with_context(|| format!("the faults at {at_ms} ms"))?;
            for strike in strikes {
                if let Strike::Restore { node, down_ms } = strike {
                    let back_ms = at_ms + down_ms;
                    restarts.push((back_ms, node));
                    let place = moments.partition_point(|later| *later > back_ms);
                    moments.insert(place, back_ms);
                }
            }
        }
        self.await_started();
        Ok(())
    }

    fn start_again(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].start()?;
        self.starting.push((node, Instant::now()));
        Ok(())
    }

    /// Waits until nodes that were started again take requests, but not for long.
    fn await_started(&mut self) {
        let until = Instant::now() + START_MAX;
        while !self.starting.is_empty() && Instant::now() < until {
            std::thread::sleep(SOON);
            self.note_started();
        }
    }

    fn note_started(&mut self) {
        let nodes = &self.nodes;
        let there = self.starting.extract_if(.., |(node, _)| nodes[*node].listens());
        self.started.extend(there.map(|(_, since)| since.elapsed()));
    }

    /// How long nodes needed to start again, ms: the median; none if none had to.
    pub fn start_ms(&mut self) -> Option<u64> {
        self.started.sort_unstable();
        self.started.get(self.started.len() / 2).map(|took| took.as_millis() as u64)
    }

    /// Reports processes that ended and had no reason to.
    pub fn look_after(&mut self) {
        for node in 0..self.nodes.len() {
            match self.nodes[node].ended() {
                Ok(None) => {}
                Ok(Some(_)) if self.may_end[node] => {}
                Ok(Some(how)) => self.report(how),
                Err(error) => self.report(format!("node{node}: {error:#}")),
            }
        }
    }

    /// Notes clocks that are off as they should be. An HTTP server that keeps the date for its next
    /// answers does not show one that is behind: then the library must be there.
    fn ask_clocks(&mut self) {
        for node in 0..self.nodes.len() {
            let machine = self.now.machines[node];
            let (off_s, process) = (machine.skew_ms / 1_000, &self.nodes[node]);
            if self.to_shift[node] && off_s != 0 && machine.down.is_none() {
                let shows = match off_s > 0 {
                    true => process.off_s().map(|shown| shown.abs_diff(off_s) <= 2),
                    false => process.has_library(),
                };
                self.to_shift[node] = !shows.unwrap_or(false);
            }
        }
    }

    /// Ends what is beside the nodes, and reports faults that did not take hold.
    pub fn finish(&mut self) {
        self.look_after();
        for node in 0..self.nodes.len() {
            if self.to_shift[node] {
                self.report(format!("the clock of node{node} did not shift"));
            }
        }
        for mut proxy in std::mem::take(&mut self.proxies) {
            drop(proxy.stdin.take());
            if !proxy.wait().is_ok_and(|status| status.success()) {
                self.report("a proxy failed, or nothing came by it".into());
            }
        }
    }

    fn report(&self, what: String) {
        eprintln!("{what}");
        self.wrong.lock().expect("nobody panics with it").push(what);
    }

    fn change(&mut self, next: Conditions, strikes: &[Strike]) -> anyhow::Result<()> {
        let before = std::mem::replace(&mut self.now, next.clone());
        self.net.apply(&next.links)?;
        self.tell_proxies(&next)?;
        let machines = || before.machines.iter().zip(&next.machines).enumerate();
        for (node, (old, new)) in machines() {
            self.worsen(node, old, new).with_context(|| format!("node{node}"))?;
        }
        for strike in strikes {
            self.strike(*strike)?;
        }
        for (node, (old, new)) in machines() {
            self.mend(node, old, new).with_context(|| format!("node{node}"))?;
        }
        Ok(())
    }

    fn worsen(&mut self, node: usize, old: &Machine, new: &Machine) -> anyhow::Result<()> {
        let process = &mut self.nodes[node];
        if old.skew_ms != new.skew_ms {
            process.shift(new.skew_ms)?;
        }
        if let (None, Some(stop)) = (old.down, new.down) {
            process.stop(stop == Stop::Clean)?;
        }
        if !old.paused && new.paused {
            process.signal("STOP")?;
        }
        if !old.full && new.full {
            self.may_end[node] = true;
            disk::fill(&process.data())?;
        }
        if !old.sync_fails && new.sync_fails {
            self.may_end[node] = true;
            process.tamper(Some(Tamper::Fail))?;
        } else if old.sync_us != new.sync_us && !new.sync_fails {
            // The simulator draws up to that much; here it is the mean each time.
            let slow = (new.sync_us > 0).then_some(Tamper::Slow(new.sync_us / 2));
            process.tamper(slow)?;
        }
        Ok(())
    }

    fn mend(&mut self, node: usize, old: &Machine, new: &Machine) -> anyhow::Result<()> {
        if old.paused && !new.paused {
            self.nodes[node].signal("CONT")?;
        }
        let disk_is_well = !new.full && !new.sync_fails;
        if (old.full || old.sync_fails) && disk_is_well {
            self.look_after();
            if old.sync_fails && self.nodes[node].is_up() && new.down.is_none() {
                self.report(format!("node{node} went on although its syncs failed"));
                self.nodes[node].stop(false)?;
            }
            self.nodes[node].tamper(None)?;
            if old.full {
                disk::free(&self.nodes[node].data())?;
            }
            self.may_end[node] = false;
        }
        let back = old.down.is_some() && new.down.is_none();
        let ended = (old.full || old.sync_fails) && disk_is_well && new.down.is_none();
        if (back || ended) && !self.nodes[node].is_up() {
            self.start_again(node)?;
        }
        Ok(())
    }

    fn strike(&mut self, strike: Strike) -> anyhow::Result<()> {
        match strike {
            Strike::Wipe { node } => {
                self.nodes[node].stop(false)?;
                disk::wipe(&self.nodes[node].data())
            }
            Strike::Backup { node } => {
                let process = &mut self.nodes[node];
                process.signal("STOP")?;
                disk::back_up(&process.data())?;
                process.signal("CONT")
            }
            Strike::Restore { node, .. } => {
                self.nodes[node].stop(false)?;
                disk::restore(&self.nodes[node].data())
            }
            Strike::Flip { .. } => bail!("bit flips need the simulator"),
        }
    }

    fn tell_proxies(&mut self, next: &Conditions) -> anyhow::Result<()> {
        for (node, proxy) in self.proxies.iter_mut().enumerate() {
            let pair = |to: usize| Pair {
                out: Way::from(&next.links[node][to]),
                back: Way::from(&next.links[to][node]),
            };
            let pairs: Vec<Pair> = (0..self.nodes.len()).map(pair).collect();
            if self.pairs[node] != pairs {
                let stdin = proxy.stdin.as_mut().context("the proxy has no input")?;
                writeln!(stdin, "{}", serde_json::to_string(&pairs)?).context("a proxy ended")?;
                self.pairs[node] = pairs;
            }
        }
        Ok(())
    }
}

const POLL: Duration = Duration::from_millis(50);
/// While a process is starting.
const SOON: Duration = Duration::from_millis(5);
/// For a process to take requests.
const START_MAX: Duration = Duration::from_secs(10);

/// Starts the proxy of a node and waits until it listens.
fn proxy(node: usize, nodes: usize) -> anyhow::Result<Child> {
    let mut child = Command::new("ip")
        .args(["netns", "exec", &namespace(node)])
        .arg(std::env::current_exe()?)
        .args(["proxy", &node.to_string(), &nodes.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("the proxy has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(line.trim() == "ready", "the proxy of node{node} did not start");
    Ok(child)
}

impl Drop for Breaker {
    fn drop(&mut self) {
        for proxy in &mut self.proxies {
            let _ = proxy.kill();
            let _ = proxy.wait();
        }
    }
}
