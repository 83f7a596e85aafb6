//! Curves as SVG, for a page.

use plotters::prelude::*;

use super::units;

/// A curve.
pub struct Line {
    /// For the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// What an axis shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    /// Percentiles, the same distance for each further nine.
    Percentile,
    /// Nanoseconds, the same distance for each power of ten.
    Time,
    /// Seconds of the run.
    Seconds,
    /// A rate per second.
    Rate,
    /// A share of one.
    Share,
}

const SIZE: (u32, u32) = (760, 300);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
];

impl Axis {
    /// Where a value stands.
    fn place(self, value: f64) -> f64 {
        match self {
            // 100 % would be infinitely far: it is left out.
            Self::Percentile => -(1.0 - value / 100.0).log10(),
            Self::Time => value.max(1.0).log10(),
            Self::Seconds | Self::Rate | Self::Share => value,
        }
    }

    /// What stands at a place.
    fn label(self, place: f64) -> String {
        match self {
            Self::Percentile => units::percentile(100.0 * (1.0 - 10f64.powf(-place))),
            Self::Time => units::time(10f64.powf(place).round() as u64),
            Self::Seconds => format!("{place:.1} s"),
            Self::Rate => units::rate(place),
            Self::Share => units::percent(place),
        }
    }

    /// The places from the first to the last mark, and how many marks.
    fn range(self, places: impl Iterator<Item = f64> + Clone) -> (core::ops::Range<f64>, usize) {
        let low = places.clone().fold(f64::INFINITY, f64::min);
        let high = places.fold(f64::NEG_INFINITY, f64::max);
        match self {
            Self::Percentile | Self::Time => {
                let from = low.floor();
                let to = high.ceil().max(from + 1.0);
                (from..to, (to - from) as usize + 1)
            }
            Self::Share => (0.0..1.0, 6),
            Self::Rate => (0.0..(high * 1.05).max(1e-3), 8),
            // Room for the legend behind the end.
            Self::Seconds => (0.0..(high * 1.2).max(1e-3), 8),
        }
    }
}

/// A chart; empty when there is nothing to draw.
pub fn chart(title: &str, (x, y): (Axis, Axis), lines: &[Line]) -> String {
    let lines: Vec<(&str, Vec<(f64, f64)>)> = lines
        .iter()
        .map(|line| {
            let places = line
                .points
                .iter()
                .map(|&(at, value)| (x.place(at), y.place(value)));
            (
                line.name.as_str(),
                places
                    .filter(|(at, value)| at.is_finite() && value.is_finite())
                    .collect(),
            )
        })
        .collect();
    if lines.iter().all(|(_, points)| points.is_empty()) {
        return String::new();
    }
    let mut svg = String::new();
    // A string takes everything, and the ranges are finite.
    match draw(&mut svg, title, (x, y), &lines) {
        Ok(()) => svg,
        Err(_) => String::new(),
    }
}

/// Curves by name, in places.
type Places<'a> = [(&'a str, Vec<(f64, f64)>)];

fn draw(
    svg: &mut String,
    title: &str,
    (x, y): (Axis, Axis),
    lines: &Places<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || lines.iter().flat_map(|(_, points)| points);
    let (across, x_marks) = x.range(all().map(|point| point.0));
    let (up, y_marks) = y.range(all().map(|point| point.1));
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        // Half of the last mark's name.
        .margin_right(28)
        .x_label_area_size(28)
        .y_label_area_size(72)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .x_labels(x_marks)
        .y_labels(y_marks)
        .max_light_lines(0)
        .x_label_formatter(&|place| x.label(*place))
        .y_label_formatter(&|place| y.label(*place))
        .draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(match x {
            Axis::Seconds => SeriesLabelPosition::UpperRight,
            _ => SeriesLabelPosition::UpperLeft,
        })
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_names_its_curves_and_marks_whole_nines() {
        let line = Line {
            name: "corrected".to_owned(),
            points: vec![
                (0.0, 1e4),
                (90.0, 2e4),
                (99.0, 1e5),
                (99.9, 2e6),
                (100.0, 3e6),
            ],
        };
        let svg = chart("Latency", (Axis::Percentile, Axis::Time), &[line]);
        for part in [
            "<svg",
            "</svg>",
            "Latency",
            "corrected",
            "99.9",
            "10.0 µs",
            "1.00 ms",
        ] {
            assert!(svg.contains(part), "{part} not in {svg}");
        }
    }

    #[test]
    fn nothing_makes_no_chart() {
        let line = Line {
            name: "x".to_owned(),
            points: vec![(100.0, 5.0)],
        };
        assert_eq!(chart("x", (Axis::Percentile, Axis::Time), &[line]), "");
    }
}
