//! Explaining an object: every replica that may know something of it reports what it knows.

use super::write::Doing;
use crate::cluster::View;
use crate::crdt::{NodeId, ObjectId};
use crate::placement::{PreferenceList, partition_of};
use crate::wire::api::Reply;
use crate::wire::peer::{OpId, PeerBody, ReplicaReport};
use std::collections::BTreeMap;

/// Replicas asked at most: owners, then stand-ins in order.
const ASKED_MAX: usize = 24;

/// A report being gathered.
#[derive(Debug)]
pub(super) struct Explain {
    object: ObjectId,
    list: PreferenceList,
    reports: BTreeMap<NodeId, ReplicaReport>,
    asked: Vec<NodeId>,
    pub(super) deadline_us: u64,
}

impl Explain {
    /// Asks everybody.
    pub(super) fn begin(
        view: &View,
        op: OpId,
        object: ObjectId,
        list: PreferenceList,
        deadline_us: u64,
        doing: &mut Doing,
    ) -> Explain {
        let asked: Vec<NodeId> = list.nodes.iter().take(ASKED_MAX).copied().collect();
        for node in asked.iter().filter(|node| view.is_alive(**node)) {
            doing.sends.push((*node, PeerBody::Inspect { op, object: object.clone() }));
        }
        Explain { object, list, reports: BTreeMap::new(), asked, deadline_us }
    }

    /// A report has come.
    pub(super) fn on_report(
        &mut self,
        view: &View,
        from: NodeId,
        report: ReplicaReport,
        doing: &mut Doing,
    ) {
        if self.asked.contains(&from) {
            self.reports.insert(from, report);
        }
        let heard = |node: &NodeId| self.reports.contains_key(node) || !view.is_alive(*node);
        if self.asked.iter().all(heard) {
            self.finish(view, doing);
        }
    }

    /// Answers with what has come so far.
    pub(super) fn finish(&mut self, view: &View, doing: &mut Doing) {
        let mut replicas = Vec::new();
        let mut silent = Vec::new();
        for node in &self.asked {
            match self.reports.remove(node) {
                Some(report) => {
                    let knows = report.state.is_some() || !report.owed.is_empty();
                    if report.owner || knows || report.error.is_some() {
                        replicas.push(report);
                    }
                }
                None if self.list.owners().contains(node) => silent.push(view.name_of(*node)),
                None => {}
            }
        }
        let partition = partition_of(&self.object);
        let layout = view.layout_id;
        doing.reply = Some(Reply::Explained { replicas, silent, layout, partition });
        doing.done = true;
    }
}
