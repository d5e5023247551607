//! The picture of a run: each fault a bar, each node a lane.

use super::chart::{LEFT, RIGHT, Time, view_box};
use crate::faults::Scheduled;
use crate::world::observe::{Observed, State};
use maud::{Markup, html};

/// Faults with a row of their own at most; the rest is told in words.
const FAULTS_MAX: usize = 16;
const FAULT: f64 = 22.0;
const LANE: f64 = 26.0;
const TOP: f64 = 8.0;
/// About the width of a letter of a label.
const LETTER: f64 = 6.8;
/// Letters of a fault's label at most.
const LABEL_MAX: usize = 90;

/// Faults above, nodes below, one time axis for both.
pub fn draw(observed: &Observed, time: Time) -> Markup {
    let faults = &observed.plan[..observed.plan.len().min(FAULTS_MAX)];
    let more = observed.plan.len() - faults.len();
    let lanes_top = TOP + faults.len() as f64 * FAULT + if faults.is_empty() { 0.0 } else { 10.0 };
    let bottom = lanes_top + observed.nodes.len() as f64 * LANE + 4.0;
    html! {
        (key())
        svg viewBox=(view_box(bottom + 40.0)) role="img"
            aria-label="Faults and what each node did over time" {
            (patterns())
            @for (from, to) in super::page::broken_s(observed) {
                @let (x, until) = (time.x(from), time.x(to));
                rect.broken x=(x) y=(TOP) width=((until - x).max(1.0)) height=(bottom - TOP) {}
            }
            (time.axis(TOP, bottom))
            @for (row, one) in faults.iter().enumerate() {
                (fault(one, TOP + row as f64 * FAULT, time))
            }
            @for (node, name) in observed.nodes.iter().enumerate() {
                @let y = lanes_top + node as f64 * LANE;
                text.name x=(LEFT - 8.0) y=(y + 17.0) text-anchor="end" { (name) }
                @for (state, from, to) in spans(observed, node) {
                    (span(name, state, (from, to), y, time))
                }
            }
        }
        @if more > 0 { p.note { "and " (more) " more faults, listed at the end" } }
    }
}

fn fault(one: &Scheduled, y: f64, time: Time) -> Markup {
    let (from, to) = (time.x(one.from_ms as f64 / 1e3), time.x(one.until_ms as f64 / 1e3));
    let label = label(one);
    let wide = label.chars().count() as f64 * LETTER;
    // Beside the bar where there is room, else in it.
    let (x, anchor, class) = if to + 6.0 + wide <= RIGHT {
        (to + 6.0, "start", "label")
    } else if from - 6.0 - wide >= LEFT {
        (from - 6.0, "end", "label")
    } else {
        (((from + to) / 2.0).clamp(LEFT + wide / 2.0, RIGHT - wide / 2.0), "middle", "in-bar")
    };
    html! {
        rect.fault x=(from) y=(y + 2.0) width=((to - from).max(2.0)) height="17" rx="2" {
            title { (one) }
        }
        text class=(class) x=(x) y=(y + 15.0) text-anchor=(anchor) { (label) }
    }
}

/// What the fault is, in few words.
pub fn label(one: &Scheduled) -> String {
    let mut fields = match serde_json::to_value(&one.fault) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let kind = fields.remove("kind").and_then(|kind| kind.as_str().map(str::to_string));
    let mut label = kind.unwrap_or_default().replace('-', " ");
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
        let value = value.to_string().replace(['"', '{', '}'], "");
        let value = value.replace(',', ", ").replace(':', " ");
        label.push_str(&format!(" {} {value}", name.replace('_', " ")));
    }
    if label.chars().count() > LABEL_MAX {
        label = label.chars().take(LABEL_MAX - 1).chain(['…']).collect();
    }
    label
}

/// What a node did from when to when, seconds.
fn spans(observed: &Observed, node: usize) -> Vec<(State, f64, f64)> {
    let seconds = |at_us: u64| at_us.saturating_sub(observed.from_us) as f64 / 1e6;
    let own: Vec<_> = observed.changes.iter().filter(|change| change.node == node).collect();
    let ends = own.iter().skip(1).map(|change| change.at_us).chain([observed.rest_us]);
    own.iter()
        .zip(ends)
        .map(|(change, end)| (change.state, seconds(change.at_us), seconds(end)))
        .collect()
}

fn span(name: &str, state: State, (from, to): (f64, f64), y: f64, time: Time) -> Markup {
    let (x, until) = (time.x(from), time.x(to));
    let (width, word) = ((until - x).max(0.75), word(state));
    html! {
        rect class=(format!("state {}", class(state))) x=(x) y=(y + 3.0) width=(width) height="18" {
            title { (format!("{name}: {word}, {from:.3} to {to:.3} s")) }
        }
        @if state != State::Up && width > word.len() as f64 * LETTER + 10.0 {
            text class=(format!("inside {}", class(state)))
                x=((x + until) / 2.0) y=(y + 16.5) text-anchor="middle" { (word) }
        }
    }
}

const STATES: [State; 5] =
    [State::Up, State::CutFromSome, State::CutFromAll, State::Paused, State::Down];

fn word(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::CutFromSome => "cut off from some",
        State::CutFromAll => "cut off from all",
        State::Paused => "paused",
        State::Down => "down",
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::CutFromSome => "some",
        State::CutFromAll => "all",
        State::Paused => "paused",
        State::Down => "down",
    }
}

/// Stripes, so that states are told apart without colour too.
fn patterns() -> Markup {
    html! {
        defs {
            pattern id="some" width="8" height="8" patternUnits="userSpaceOnUse"
                patternTransform="rotate(45)" {
                rect.ground.some width="8" height="8" {}
                line.stripe x1="0" y1="0" x2="0" y2="8" stroke-width="3" {}
            }
            pattern id="paused" width="6" height="6" patternUnits="userSpaceOnUse" {
                rect.ground.paused width="6" height="6" {}
                circle.dot cx="3" cy="3" r="1.2" {}
            }
        }
    }
}

fn key() -> Markup {
    html! {
        ul.legend {
            @for state in STATES {
                li {
                    svg.key viewBox="0 0 34 14" aria-hidden="true" {
                        rect class=(format!("state {}", class(state))) x="1" y="1" width="32"
                            height="12" {}
                    }
                    (word(state))
                }
            }
            li {
                svg.key viewBox="0 0 34 14" aria-hidden="true" {
                    rect.broken x="1" y="1" width="32" height="12" {}
                }
                "a fault is active"
            }
        }
    }
}
