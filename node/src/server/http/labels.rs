//! The few words that requests for data are told apart by in metrics: what was done, with which
//! outcome, and how much consistency was asked for. Each is a fixed list.

use super::router::Route;

macro_rules! words {
    ($(#[$doc:meta])* $list:ident $name:ident { $($variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name { $(#[doc = $word] $variant,)* }

        /// All of them, in order.
        pub const $list: &[$name] = &[$($name::$variant,)*];

        impl $name {
            /// The value of the label.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// What a request does with an object.
    OPERATIONS Operation { Read "read", Write "write", Remove "remove", }
}

words! {
    /// What became of a request, by its status.
    OUTCOMES Outcome {
        Ok "ok",
        Absent "absent",
        Refused "refused",
        Shed "shed",
        Unavailable "unavailable",
        Unknown "unknown",
        DiskFull "disk_full",
        Failed "failed",
    }
}

words! {
    /// What a request asked for; the strongest demand of several counts.
    CONSISTENCIES Consistency {
        Default "default",
        One "one",
        Count "count",
        Quorum "quorum",
        All "all",
        Owners "owners",
    }
}

impl Operation {
    /// Type and operation of a call on one object; `None` of any other call.
    pub fn of(route: &Route) -> Option<(&'static str, Operation)> {
        let (tag, verb) = route.name.rsplit_once('_').filter(|_| route.path.contains("{key}"))?;
        match verb {
            "get" | "member" => Some((tag, Operation::Read)),
            "put" | "update" => Some((tag, Operation::Write)),
            "delete" => Some((tag, Operation::Remove)),
            _ => None,
        }
    }
}

impl Outcome {
    /// What a status says.
    pub fn of(status: u16) -> Outcome {
        match status {
            0..=399 => Outcome::Ok,
            404 => Outcome::Absent,
            429 => Outcome::Shed,
            400..=499 => Outcome::Refused,
            503 => Outcome::Unavailable,
            504 => Outcome::Unknown,
            507 => Outcome::DiskFull,
            _ => Outcome::Failed,
        }
    }
}

impl Consistency {
    /// All of them, in order.
    pub const ALL: &'static [Consistency] = CONSISTENCIES;

    fn of(value: &str) -> Consistency {
        match value {
            "one" | "1" => Consistency::One,
            "quorum" => Consistency::Quorum,
            "all" => Consistency::All,
            _ => Consistency::Count,
        }
    }
}

/// What a query asks of reads and of writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    read: Consistency,
    write: Consistency,
}

impl Asked {
    /// From a query as it came. A name in percent-encoding is not recognised.
    pub fn of(query: Option<&str>) -> Asked {
        let mut asked = Asked { read: Consistency::Default, write: Consistency::Default };
        for (name, value) in query.unwrap_or_default().split('&').filter_map(|p| p.split_once('='))
        {
            match name {
                "r" => asked.read = asked.read.max(Consistency::of(value)),
                "w" => asked.write = asked.write.max(Consistency::of(value)),
                "pr" => asked.read = Consistency::Owners,
                "pw" => asked.write = Consistency::Owners,
                _ => {}
            }
        }
        asked
    }

    /// For one kind of operation.
    pub fn by(self, operation: Operation) -> Consistency {
        match operation {
            Operation::Read => self.read,
            Operation::Write | Operation::Remove => self.write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::router::{Call, ROUTES};

    #[test]
    fn a_query_is_told_by_its_strongest_demand() {
        let reads = |query| Asked::of(Some(query)).by(Operation::Read).name();
        assert_eq!(Asked::of(None).by(Operation::Write), Consistency::Default);
        assert_eq!((reads("r=1"), reads("r=2"), reads("r=quorum")), ("one", "count", "quorum"));
        assert_eq!((reads("pr=1&r=all"), reads("w=all")), ("owners", "default"));
        assert_eq!(Asked::of(Some("timeout_ms=1&w=all")).by(Operation::Remove).name(), "all");
    }

    #[test]
    fn every_call_on_an_object_but_explain_is_one_of_the_operations() {
        let of = |call: Call| Operation::of(&ROUTES[call as usize]);
        assert_eq!(of(Call::KvPut), Some(("kv", Operation::Write)));
        assert_eq!(of(Call::SetMember), Some(("set", Operation::Read)));
        assert_eq!(of(Call::ZsetDelete), Some(("zset", Operation::Remove)));
        assert_eq!((of(Call::BucketGet), of(Call::Healthz)), (None, None));
        for route in ROUTES.iter().filter(|route| route.path.contains("{key}")) {
            assert_eq!(Operation::of(route).is_none(), route.call == Call::Explain, "{route:?}");
        }
    }
}
