//! Line charts as SVG files that need nothing else. Their colours follow the reader's choice of
//! light or dark.

use plotters::prelude::*;
use std::io;
use std::path::Path;

/// Pixels.
const SIZE: (u32, u32) = (900, 480);

/// Stand-ins for the colours of paper, text and grid, which a style sheet replaces.
const PAPER: RGBColor = RGBColor(255, 255, 254);
const INK: RGBColor = RGBColor(34, 34, 33);
const GRID: RGBColor = RGBColor(222, 222, 221);

/// Colours of lines, told apart by most people with a weak sense of colour (Okabe and Ito, 2008),
/// and readable on both papers.
const LINES: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// A line of a chart.
pub struct Line {
    /// For the legend.
    pub name: String,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
    /// Points alone.
    pub dotted: bool,
}

/// A chart.
pub struct Chart {
    /// Above it.
    pub title: String,
    /// What x is, with its unit.
    pub x: String,
    /// What y is, with its unit.
    pub y: String,
    /// At least one, with at least one point.
    pub lines: Vec<Line>,
    /// Both axes logarithmic; points at or below 0 are left out.
    pub log: bool,
}

impl Chart {
    /// Writes it.
    ///
    /// # Errors
    /// There is nothing to draw, or the file could not be written.
    pub fn draw(&self, path: &Path) -> io::Result<()> {
        let svg = self.svg().map_err(io::Error::other)?;
        std::fs::write(path, svg)
    }

    fn svg(&self) -> Result<String, String> {
        let kept = |point: &&(f64, f64)| !self.log || (point.0 > 0.0 && point.1 > 0.0);
        let points: Vec<&(f64, f64)> =
            self.lines.iter().flat_map(|line| &line.points).filter(kept).collect();
        let ends = |of: fn(&(f64, f64)) -> f64| {
            let low = points.iter().map(|point| of(point)).fold(f64::INFINITY, f64::min);
            let high = points.iter().map(|point| of(point)).fold(f64::NEG_INFINITY, f64::max);
            (low, if high > low { high } else { low + 1.0 })
        };
        if points.is_empty() {
            return Err("there is nothing to draw".into());
        }
        let ((x0, x1), (y0, y1)) = (ends(|point| point.0), ends(|point| point.1));
        let mut text = String::new();
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&PAPER).map_err(|e| failed(&e))?;
        let mut builder = ChartBuilder::on(&root);
        builder.margin(16).x_label_area_size(44).y_label_area_size(72);
        builder.caption(&self.title, ("sans-serif", 18).into_font().color(&INK));
        // One chart has one kind of axes; plotters gives each its own type.
        macro_rules! draw {
            ($x:expr, $y:expr) => {{
                let mut chart = builder.build_cartesian_2d($x, $y).map_err(|e| failed(&e))?;
                let mut mesh = chart.configure_mesh();
                mesh.x_desc(&self.x).y_desc(&self.y).axis_style(INK);
                mesh.bold_line_style(GRID).light_line_style(TRANSPARENT);
                mesh.label_style(("sans-serif", 13).into_font().color(&INK));
                mesh.draw().map_err(|e| failed(&e))?;
                for (line, colour) in self.lines.iter().zip(LINES.iter().cycle()) {
                    let points = line.points.iter().filter(kept).copied();
                    let drawn = match line.dotted {
                        false => chart.draw_series(LineSeries::new(points, colour.stroke_width(2))),
                        true => chart.draw_series(
                            points.map(|at| Circle::new(at, 4, colour.filled()).into_dyn()),
                        ),
                    };
                    let colour = *colour;
                    drawn.map_err(|e| failed(&e))?.label(&line.name).legend(move |(x, y)| {
                        Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled())
                    });
                }
                let mut legend = chart.configure_series_labels();
                legend.position(SeriesLabelPosition::LowerRight).background_style(PAPER);
                legend.label_font(("sans-serif", 13).into_font().color(&INK)).border_style(GRID);
                legend.draw().map_err(|e| failed(&e))?;
            }};
        }
        match self.log {
            true => draw!((x0..x1).log_scale(), (y0..y1).log_scale()),
            false => draw!(x0..x1, y0..y1),
        }
        root.present().map_err(|e| failed(&e))?;
        drop(builder);
        drop(root);
        Ok(themed(&text))
    }
}

/// Puts the style sheet in.
fn themed(svg: &str) -> String {
    let hex = |colour: RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    let mut style = String::from("<style>:root{--paper:#fff;--ink:#222;--grid:#ddd}");
    style += "@media(prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#ddd;--grid:#3a3d44}}";
    for (colour, name) in [(PAPER, "paper"), (INK, "ink"), (GRID, "grid")] {
        let hex = hex(colour);
        style += &format!("[fill=\"{hex}\"]{{fill:var(--{name})}}");
        style += &format!("[stroke=\"{hex}\"]{{stroke:var(--{name})}}");
    }
    style += "</style>\n";
    let head_end = svg.find('>').map_or(0, |at| at + 1);
    format!("{}\n{style}{}", &svg[..head_end], &svg[head_end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, log: bool) -> Chart {
        let line = Line { name: "line".into(), points, dotted: false };
        let (title, x, y) = ("title".into(), "x".into(), "y".into());
        Chart { title, x, y, lines: vec![line], log }
    }

    #[test]
    fn a_chart_holds_its_words_and_both_themes() {
        for log in [false, true] {
            let svg = chart(vec![(0.5, 1.0), (2.0, 40.0)], log).svg().unwrap();
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
            assert!(svg.contains("prefers-color-scheme:dark") && svg.contains("title"));
            assert!(svg.contains("fill=\"#FFFFFE\"") && svg.contains("polyline"), "{svg}");
        }
    }

    #[test]
    fn nothing_to_draw_is_said() {
        assert!(chart(vec![(0.0, 1.0)], true).svg().is_err());
    }
}
