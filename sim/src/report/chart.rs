//! Line charts as SVG whose colours the page's style sheet decides, so that they follow light and
//! dark. (Libraries that draw SVG write colours into it.)

use maud::{Markup, html};

/// Width of every picture, units of its view box.
pub const WIDTH: f64 = 1180.0;
/// Left of it stand labels.
pub const LEFT: f64 = 92.0;
/// Right of it is nothing.
pub const RIGHT: f64 = WIDTH - 28.0;
const TOP: f64 = 14.0;
const HEIGHT: f64 = 170.0;
const BELOW: f64 = 40.0;
/// Lines that can be told apart; more share their looks.
const LOOKS: usize = 8;

/// How values map to an axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scale {
    /// Evenly between the two.
    Linear(f64, f64),
    /// By their logarithms; both are above 0.
    Log(f64, f64),
}

impl Scale {
    /// 0 for the least value, 1 for the greatest; what lies beyond is put there.
    pub fn place(self, value: f64) -> f64 {
        let share = match self {
            Scale::Linear(from, to) => (value - from) / (to - from).max(f64::MIN_POSITIVE),
            Scale::Log(from, to) => (value.max(from) / from).ln() / (to / from).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Values to be marked, about `count` of them.
    pub fn ticks(self, count: usize) -> Vec<f64> {
        match self {
            Scale::Linear(from, to) => {
                let rough = (to - from) / count.max(1) as f64;
                let power = 10f64.powf(rough.max(f64::MIN_POSITIVE).log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
                let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
                let first = (from / step).ceil() as i64;
                (first..)
                    .map(|tick| tick as f64 * step)
                    .take_while(|tick| *tick <= to * (1.0 + 1e-9))
                    .collect()
            }
            Scale::Log(from, to) => {
                let powers = from.log10().ceil() as i32..=to.log10().floor() as i32;
                powers.map(|power| 10f64.powi(power)).collect()
            }
        }
    }
}

/// A time axis, seconds, in the unit that suits its length.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// Its end, seconds; it begins at 0.
    pub to_s: f64,
}

impl Time {
    /// Name of the unit and its seconds.
    pub fn unit(self) -> (&'static str, f64) {
        match self.to_s {
            ..=600.0 => ("seconds", 1.0),
            ..=14_400.0 => ("minutes", 60.0),
            ..=345_600.0 => ("hours", 3_600.0),
            _ => ("days", 86_400.0),
        }
    }

    /// Where a moment stands in a picture.
    pub fn x(self, at_s: f64) -> f64 {
        LEFT + Scale::Linear(0.0, self.to_s).place(at_s) * (RIGHT - LEFT)
    }

    /// The axis with its labels at the height `y`, lines from `top` down to it.
    pub fn axis(self, top: f64, y: f64) -> Markup {
        let (name, unit) = self.unit();
        let ticks = Scale::Linear(0.0, self.to_s / unit).ticks(10);
        html! {
            @for tick in &ticks {
                @let x = self.x(tick * unit);
                line.grid x1=(x) x2=(x) y1=(top) y2=(y) {}
                text.tick x=(x) y=(y + 16.0) text-anchor="middle" { (number(*tick)) }
            }
            text.axis x=((LEFT + RIGHT) / 2.0) y=(y + 34.0) text-anchor="middle" {
                "time since faults and clients began, " (name)
            }
        }
    }
}

/// A number without needless digits.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// One line of a chart.
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Its points; a gap where there is no value.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A chart over time.
pub struct Chart<'a> {
    /// What it shows, for those who hear it.
    pub title: &'a str,
    /// What the upright axis shows, with its unit.
    pub what: &'a str,
    /// The upright axis.
    pub y: Scale,
    /// The time axis.
    pub time: Time,
    /// When faults were active, seconds.
    pub broken: &'a [(f64, f64)],
    /// The lines.
    pub lines: Vec<Line>,
    /// Whether values hold until the next one.
    pub steps: bool,
}

impl Chart<'_> {
    /// The picture, with a legend when there is more than one line.
    pub fn draw(&self) -> Markup {
        let bottom = TOP + HEIGHT;
        html! {
            @if self.lines.len() > 1 { (legend(&self.lines)) }
            svg viewBox=(view_box(bottom + BELOW)) role="img" aria-label=(self.title) {
                @for (from, to) in self.broken {
                    @let (x, until) = (self.time.x(*from), self.time.x(*to));
                    rect.broken x=(x) y=(TOP) width=((until - x).max(1.0)) height=(HEIGHT) {}
                }
                (upright(self.y, self.what))
                (self.time.axis(TOP, bottom))
                @for (place, line) in self.lines.iter().enumerate() {
                    @let y = |value: f64| y_of(self.y, value);
                    path class=(format!("line l{}", place % LOOKS))
                        d=(path(line, self.steps, |at| self.time.x(at), y)) {
                        title { (line.name) }
                    }
                }
                rect.frame x=(LEFT) y=(TOP) width=(RIGHT - LEFT) height=(HEIGHT) {}
            }
        }
    }
}

/// A curve of shares, in per cent, over a logarithmic axis.
pub fn curve(title: &str, across: &str, x: Scale, what: &str, y: Scale, lines: &[Line]) -> Markup {
    let bottom = TOP + HEIGHT;
    let x_of = |value: f64| LEFT + x.place(value) * (RIGHT - LEFT);
    html! {
        @if lines.len() > 1 { (legend(lines)) }
        svg viewBox=(view_box(bottom + BELOW)) role="img" aria-label=(title) {
            (upright(y, what))
            @for tick in x.ticks(8) {
                line.grid x1=(x_of(tick)) x2=(x_of(tick)) y1=(TOP) y2=(bottom) {}
                text.tick x=(x_of(tick)) y=(bottom + 16.0) text-anchor="middle" { (number(tick)) }
            }
            text.axis x=((LEFT + RIGHT) / 2.0) y=(bottom + 34.0) text-anchor="middle" { (across) }
            @for (place, line) in lines.iter().enumerate() {
                path class=(format!("line l{}", place % LOOKS))
                    d=(path(line, true, x_of, |value| y_of(y, value))) {}
            }
            rect.frame x=(LEFT) y=(TOP) width=(RIGHT - LEFT) height=(HEIGHT) {}
        }
    }
}

/// Of a picture of that height.
pub fn view_box(height: f64) -> String {
    format!("0 0 {WIDTH} {height}")
}

fn y_of(scale: Scale, value: f64) -> f64 {
    TOP + (1.0 - scale.place(value)) * HEIGHT
}

fn upright(scale: Scale, what: &str) -> Markup {
    let middle = TOP + HEIGHT / 2.0;
    html! {
        @for tick in scale.ticks(6) {
            @let y = y_of(scale, tick);
            line.grid x1=(LEFT) x2=(RIGHT) y1=(y) y2=(y) {}
            text.tick x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" { (number(tick)) }
        }
        text.axis x="16" y=(middle) text-anchor="middle"
            transform=(format!("rotate(-90 16 {middle})")) { (what) }
    }
}

fn legend(lines: &[Line]) -> Markup {
    html! {
        ul.legend {
            @for (place, line) in lines.iter().enumerate() {
                li {
                    svg.key viewBox="0 0 34 10" aria-hidden="true" {
                        path class=(format!("line l{}", place % LOOKS)) d="M1 5H33" {}
                    }
                    (line.name)
                }
            }
        }
    }
}

fn path(line: &Line, steps: bool, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut drawn = false;
    for (at, value) in &line.points {
        let Some(value) = value else {
            if drawn && steps {
                path.push_str(&format!("H{:.1}", x(*at)));
            }
            drawn = false;
            continue;
        };
        let (x, y) = (x(*at), y(*value));
        match (drawn, steps) {
            (false, _) => path.push_str(&format!("M{x:.1} {y:.1}")),
            (true, true) => path.push_str(&format!("H{x:.1}V{y:.1}")),
            (true, false) => path.push_str(&format!("L{x:.1} {y:.1}")),
        }
        drawn = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::Linear(0.0, 60.0).ticks(6), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(Scale::Linear(0.0, 7.0).ticks(5), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(Scale::Log(0.5, 2_000.0).ticks(5), [1.0, 10.0, 100.0, 1_000.0]);
    }

    #[test]
    fn a_line_has_gaps_where_there_is_no_value() {
        let points = vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(3.0)), (3.0, Some(4.0))];
        let line = Line { name: "a".into(), points };
        assert_eq!(path(&line, true, |x| x, |y| y), "M0.0 1.0H1.0M2.0 3.0H3.0V4.0");
        assert_eq!(path(&line, false, |x| x, |y| y), "M0.0 1.0M2.0 3.0L3.0 4.0");
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [0.0, 0.25, 1.5, 10.0, 12.34, 1_000.0].map(number).into();
        assert_eq!(shown, ["0", "0.25", "1.5", "10", "12.3", "1000"]);
    }
}
