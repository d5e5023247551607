//! Expiry: when an object is absent, as a part of its merged state.
//!
//! A setting is a dot in the object's own dot space and merges like every dot: it replaces the
//! settings it observed, and of concurrent ones the latest instant counts (never, after a
//! persist). So a change of the expiry travels, waits and is compared like any other write.
//!
//! Where a write replaces the whole value (a register's, a flag's), a setting names the values it
//! is about, and a value that none is about never expires: no concurrent setting can take it
//! away. Whoever has seen a setting has seen the values it names. For all other types a setting is
//! about the object, whatever is in it.
//!
//! What has expired is still there until it is collected, so the first write after the instant
//! clears it in its own delta ([`Object::write`]): old content never gets a new expiry.

use super::{CausalContext, Dot, Mint, Object, ObjectOp, Observed, OpError, join_dots};
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// The instant of what never expires.
pub const NEVER: u64 = u64::MAX;

/// Below every instant there is, so that a store may mark by it what has gone for good.
pub(crate) const AT_MIN: u64 = 1;

/// The longest time to live, seconds: ten years.
pub const TTL_MAX_S: u32 = 10 * 365 * 24 * 3_600;

/// Instants are whole buckets of this length, ms: every replica compares the bucket it is in.
pub const EXPIRY_BUCKET_MS: u64 = 1_000;

/// What a write says of the expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Ttl {
    /// The object is absent after so many seconds, 1 to [`TTL_MAX_S`].
    For(u32),
    /// It is there until it is removed.
    Persist,
}

/// The settings in force.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Expiry {
    pub(crate) settings: BTreeMap<Dot, Setting>,
}

/// One setting.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Setting {
    /// From when on the object is absent: seconds since the Unix epoch, or [`NEVER`].
    pub at: u64,
    /// The values of a register or flag that it is about. Of other types the settings that the
    /// object's life began with, as far as they were seen; none where this is one of them.
    pub of: BTreeSet<Dot>,
}

/// What a write means for the expiry, with instants in place of durations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// From the client; [`NEVER`] for a persist.
    pub asked: Option<u64>,
    /// From the bucket, for a write that says nothing and replaces or creates the object.
    pub default: Option<u64>,
    /// Whether what is there has expired.
    pub expired: bool,
    /// Whether a client would find the object here, were it not expired.
    pub present: bool,
}

/// The bucket of time that `wall_ms` is in: an object is absent from its instant's bucket on.
pub fn bucket_of(wall_ms: u64) -> u64 {
    wall_ms / EXPIRY_BUCKET_MS
}

/// The instant `seconds` after `wall_ms`, rounded up, so that nothing goes early.
pub fn instant_after(wall_ms: u64, seconds: u32) -> u64 {
    (wall_ms.div_ceil(EXPIRY_BUCKET_MS) + u64::from(seconds)).max(AT_MIN + 1)
}

impl Expiry {
    /// Settings in force with their dots.
    pub fn settings(&self) -> impl Iterator<Item = (&Dot, &Setting)> {
        self.settings.iter()
    }

    pub(crate) fn join(
        &mut self,
        context: &CausalContext,
        other: &Expiry,
        other_context: &CausalContext,
    ) {
        join_dots(&mut self.settings, context, &other.settings, other_context);
    }

    /// Whether its parts are ones that a node can have made; the dots are checked with the others.
    pub(crate) fn is_sound(&self) -> bool {
        self.settings.values().all(|setting| setting.at > AT_MIN)
    }

    /// The dots of the settings in force.
    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> {
        self.settings.keys().copied()
    }

    /// The settings that the life of an object began with which settings are about as a whole.
    fn births(&self) -> BTreeSet<Dot> {
        let born = |(dot, setting): (&Dot, &Setting)| match setting.of.is_empty() {
            true => BTreeSet::from([*dot]),
            false => setting.of.clone(),
        };
        self.settings.iter().flat_map(born).collect()
    }

    /// The instant of an object that settings are about as a whole.
    fn of_object(&self) -> Option<u64> {
        self.settings.values().map(|setting| setting.at).max()
    }

    /// The instant at which the last of these values is gone; one that no setting is about stays.
    fn of_values(&self, values: impl Iterator<Item = Dot>) -> Option<u64> {
        let about = |value: Dot| {
            let named = self.settings.values().filter(|setting| setting.of.contains(&value));
            named.map(|setting| setting.at).max().unwrap_or(NEVER)
        };
        values.map(about).max()
    }
}

impl Object {
    /// The settings, `None` for the type that has no expiry.
    pub fn expiry(&self) -> Option<&Expiry> {
        Some(match self {
            Object::Kv(kv) => &kv.expiry,
            Object::Counter(counter) => &counter.expiry,
            Object::Flag(flag) => &flag.expiry,
            Object::DwFlag(flag) => &flag.0.expiry,
            Object::Bounded(_) => return None,
            collection => &collection.rows()?.expiry,
        })
    }

    /// The same with the context they are under.
    pub(crate) fn expiry_mut(&mut self) -> Option<(&mut Expiry, &mut CausalContext)> {
        Some(match self {
            Object::Kv(kv) => (&mut kv.expiry, &mut kv.context),
            Object::Counter(counter) => (&mut counter.expiry, &mut counter.context),
            Object::Flag(flag) => (&mut flag.expiry, &mut flag.context),
            Object::DwFlag(flag) => (&mut flag.0.expiry, &mut flag.0.context),
            Object::Bounded(_) => return None,
            collection => {
                let rows = collection.rows_mut()?;
                (&mut rows.expiry, &mut rows.context)
            }
        })
    }

    /// The dots of the settings in force.
    pub fn expiry_dots(&self) -> impl Iterator<Item = Dot> {
        self.expiry().into_iter().flat_map(Expiry::dots)
    }

    /// Values that a write replaces whole: a register's and a flag's.
    fn values(&self) -> Option<Vec<Dot>> {
        match self {
            Object::Kv(kv) => Some(kv.siblings.keys().copied().collect()),
            Object::Flag(flag) => Some(flag.votes.keys().copied().collect()),
            Object::DwFlag(flag) => Some(flag.0.votes.keys().copied().collect()),
            _ => None,
        }
    }

    /// The values that a write replaces whole and the dots of no others; nothing of other types. A
    /// setting travels with the values that it names: a replica that had only the setting would
    /// replace it without them, and they would never expire where they are.
    pub(super) fn values_alone(&self) -> Object {
        let dots = self.values().into_iter().flatten().collect();
        let mut alone = Object::empty(self.tag());
        match (&mut alone, self) {
            (Object::Kv(alone), Object::Kv(kv)) => {
                (alone.siblings, alone.context) = (kv.siblings.clone(), dots);
            }
            (Object::Flag(alone), Object::Flag(flag)) => {
                (alone.votes, alone.context) = (flag.votes.clone(), dots);
            }
            (Object::DwFlag(alone), Object::DwFlag(flag)) => {
                (alone.0.votes, alone.0.context) = (flag.0.votes.clone(), dots);
            }
            _ => {}
        }
        alone
    }

    /// From when on the object is absent, seconds since the Unix epoch; `None`: never.
    pub fn expires_at(&self) -> Option<u64> {
        let expiry = self.expiry().filter(|expiry| !expiry.settings.is_empty())?;
        let at = match self.values() {
            Some(values) if !values.is_empty() => expiry.of_values(values.into_iter()),
            _ => expiry.of_object(),
        };
        at.filter(|at| *at != NEVER)
    }

    /// Whether it is absent in the bucket of time `now`, see [`bucket_of`].
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// When the join of both would expire. Of a collection the header is enough.
    pub fn joint_expiry(&self, other: &Object) -> Option<u64> {
        let mut joined = match self.rows() {
            Some(rows) => Object::with_rows(self.tag(), rows.header()),
            None => self.clone(),
        };
        if let (Some(rows), Some(delta)) = (joined.rows_mut(), other.rows()) {
            let context = rows.context.clone();
            rows.expiry.join(&context, &delta.expiry, &delta.context);
        } else if joined.join(other).is_err() {
            return self.expires_at();
        }
        joined.expires_at()
    }

    /// Whether `other` goes on from every setting in force here and did not begin the object anew:
    /// what it says of the expiry is then meant for what is here. It knows the setting, or one of
    /// its own goes back to the same beginning: a part of a state need not know what its setting
    /// replaced.
    pub fn is_extended_by(&self, other: &Object) -> bool {
        let Some(expiry) = self.expiry() else { return true };
        let cleared = match other {
            Object::Counter(counter) => Some(&counter.cleared),
            collection => collection.rows().map(|rows| &rows.cleared),
        };
        let anew = |dot: Dot| cleared.is_some_and(|cleared| cleared.contains(dot));
        let whole = self.values().is_none();
        let births = other.expiry().filter(|_| whole).map(Expiry::births).unwrap_or_default();
        expiry.settings.iter().all(|(dot, setting)| {
            let goes_on = births.contains(dot) || !births.is_disjoint(&setting.of);
            (other.context().contains(*dot) || goes_on) && !anew(*dot)
        })
    }

    /// The delta of one client's write, with what it means for the expiry. `self` is the object as
    /// far as the operation looks at it; when it has expired, with every row that has totals.
    ///
    /// # Errors
    /// As [`Object::delta`], and [`OpError::Unsupported`] for an expiry of a bounded counter.
    pub fn write(&self, op: &ObjectOp, terms: Terms, mint: &mut Mint) -> Result<Object, OpError> {
        if self.expiry().is_none() {
            return match terms.asked {
                Some(_) => Err(OpError::Unsupported(
                    "a bounded counter cannot expire: its rights would not be kept".into(),
                )),
                None => self.delta(op, mint),
            };
        }
        if matches!(op, ObjectOp::Touch(_)) && (terms.expired || !terms.present) {
            return Err(OpError::Absent);
        }
        if !terms.expired {
            return self.write_live(op, terms, mint);
        }
        let mut cleared = self.cleared_away(mint)?;
        let mut rest = self.clone();
        rest.join(&cleared)?;
        let terms = Terms { present: false, ..terms };
        cleared.join(&rest.write_live(op, terms, mint)?)?;
        Ok(cleared)
    }

    /// The removal of everything here, settings and the values they name included.
    ///
    /// # Errors
    /// None of the types refuses it.
    pub fn cleared_away(&self, mint: &mut Mint) -> Result<Object, OpError> {
        let mut delta = self.delta(&ObjectOp::delete(self.tag(), Observed::Here), mint)?;
        let named: Vec<Dot> = self
            .expiry()
            .filter(|_| self.values().is_some())
            .into_iter()
            .flat_map(|expiry| expiry.settings.values())
            .flat_map(|setting| setting.of.iter().copied())
            .collect();
        if let Some((_, context)) = delta.expiry_mut() {
            named.into_iter().for_each(|dot| context.insert(dot));
        }
        Ok(delta)
    }

    fn write_live(&self, op: &ObjectOp, terms: Terms, mint: &mut Mint) -> Result<Object, OpError> {
        let before = mint.clone();
        let mut delta = self.delta(op, mint)?;
        let written = mint.since(&before);
        let removes = op.clone().delete_observed().is_some();
        let replaces = self.values().is_some();
        let touches = matches!(op, ObjectOp::Touch(_));
        let creates = !terms.present;
        let default = terms.default.filter(|_| replaces || creates);
        let at = terms.asked.or(default).filter(|_| !removes);
        if replaces && !touches {
            // The context of the delta says which values and settings it replaces.
            if let (Some(at), Some(value), Some((expiry, context))) =
                (at.filter(|at| *at != NEVER), written, delta.expiry_mut())
            {
                let dot = mint.dot();
                context.insert(dot);
                expiry.settings.insert(dot, Setting { at, of: BTreeSet::from([value]) });
            }
            return Ok(delta);
        }
        let held = self.expiry().cloned().unwrap_or_default();
        let row_free = self.rows().is_none();
        let of: BTreeSet<Dot> = match self.values() {
            Some(values) => values.into_iter().collect(),
            None if creates => BTreeSet::new(),
            None => held.births(),
        };
        let Some((expiry, context)) = delta.expiry_mut() else { return Ok(delta) };
        match at {
            Some(at) => {
                // A dot of a row stands for the row, so that of a setting is another one.
                let dot = written.filter(|_| row_free).unwrap_or_else(|| mint.dot());
                held.dots().for_each(|dot| context.insert(dot));
                context.insert(dot);
                expiry.settings = BTreeMap::from([(dot, Setting { at, of })]);
            }
            // What a removed object was left with is not for the next one.
            None if creates && !removes => held.dots().for_each(|dot| context.insert(dot)),
            // A removal or a reset covers settings without meaning them: what it did not
            // observe goes when it was to go.
            None => {
                let kept = held.settings.into_iter().filter(|(dot, _)| context.contains(*dot));
                expiry.settings.extend(kept);
            }
        }
        Ok(delta)
    }

    /// What an object says when its content was collected: what was seen, and when it went.
    pub fn husk(&self) -> Object {
        let mut husk = Object::empty(self.tag());
        match (&mut husk, self) {
            (Object::Counter(husk), Object::Counter(counter)) => {
                // Totals say what was observed, to the last unit.
                *husk = counter.clone();
                husk.base = counter.runs.clone();
                husk.cleared = counter.context.clone();
            }
            (husk, _) => {
                if let Some((expiry, context)) = husk.expiry_mut() {
                    *expiry = self.expiry().cloned().unwrap_or_default();
                    *context = self.context().clone();
                    if let Some(values) = self.values().filter(|values| !values.is_empty()) {
                        // One about values that are gone, a persist at that, says nothing of when.
                        let counts =
                            |setting: &Setting| values.iter().any(|v| setting.of.contains(v));
                        expiry.settings.retain(|_, setting| counts(setting));
                    }
                }
                if let (Some(husk), Some(rows)) = (husk.rows_mut(), self.rows()) {
                    husk.cleared = rows.context.clone();
                    husk.deferred = rows.deferred.clone();
                }
            }
        }
        husk
    }

    /// What a reader is given of an object that has expired: what it has seen, and no content.
    pub fn hidden(&self) -> Object {
        let mut hidden = self.clone();
        match hidden.rows_mut() {
            Some(rows) => rows.rows.clear(),
            None => hidden = self.husk(),
        }
        hidden
    }

    /// The part of a collection's delta or state that is about its expiry alone: `missed` are
    /// dots of settings, those in force and those replaced.
    pub fn expiry_part(&self, missed: &CausalContext) -> Object {
        let mut part = Object::empty(self.tag());
        if let Some(rows) = part.rows_mut() {
            rows.covers = super::rows::Covers::Rows;
        }
        if let Some((expiry, context)) = part.expiry_mut() {
            *expiry = self.expiry().cloned().unwrap_or_default();
            *context = missed.clone();
            self.expiry_dots().for_each(|dot| context.insert(dot));
        }
        part
    }
}
