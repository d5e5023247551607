//! The promises that a verdict speaks of, and where it says how much was looked at.

/// What a check holds.
pub struct Promise {
    /// The check's name.
    pub check: &'static str,
    /// The promise, as the design says it.
    pub text: &'static str,
    /// The counts that say how much it looked at, each with a unit.
    pub looked: &'static [(&'static str, &'static str)],
}

/// All checks of a run's end and of its answers.
pub const PROMISES: &[Promise] = &[
    Promise {
        check: "acked_writes_survive",
        text: "An acknowledged write is never lost while one replica that acknowledged it durably \
               survives.",
        looked: &[
            ("acked_writes_that_must_be_there", "values and members that must be there"),
            ("acked_writes_that_may_be_replaced", "that later writes may have replaced"),
        ],
    },
    Promise {
        check: "quorum_counted",
        text: "A write acknowledged with W is on W replicas, and the answer says how many are \
               owners, stand-ins and on disk.",
        looked: &[("acks_compared_with_stores", "answers compared with every store")],
    },
    Promise {
        check: "counters_exact",
        text: "Every acknowledged amount counts exactly once, a refused one never.",
        looked: &[("counters_bounded", "copies of counters added up")],
    },
    Promise {
        check: "removed_stays_removed",
        text: "A removed element stays removed, also when a node returns after a month.",
        looked: &[("elements_that_must_be_gone", "elements that must be gone")],
    },
    Promise {
        check: "nothing_invented",
        text: "503 means that nothing was applied: nothing is held or shown that was not written.",
        looked: &[
            ("writes_acknowledged", "acknowledged writes"),
            ("refused_elements", "refused values and members"),
        ],
    },
    Promise {
        check: "replicas_equal",
        text: "Replicas that have received the same writes, in any order, any number of times, \
               are byte-equal.",
        looked: &[("objects_read_back", "objects at all owners")],
    },
    Promise {
        check: "reads_agree",
        text: "What clients read is what replicas hold.",
        looked: &[("objects_read_back", "objects read from all owners")],
    },
    Promise {
        check: "hints_drain",
        text: "Every hint is delivered once its target is back.",
        looked: &[("acks_of_hints", "acknowledgements by stand-ins")],
    },
    Promise {
        check: "heals_in_time",
        text: "After healing all nodes hear each other, owe nothing and hold the same, in time.",
        looked: &[("converged_ms_sum", "ms after healing")],
    },
];
