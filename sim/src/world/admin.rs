//! Requests that are about the cluster and not its data: bucket properties, explanations, status.

use super::{ADMIN_US, Asker, World};
use crate::checks;
use crate::random::stream;
use crate::workload;
use rand::Rng as _;
use rand::seq::IndexedRandom;
use starling_node::config::{BucketProps, Durability, Quorum, Resolve};
use starling_node::wire::api::Request;

impl World {
    /// Gives the second bucket properties of its own, before anything is in it.
    pub(super) fn make_side_bucket(&mut self) {
        let mut rng = stream(self.params.seed, "side bucket");
        let props = BucketProps {
            n: *[2, 3, 5].choose(&mut rng).expect("not empty"),
            r: Quorum::One,
            w: *[Quorum::One, Quorum::Quorum].choose(&mut rng).expect("not empty"),
            sloppy: rng.random_bool(0.5),
            durability: match rng.random_bool(0.5) {
                true => Durability::Sync,
                false => Durability::Batched,
            },
            resolve: match rng.random_bool(0.5) {
                true => Resolve::Siblings,
                false => Resolve::Lww,
            },
            ttl_seconds: None,
        };
        self.trace.add(self.now_us, format_args!("side bucket {props:?}"));
        self.ask(0, Asker::Admin(0), Request::PutBucket { bucket: workload::SIDE.into(), props });
        self.run_until(self.now_us + 1_000_000);
    }

    /// Asks one of these things of some node, now and then an impossible one.
    pub(super) fn admin(&mut self) {
        if self.now_us >= self.clients_until_us {
            return;
        }
        self.push(self.now_us + ADMIN_US, super::Event::Admin);
        checks::bounded_memory::look(&mut self.nodes, &mut self.findings);
        let node = self.workload.pick(self.nodes.len());
        if !self.nodes[node].is_up() {
            return;
        }
        let kind = self.workload.pick(6);
        let object = self.history.records.last().map(|record| record.intent.object.clone());
        let unused = "unused".to_string();
        let request = match (kind, object) {
            (0, _) => Request::Cluster,
            (1, _) => Request::GetBucket { bucket: workload::SIDE.into() },
            (2, _) => {
                let props =
                    BucketProps { n: self.workload.pick(9) as u8, ..BucketProps::default() };
                Request::PutBucket { bucket: unused, props }
            }
            (3, _) => Request::DeleteBucket { bucket: unused },
            (4, _) => Request::FormLayout { expect_members: self.nodes.len() as u16 },
            (_, Some(object)) => Request::Explain { object },
            (_, None) => return,
        };
        self.findings.count("admin_requests", 1);
        self.ask(node, Asker::Admin(node), request);
    }
}
