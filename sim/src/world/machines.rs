//! Nodes in the world: starting, stopping, stepping, their disks and the conditions around them.

use super::{Asker, Event, Phase, World};
use crate::faults::{self, Conditions, Stop};
use crate::gossip::INTERVAL_US;
use rand::Rng as _;
use starling_node::core::{Input, Outbox, Output};
use starling_node::store::{Lsn, StoreError};
use starling_node::wire::api::RequestId;

impl World {
    /// Starts a node, at a whole millisecond.
    pub(super) fn start(&mut self, node: usize) {
        self.now_us = self.now_us.next_multiple_of(1_000);
        let skew_ms = self.conditions.machines[node].skew_ms;
        if let Err(error) = self.nodes[node].start(self.now_us, skew_ms) {
            self.findings
                .violation("restarts", format!("{} did not open: {error}", self.nodes[node]));
            return;
        }
        self.trace.add(self.now_us, format_args!("{} starts", self.nodes[node]));
        let full = self.conditions.machines[node].full.then_some(StoreError::Full);
        self.nodes[node].disk_mut().fail_writes(full);
        self.gossip.start(self.now_us, node, &self.nodes[node].identity());
        self.nodes[node].gossip_due_us = Some(self.now_us + INTERVAL_US);
        self.push(self.now_us + INTERVAL_US, Event::GossipRound);
        self.send_gossip();
        self.show_members(node);
        self.schedule_tick(node);
        self.note_states();
    }

    /// Starts a node that was down, when its process has had the time for it.
    fn start_again(&mut self, node: usize) {
        let rng = &mut self.starts_rng;
        let mut draws_us = || rng.random_range(self.start_us / 2..=self.start_us * 3 / 2);
        // A start is at a whole millisecond: time must not leap over what is due before that.
        let mut runs_us = || (self.now_us + draws_us()).next_multiple_of(1_000);
        let runs_us = *self.starting_us[node].get_or_insert_with(&mut runs_us);
        match self.now_us < runs_us {
            true => self.push(runs_us, Event::Faults),
            false => {
                self.starting_us[node] = None;
                self.start(node);
            }
        }
    }

    pub(super) fn stop(&mut self, node: usize, stop: Stop) {
        self.drop_pause(node);
        let ended = self.nodes[node].stop(self.now_us, stop, &mut self.disk_rng);
        self.trace.add(self.now_us, format_args!("{} stops: {stop:?}, {ended}", self.nodes[node]));
        self.findings.count(
            match stop {
                Stop::Clean => "clean_stops",
                Stop::Torn => "torn_batches",
                Stop::Crash | Stop::Unsynced => "crashes",
            },
            1,
        );
        self.gossip.stop(node);
        self.hang_up(node);
        let lost: Vec<RequestId> = self.asked_of(node);
        for id in lost {
            if let Some(Asker::Client(place)) = self.asked.remove(&id) {
                let client = self.history.records[place].client;
                let pause_us = self.workload.pause_us();
                self.go_on(client, self.now_us + pause_us);
            }
        }
        self.note_states();
    }

    pub(super) fn asked_of(&self, node: usize) -> Vec<RequestId> {
        let is_there = |asker: &Asker| match asker {
            Asker::Harness => false,
            Asker::Admin(at) => *at == node,
            Asker::Client(place) => self.history.records[*place].node == node,
        };
        self.asked.iter().filter(|(_, asker)| is_there(asker)).map(|(id, _)| *id).collect()
    }

    pub(super) fn step(&mut self, node: usize, input: Input) {
        let mut out = Outbox::new();
        if !self.nodes[node].step(self.now_us, input, &mut out) {
            return;
        }
        for output in out {
            self.output(node, output);
        }
        self.schedule_tick(node);
    }

    pub(super) fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Reply(id, reply) => self.reply(node, id, reply),
            Output::Send(to, message) => self.send(node, to, &message),
            Output::Sync(_) => self.sync(node),
            Output::Layout(layout) => {
                let id = layout.id();
                self.trace.add(self.now_us, format_args!("{} layout {id}", self.nodes[node]));
                if self.nodes[node].is_up() {
                    self.gossip.announce_layout(node, id);
                }
            }
            Output::Halt(why) => {
                let who = self.nodes[node].to_string();
                self.trace.add(self.now_us, format_args!("{who} halts: {why}"));
                if !self.conditions.machines[node].sync_fails {
                    self.findings.violation("no_halt", format!("{who} halted: {why}"));
                }
                if self.nodes[node].is_up() {
                    self.stop(node, Stop::Crash);
                }
            }
        }
    }

    pub(super) fn schedule_tick(&mut self, node: usize) {
        if let Some((at_us, life)) = self.nodes[node].next_tick(self.now_us) {
            self.push(at_us, Event::Tick { node, life });
        }
    }

    pub(super) fn tick(&mut self, node: usize, life: u64) {
        if self.nodes[node].take_tick(self.now_us, life) {
            self.trace.add(self.now_us, format_args!("{} tick", self.nodes[node]));
            self.step(node, Input::Tick);
        }
    }

    pub(super) fn sync(&mut self, node: usize) {
        if let Some(upto) = self.nodes[node].begin_sync() {
            let slow_us = self.conditions.machines[node].sync_us;
            let mut takes_us = self.disk_rng.random_range(100..2_000);
            if slow_us > 0 {
                takes_us += self.disk_rng.random_range(0..=slow_us);
            }
            let life = self.nodes[node].life;
            self.push(self.now_us + takes_us, Event::Synced { node, life, upto });
        }
    }

    pub(super) fn synced(&mut self, node: usize, life: u64, upto: Lsn) {
        if self.conditions.machines[node].sync_fails {
            return self.sync_failed(node, life);
        }
        if self.nodes[node].end_sync(life, upto) {
            self.trace.add(self.now_us, format_args!("{} synced {}", self.nodes[node], upto.0));
            self.step(node, Input::Synced(upto));
            if self.nodes[node].wants_sync() {
                self.sync(node);
            }
        }
    }

    /// "After a failed sync nothing may be acknowledged; the node stops."
    fn sync_failed(&mut self, node: usize, life: u64) {
        if !self.nodes[node].is_up() || self.nodes[node].life != life {
            return;
        }
        self.trace.add(self.now_us, format_args!("{} fails to sync", self.nodes[node]));
        self.findings.count("failed_syncs", 1);
        self.step(node, Input::SyncFailed("input/output error".into()));
        if self.nodes[node].is_up() {
            let who = self.nodes[node].to_string();
            let detail = format!("{who} goes on after a sync that failed");
            self.findings.violation("stops_after_a_failed_sync", detail);
            self.stop(node, Stop::Crash);
        }
    }

    pub(super) fn faults_changed(&mut self) {
        if self.phase != Phase::Faults {
            // A node that was being restored when everything healed.
            return self.lay_conditions(Conditions::fair(self.nodes.len()));
        }
        let since_ms = (self.now_us - self.faults_from_us) / 1_000;
        let conditions = faults::conditions(&self.plan, self.nodes.len(), since_ms);
        let strikes = faults::strikes(&self.plan, since_ms);
        self.lay_conditions(conditions);
        for strike in strikes {
            self.strike(strike);
        }
    }

    pub(super) fn lay_conditions(&mut self, conditions: Conditions) {
        self.trace
            .add(self.now_us, format_args!("conditions {}", crate::names::faults(&conditions)));
        self.conditions = conditions;
        self.settled_us = self.now_us;
        for node in 0..self.nodes.len() {
            let machine = self.conditions.machines[node];
            self.nodes[node].clock.skew_ms = machine.skew_ms;
            self.skew_max_ms = self.skew_max_ms.max(machine.skew_ms.unsigned_abs());
            self.nodes[node].disk_mut().fail_writes(machine.full.then_some(StoreError::Full));
            let held_down = machine.sync_fails || self.now_us < self.damage.down_until_us[node];
            match (self.nodes[node].is_up(), machine.down) {
                (true, Some(stop)) => self.stop(node, stop),
                (false, None) if !held_down => self.start_again(node),
                _ => {}
            }
            if machine.down.is_some() {
                self.starting_us[node] = None;
            }
            match (self.is_paused(node), machine.paused && self.nodes[node].is_up()) {
                (false, true) => self.pause(node),
                (true, false) => self.unpause(node),
                _ => {}
            }
        }
        self.note_states();
    }
}
