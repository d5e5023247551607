//! Clients in the world: what they ask, what they are told, and when they stop waiting.

use super::{ANSWER_SLACK_US, Asker, Event, World};
use crate::checks;
use crate::history::{Outcome, Record};
use crate::names;
use starling_node::core::Input;
use starling_node::wire::api::{Failure, Options, Reply, Request, RequestId};

impl World {
    pub(super) fn ask(&mut self, node: usize, asker: Asker, request: Request) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let timeout_us = match &request {
            Request::Write { options: Options { timeout_ms: Some(ms), .. }, .. }
            | Request::Read { options: Options { timeout_ms: Some(ms), .. }, .. } => {
                u64::from(*ms) * 1_000
            }
            _ => self.nodes[node].timeout_us(),
        };
        self.asked.insert(id, asker);
        self.push(self.now_us + timeout_us + ANSWER_SLACK_US, Event::GiveUp(id));
        match self.is_paused(node) {
            true => {
                let (life, request) = (self.nodes[node].life, Box::new(request));
                self.push(self.now_us, Event::Ask { node, life, id, request });
            }
            false => self.step(node, Input::Client(id, request)),
        }
    }

    /// A request that waited for a paused node.
    pub(super) fn take_ask(&mut self, node: usize, life: u64, id: RequestId, request: Request) {
        if self.nodes[node].life == life {
            self.step(node, Input::Client(id, request));
        }
    }

    /// When a client asks next, microseconds.
    fn next_ask_us(&mut self) -> u64 {
        self.now_us + (self.workload.pause_us() / self.conditions.load.times).max(1)
    }

    /// Lets a client that waits for answers go on; the others have their own times.
    pub(super) fn go_on(&mut self, client: usize, at_us: u64) {
        if self.workload.period_us().is_none() {
            self.push(at_us, Event::Client(client));
        }
    }

    pub(super) fn ask_harness(&mut self, node: usize, request: Request) {
        self.ask(node, Asker::Harness, request);
    }

    pub(super) fn client(&mut self, client: usize) {
        if self.now_us >= self.clients_until_us {
            return;
        }
        if let Some(period_us) = self.workload.period_us() {
            let at_us = self.now_us + (period_us / self.conditions.load.times).max(1);
            self.push(at_us, Event::Client(client));
        }
        self.begin(client);
    }

    /// Asks at once what was not acknowledged.
    pub(super) fn again(&mut self, client: usize) {
        if self.now_us < self.clients_until_us && self.workload.again(client) {
            self.begin(client);
        }
    }

    fn begin(&mut self, client: usize) {
        let up: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].is_ready()).collect();
        if up.is_empty() && self.workload.period_us().is_none() {
            let pause_us = self.workload.pause_us();
            self.push(self.now_us + pause_us, Event::Client(client));
            return;
        }
        let node = self.workload.asks(client, self.nodes.len(), &up);
        let intent = self.workload.next(client);
        let place = self.history.records.len();
        self.trace.add(
            self.now_us,
            format_args!(
                "client {client} asks {} #{place} {}",
                self.nodes[node],
                names::intent(&intent)
            ),
        );
        let request = intent.request();
        let (invoked_us, done_us) = (self.now_us, u64::MAX);
        let outcome = Outcome::Unanswered;
        let (lost, unremoved) = (false, false);
        let record = Record { client, node, invoked_us, done_us, intent, outcome, lost, unremoved };
        self.history.records.push(record);
        // A client that goes on at its pace asks its node as soon as that runs; others are sent by
        // somebody who knows which ones are ready.
        let serves = match self.workload.period_us() {
            Some(_) => self.nodes[node].is_up(),
            None => up.contains(&node),
        };
        if !serves {
            let refused = Failure::Unavailable("the node does not serve".into());
            return self.answered(node, place, Reply::Failed(refused));
        }
        self.ask(node, Asker::Client(place), request);
    }

    pub(super) fn reply(&mut self, node: usize, id: RequestId, reply: Reply) {
        match self.asked.remove(&id) {
            None if self.late.remove(&id) => {}
            None => {
                let late = format!("{} answered request {} twice or late", self.nodes[node], id.0);
                self.findings.violation("answers_once", late);
            }
            Some(Asker::Harness) => self.harness_reply = Some(reply),
            Some(Asker::Admin(_)) => {
                let name = names::reply(&reply);
                self.count_reply(&reply);
                self.trace.add(
                    self.now_us,
                    format_args!("{} answers request {} {name}", self.nodes[node], id.0),
                );
            }
            Some(Asker::Client(place)) => self.answered(node, place, reply),
        }
    }

    /// Counts what kind of failure a reply is.
    fn count_reply(&mut self, reply: &Reply) {
        if let Reply::Failed(failure) = reply {
            self.findings.count(names::failure(failure), 1);
            if let Failure::Refused(error) = failure {
                self.findings.count(names::op_error(error), 1);
            }
        }
    }

    pub(super) fn answered(&mut self, node: usize, place: usize, reply: Reply) {
        self.count_reply(&reply);
        let outcome = match reply {
            Reply::Written(written) => Outcome::Written(Box::new(written)),
            Reply::Read(read) => Outcome::Read(Box::new(read)),
            Reply::Failed(Failure::Unknown(_)) => Outcome::Unknown,
            Reply::Failed(failure) => Outcome::NotApplied(failure),
            other => {
                let wrong = format!("operation #{place} was answered with {other:?}");
                self.findings.violation("answers_fit", wrong);
                return;
            }
        };
        let who = &self.nodes[node];
        let name = names::outcome(&outcome);
        self.trace.add(self.now_us, format_args!("{who} answers #{place} {name}"));
        let record = &mut self.history.records[place];
        (record.done_us, record.outcome) = (self.now_us, outcome);
        let record = &self.history.records[place];
        self.workload.learn(record);
        checks::quorum_counted::at_answer(place, record, &self.nodes, &mut self.findings);
        let now = (&self.conditions, self.settled_us);
        checks::reads_counted::at_answer(place, record, &self.nodes, now, &mut self.findings);
        let client = record.client;
        let again = self.workload.retry(record, self.conditions.load.retries);
        match (again, self.workload.period_us()) {
            (true, Some(_)) => self.push(self.now_us + 1_000, Event::Again(client)),
            (false, Some(_)) => {}
            (true, None) => self.push(self.now_us + 1_000, Event::Client(client)),
            (false, None) => {
                let at_us = self.next_ask_us();
                self.push(at_us, Event::Client(client));
            }
        }
    }

    pub(super) fn give_up(&mut self, id: RequestId) {
        if let Some(asker) = self.asked.remove(&id) {
            let what = match asker {
                Asker::Harness => "a request of the harness".to_string(),
                Asker::Admin(node) => {
                    if self.is_paused(node) || self.nodes[node].last_pause_us > 0 {
                        return self.late.extend([id]);
                    }
                    "a request about the cluster".to_string()
                }
                Asker::Client(place) => {
                    let record = &self.history.records[place];
                    let (client, node, since_us) = (record.client, record.node, record.invoked_us);
                    self.go_on(client, self.now_us);
                    if self.is_paused(node) || self.nodes[node].last_pause_us >= since_us {
                        // The client has gone; what comes of it is unknown.
                        return self.late.extend([id]);
                    }
                    format!("operation #{place}")
                }
            };
            self.findings.violation("answers_in_time", format!("{what} was never answered"));
        }
    }
}
