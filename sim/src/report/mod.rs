//! What a run tells people: its figures, and one page with pictures that needs no network.

mod chart;
mod figures;
mod lanes;
mod ops;
mod page;
mod predicted;
mod promises;
mod sides;
mod staleness;

pub use figures::{Bytes, Figures, Percentiles, SideFigures};
pub use page::{Told, page};
pub use predicted::Model;
pub use staleness::{Judged, Staleness, judge};
