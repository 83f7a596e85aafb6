//! The rows as a page that needs no other file, and as one picture.

use std::fmt::Write as _;

use serde_json::Value;

use crate::plan::Contender;
use crate::report::{Row, ratio_to};

const STYLE: &str = "body{font:15px/1.4 sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse}td,th{padding:.15em .6em;border-bottom:1px solid #ddd;text-align:right}\
td:nth-child(-n+4),th:nth-child(-n+4){text-align:left}.no{color:#a00}";
/// Pixels: width of the picture, of its labels and of the longest bar; height of a bar, and between two kinds of work.
const WIDTH: f64 = 820.0;
const LABEL: f64 = 270.0;
const LONGEST: f64 = 420.0;
const BAR: f64 = 16.0;
const GAP: f64 = 8.0;

/// The page; `about` are further facts in sentences.
pub fn page(rows: &[Row], about: &[String], machine: &Value) -> String {
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>bench veth</title>\n<style>{STYLE}</style></head>\n\
         <body><h1>Millrace and the kernel over one veth</h1>\n{}\n<table><tr>",
        picture(rows)
    );
    for name in [
        "work",
        "connections",
        "client",
        "server",
        "requests/s",
        "lowest",
        "highest",
        "p50 µs",
        "CPU µs/request",
        "× epoll",
        "× nginx",
        "saturated",
    ] {
        let _ = write!(text, "<th>{name}</th>");
    }
    text += "</tr>\n";
    for row in rows {
        table_row(&mut text, rows, row);
    }
    text += "</table>\n";
    for row in rows {
        for why in &row.refusals {
            let name = row.case.work.name();
            let _ = writeln!(
                text,
                "<p class=\"no\">Not counted: {name}, {}: {}</p>",
                row.case.server.name(),
                escape(why)
            );
        }
    }
    for sentence in about {
        let _ = writeln!(text, "<p>{}</p>", escape(sentence));
    }
    if let Some(facts) = machine.as_object() {
        let facts: Vec<String> = facts
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let _ = writeln!(text, "<p>{}</p>", escape(&facts.join(", ")));
    }
    text + "</body></html>\n"
}

fn table_row(text: &mut String, rows: &[Row], row: &Row) {
    let case = &row.case;
    let (low, high) = row.range();
    let json = crate::report::as_json(core::slice::from_ref(row));
    let number = |name: &str| {
        json[0][name]
            .as_f64()
            .map_or(String::new(), |value| format!("{value:.1}"))
    };
    let ratio = |server: Contender| {
        ratio_to(rows, row, server).map_or(String::new(), |ratio| format!("{ratio:.2}"))
    };
    let rate = |rate: f64| {
        if row.samples.is_empty() {
            String::from("none")
        } else {
            format!("{rate:.0}")
        }
    };
    // Writing to a string cannot fail.
    text.push_str("<tr>");
    for cell in [
        case.work.name(),
        case.connections.to_string(),
        case.client.name().to_owned(),
        case.server.name().to_owned(),
        rate(row.rate()),
        rate(low),
        rate(high),
        number("p50_us"),
        row.cpu_micros()
            .map_or(String::from("spins"), |micros| format!("{micros:.2}")),
        ratio(Contender::Epoll),
        ratio(Contender::Nginx),
        row.saturated().to_owned(),
    ] {
        let _ = write!(text, "<td>{}</td>", escape(&cell));
    }
    text.push_str("</tr>\n");
}

/// Bars of the median rates with lines from the lowest to the highest, as SVG.
pub fn picture(rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.range().1).fold(1.0, f64::max);
    let (mut bars, mut y) = (String::new(), GAP);
    for (place, row) in rows.iter().enumerate() {
        let kind = |row: &Row| (row.case.work, row.case.connections);
        if place > 0 && kind(&rows[place - 1]) != kind(row) {
            y += GAP;
        }
        bar(&mut bars, row, y, LONGEST / most);
        y += BAR + 2.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{0:.0}\" viewBox=\"0 0 {WIDTH:.0} {0:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{bars}</svg>",
        y + GAP
    )
}

fn bar(text: &mut String, row: &Row, y: f64, scale: f64) {
    let case = &row.case;
    let colour = match case.server {
        Contender::Millrace => "#1f77b4",
        Contender::Epoll => "#9a9a9a",
        Contender::Nginx => "#d0b080",
    };
    let label = format!(
        "{}, {} conn., {} to {}",
        case.work.name(),
        case.connections,
        case.client.name(),
        case.server.name()
    );
    let (width, middle, baseline) = (row.rate() * scale, y + BAR / 2.0, y + BAR - 4.0);
    let _ = writeln!(
        text,
        "<text x=\"{:.0}\" y=\"{baseline:.0}\" text-anchor=\"end\">{}</text>",
        LABEL - 6.0,
        escape(&label)
    );
    let _ = writeln!(
        text,
        "<rect x=\"{LABEL:.0}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{BAR:.0}\" fill=\"{colour}\"/>"
    );
    let (low, high) = row.range();
    let mut end = width;
    if row.samples.len() > 1 {
        let (from, to) = (LABEL + low * scale, LABEL + high * scale);
        let _ = writeln!(
            text,
            "<line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"black\"/>"
        );
        end = high * scale;
    }
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{baseline:.0}\">{:.0}/s</text>",
        LABEL + end + 6.0,
        row.rate()
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Client;
    use crate::report::tests::row;

    #[test]
    fn a_page_has_each_row_twice_and_needs_nothing() {
        let mut rows = [
            row(Client::Kernel, Contender::Millrace, &[100.0, 120.0]),
            row(Client::Kernel, Contender::Epoll, &[50.0]),
        ];
        rows[1].refusals.push("<late>".to_owned());
        let text = page(
            &rows,
            &["two rounds".to_owned()],
            &json!({ "kernel": "6.18" }),
        );
        assert_eq!(text.matches("<tr>").count(), 3, "{text}");
        assert_eq!(text.matches("<rect").count(), 3, "{text}");
        assert_eq!(text.matches("<line").count(), 1, "{text}");
        for part in [
            "120",
            "2.40",
            "&lt;late&gt;",
            "two rounds",
            "6.18",
            "</html>",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        for part in ["src=", "href=", "<script"] {
            assert!(!text.contains(part), "{part} in {text}");
        }
    }
}
