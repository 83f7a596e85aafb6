//! Records as a page that needs no other file: one run, or several side by side.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::chart::{Axis, Line, chart};
use super::compare::{Row, letter, rows};
use super::record::Record;
use super::table::{SHOWN, title};
use super::units;

const STYLE: &str = "body{font:15px/1.4 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.15em .8em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}.headline{font-size:1.5em;margin:.5em 0}.no{color:#a00}svg{max-width:100%;height:auto}\
code{overflow-wrap:anywhere}";

/// The page.
pub fn page(records: &[Record]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut text, records);
    text
}

fn write_page(text: &mut String, records: &[Record]) -> fmt::Result {
    let heading = match records {
        [one] => title(one),
        several => format!("{} runs of millrace load", several.len()),
    };
    let heading = escape(&heading);
    write!(
        text,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{heading}</title>\n<style>{STYLE}</style></head>\n<body><h1>millrace load</h1>\n"
    )?;
    for (place, record) in records.iter().enumerate() {
        verdict(text, &name(records, place, ""), record)?;
    }
    let table: Vec<Row> = match records {
        [one] => latencies(one),
        several => rows(several),
    };
    let names = match records {
        [_] => vec!["corrected".to_owned(), "raw".to_owned()],
        several => (0..several.len()).map(letter).collect(),
    };
    write_table(text, "Latency and rate", &names, &table)?;
    charts(text, records)?;
    for (place, record) in records.iter().enumerate() {
        facts(text, &name(records, place, ": "), record)?;
    }
    text.push_str("</body></html>\n");
    Ok(())
}

/// What a run is called: nothing if there is no other.
fn name(records: &[Record], place: usize, end: &str) -> String {
    if records.len() == 1 {
        String::new()
    } else {
        format!("{}{end}", letter(place))
    }
}

fn verdict(text: &mut String, name: &str, record: &Record) -> fmt::Result {
    writeln!(text, "<p>{name} {}</p>", escape(&title(record)))?;
    match record.headline_text() {
        Some(headline) => writeln!(text, "<p class=\"headline\">{}</p>", escape(&headline))?,
        None => writeln!(text, "<p class=\"headline no\">No headline:</p>")?,
    }
    for refusal in &record.refusals {
        writeln!(text, "<p class=\"no\">{}</p>", escape(&refusal.why))?;
    }
    Ok(())
}

fn latencies(record: &Record) -> Vec<Row> {
    let row = |name: String, corrected, raw| Row {
        name,
        cells: vec![units::time(corrected), units::time(raw)],
    };
    let (corrected, raw) = (&record.corrected, &record.raw);
    let supported = |p: &f64| corrected.count as f64 * (1.0 - p / 100.0) >= 1.0;
    let shown = SHOWN.into_iter().filter(supported);
    let mut table: Vec<Row> = shown
        .map(|p| {
            row(
                format!("p{}", units::percentile(p)),
                corrected.at(p),
                raw.at(p),
            )
        })
        .collect();
    if corrected.count > 0 {
        table.push(row("max".to_owned(), corrected.max_ns, raw.max_ns));
    }
    table
}

fn charts(text: &mut String, records: &[Record]) -> fmt::Result {
    let several = records.len() > 1;
    let mut by_percentile = Vec::new();
    let (mut times, mut rates, mut cores) = (Vec::new(), Vec::new(), Vec::new());
    for (place, record) in records.iter().enumerate() {
        let name = |what: &str| {
            if several {
                format!("{} {what}", letter(place))
            } else {
                what.to_owned()
            }
        };
        let curve = |of: &super::record::Curve| {
            of.points
                .iter()
                .map(|point| (point.percentile, point.ns as f64))
                .collect()
        };
        by_percentile.push(Line {
            name: name("corrected"),
            points: curve(&record.corrected),
        });
        if !several {
            by_percentile.push(Line {
                name: "raw".to_owned(),
                points: curve(&record.raw),
            });
        }
        let answered = record.series.iter().filter(|stretch| stretch.max_ns > 0);
        let over_time = |value: fn(&super::log::Stretch) -> u64| {
            answered
                .clone()
                .map(|s| (s.at_s, value(s) as f64))
                .collect()
        };
        times.push(Line {
            name: name("p50"),
            points: over_time(|s| s.p50_ns),
        });
        times.push(Line {
            name: name("p99"),
            points: over_time(|s| s.p99_ns),
        });
        if !several {
            times.push(Line {
                name: "max".to_owned(),
                points: over_time(|s| s.max_ns),
            });
        }
        let moved = |s: &super::log::Stretch| if record.is_stream() { s.bytes } else { s.replies } as f64;
        let per_s = record
            .series
            .iter()
            .map(|s| (s.at_s, moved(s) / s.length_s.max(1e-9)));
        rates.push(Line {
            name: name(if record.is_stream() {
                "bytes"
            } else {
                "replies"
            }),
            points: per_s.collect(),
        });
        for core in &record.cpu.cores {
            let busy = record
                .cpu
                .series
                .iter()
                .filter_map(|s| Some((s.at_s, *s.busy.get(core.core)?)));
            cores.push(Line {
                name: name(&format!("core {}", core.core)),
                points: busy.collect(),
            });
        }
    }
    for (heading, axes, lines) in [
        (
            "Latency by percentile",
            (Axis::Percentile, Axis::Time),
            &by_percentile,
        ),
        (
            "Latency over time, corrected",
            (Axis::Seconds, Axis::Time),
            &times,
        ),
        ("Per second", (Axis::Seconds, Axis::Rate), &rates),
        ("Cores, busy", (Axis::Seconds, Axis::Share), &cores),
    ] {
        writeln!(text, "{}", chart(heading, axes, lines))?;
    }
    Ok(())
}

fn facts(text: &mut String, name: &str, record: &Record) -> fmt::Result {
    let (counts, generator, clock) = (&record.counts, &record.generator, &record.clock);
    let cell = |name: &str, value: String| Row {
        name: name.to_owned(),
        cells: vec![value],
    };
    let table = [
        cell("requests due", units::count(counts.offered)),
        cell("sent", units::count(counts.sent)),
        cell("answered", units::count(counts.replies)),
        cell("unanswered", units::count(counts.unanswered)),
        cell("shed", units::count(counts.shed)),
        cell("connections opened again", units::count(counts.reopened)),
        cell("bytes", units::count(counts.bytes)),
        cell(
            "frames lost by the driver",
            units::count(counts.driver_lost),
        ),
        cell("connects", units::count(record.connect.count)),
        cell("connect p50", units::time(record.connect.at(50.0))),
        cell("connect p99", units::time(record.connect.at(99.0))),
        cell("generator: loop busy", units::percent(generator.busy)),
        cell(
            "generator: iteration p50",
            units::time(generator.iteration.at(50.0)),
        ),
        cell(
            "generator: iteration p99",
            units::time(generator.iteration.at(99.0)),
        ),
        cell(
            "generator: own lag p99",
            units::time(generator.lag.at(99.0)),
        ),
        cell(
            "generator: longest silence",
            format!("{:.3} s", generator.longest_silence_s),
        ),
        cell(
            "clock: drift",
            format!("{:.1} ± {:.1} ppm", clock.drift_ppm, clock.drift_error_ppm),
        ),
        cell("clock: step", units::time(clock.step_ns)),
        cell("clock: a reading", format!("{:.0} ns", clock.reading_ns)),
    ];
    write_table(
        text,
        &format!("{name}Counts, generator and clock"),
        &[],
        &table,
    )?;
    let steps = record.ramp.iter().map(|step| Row {
        name: format!("{}/s", units::rate(step.rate_per_s)),
        cells: vec![
            units::rate(step.replies_per_s),
            units::time(step.p50_ns),
            units::time(step.p99_ns),
            step.refusal.clone().unwrap_or_default(),
        ],
    });
    let names = ["answered/s", "p50", "p99", "refused because"].map(str::to_owned);
    write_table(
        text,
        &format!("{name}Steps of the ramp"),
        &names,
        &steps.collect::<Vec<_>>(),
    )?;
    let cores = record.cpu.cores.iter().map(|core| Row {
        name: format!("core {}", core.core),
        cells: [core.user, core.system, core.irq, core.steal]
            .map(units::percent)
            .to_vec(),
    });
    let names = ["user", "system", "interrupts", "stolen"].map(str::to_owned);
    write_table(
        text,
        &format!("{name}Cores"),
        &names,
        &cores.collect::<Vec<_>>(),
    )?;
    counters(text, &format!("{name}TCP counters that moved"), &record.tcp)?;
    counters(text, &format!("{name}Driver"), &record.driver)?;
    counters(
        text,
        &format!("{name}Packets refused, by reason"),
        &record.drops,
    )?;
    let (machine, build) = (&record.machine, &record.build);
    let table = [
        cell("command", record.command.join(" ")),
        cell("ended, seconds since 1970", record.ended_unix_s.to_string()),
        cell("kernel", machine.kernel.clone()),
        cell("processor", machine.processor.clone()),
        cell("cores", machine.cores.to_string()),
        cell(
            "memory",
            format!(
                "{:.1} GiB",
                machine.memory_bytes as f64 / (1u64 << 30) as f64
            ),
        ),
        cell(
            "millrace",
            format!("{} {} {}", build.version, build.profile, build.arch),
        ),
    ];
    write_table(text, &format!("{name}Machine and build"), &[], &table)
}

fn counters(text: &mut String, heading: &str, counters: &BTreeMap<String, u64>) -> fmt::Result {
    let table = counters.iter().map(|(name, value)| Row {
        name: name.clone(),
        cells: vec![units::count(*value)],
    });
    write_table(text, heading, &[], &table.collect::<Vec<_>>())
}

/// Nothing for an empty table.
fn write_table(text: &mut String, heading: &str, names: &[String], table: &[Row]) -> fmt::Result {
    if table.is_empty() {
        return Ok(());
    }
    writeln!(text, "<h2>{}</h2><table>", escape(heading))?;
    if !names.is_empty() {
        let names = names
            .iter()
            .map(|name| format!("<th>{}</th>", escape(name)));
        writeln!(text, "<tr><th></th>{}</tr>", names.collect::<String>())?;
    }
    for row in table {
        let cells = row
            .cells
            .iter()
            .map(|cell| format!("<td>{}</td>", escape(cell)));
        writeln!(
            text,
            "<tr><td>{}</td>{}</tr>",
            escape(&row.name),
            cells.collect::<String>()
        )?;
    }
    writeln!(text, "</table>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::tests::sample;

    #[test]
    fn a_page_has_everything_and_needs_nothing() {
        let text = page(&[sample(1000)]);
        assert_eq!(text.matches("<svg").count(), 4, "{text}");
        for part in [
            "Latency by percentile",
            "core 1",
            "TcpRetransSegs",
            "rx_packets",
            "BadChecksum",
            "1,000 requests/s, p99",
            "&lt;a&gt;&amp;b",
            "</html>",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        for part in ["src=", "href=", "<script", "<a>"] {
            assert!(!text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn several_runs_stand_side_by_side() {
        let text = page(&[sample(1000), sample(2000)]);
        assert!(text.contains("A corrected") && text.contains("B corrected"));
        assert!(text.contains("2,000 (2.00×)"), "{text}");
    }
}
