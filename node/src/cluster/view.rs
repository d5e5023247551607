//! What every part of a node looks at: who I am, who owns what, who is alive, how buckets are set.

use super::MembershipView;
use crate::config::BucketProps;
use crate::crdt::{NodeId, ObjectId, note};
use crate::placement::{Layout, LayoutId, N_ALL, PreferenceList, partition_of};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bucket that holds the properties of all others, on every member.
pub const BUCKETS: &str = "_buckets";

/// The state that one step reads and only the core changes.
#[derive(Clone, Debug)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// The layout in force.
    pub layout: Option<Arc<Layout>>,
    /// Id of the layout in force, kept because hashing it is not free.
    pub layout_id: LayoutId,
    /// Members and their liveness.
    pub members: MembershipView,
    /// Buckets with properties of their own.
    pub buckets: BTreeMap<String, BucketProps>,
    /// What the others get.
    pub default_bucket: BucketProps,
}

impl View {
    /// A node that knows nobody.
    pub fn new(me: NodeId) -> Self {
        View {
            me,
            layout: None,
            layout_id: LayoutId::NONE,
            members: MembershipView::default(),
            buckets: BTreeMap::new(),
            default_bucket: BucketProps::default(),
        }
    }

    /// Puts a layout in force.
    pub fn set_layout(&mut self, layout: Arc<Layout>) {
        self.layout_id = layout.id();
        self.layout = Some(layout);
    }

    /// Properties of a bucket. The bucket of buckets is on every member and reads as
    /// last-writer-wins; notes have those of what they are about, and expire.
    pub fn bucket(&self, bucket: &str) -> BucketProps {
        if bucket == BUCKETS {
            let resolve = crate::config::Resolve::Lww;
            return BucketProps { n: N_ALL, resolve, ..BucketProps::default() };
        }
        let props = self.buckets.get(note::base_bucket(bucket)).unwrap_or(&self.default_bucket);
        match note::is_notes(bucket) {
            true => BucketProps { ttl_seconds: Some(note::REMEMBERED_S), ..props.clone() },
            false => props.clone(),
        }
    }

    /// Sets a bucket's properties, or takes them back to the defaults.
    pub fn set_bucket(&mut self, bucket: String, props: Option<BucketProps>) {
        match props {
            Some(props) => self.buckets.insert(bucket, props),
            None => self.buckets.remove(&bucket),
        };
    }

    /// Replication factor of a bucket, without copying its properties.
    pub fn n_of(&self, bucket: &str) -> u8 {
        match bucket {
            BUCKETS => N_ALL,
            _ => self.buckets.get(note::base_bucket(bucket)).unwrap_or(&self.default_bucket).n,
        }
    }

    /// Whether this node owns the object under the layout in force.
    pub fn owns(&self, object: &ObjectId) -> bool {
        self.owned_by(self.me, object)
    }

    /// Whether `node` owns the object under the layout in force.
    pub fn owned_by(&self, node: NodeId, object: &ObjectId) -> bool {
        let n = self.n_of(&object.bucket);
        self.layout.as_ref().is_some_and(|l| l.owns(node, partition_of(object), n))
    }

    /// Owners of the object, none without a layout.
    pub fn owners(&self, object: &ObjectId) -> Vec<NodeId> {
        self.preference(object).map_or_else(Vec::new, |list| list.owners().to_vec())
    }

    /// Owners and stand-ins of the object, if there is a layout.
    pub fn preference(&self, object: &ObjectId) -> Option<PreferenceList> {
        let n = self.n_of(&object.bucket);
        self.layout.as_ref().map(|layout| layout.preference(partition_of(object), n))
    }

    /// Whether that node can be asked: this one always, others while they are heard.
    pub fn is_alive(&self, node: NodeId) -> bool {
        node == self.me || self.members.is_alive(node)
    }

    /// A node's name for people, its id where the name is not known.
    pub fn name_of(&self, node: NodeId) -> String {
        let member = self.layout.as_ref().and_then(|layout| layout.member(node));
        match (member, self.members.get(node)) {
            (Some(member), _) => member.name.clone(),
            (None, Some(member)) => member.name.clone(),
            (None, None) => node.to_string(),
        }
    }
}
