//! Numbers for people.

/// A time in three digits: `1.23 ms`.
pub fn time(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        ..1e3 => format!("{ns} ns"),
        ..1e6 => format!("{} µs", digits(ns / 1e3)),
        ..1e9 => format!("{} ms", digits(ns / 1e6)),
        _ => format!("{} s", digits(ns / 1e9)),
    }
}

/// Bits per second of so many bytes per second.
pub fn bits(bytes_per_s: f64) -> String {
    let bits = bytes_per_s * 8.0;
    match bits {
        ..1e6 => format!("{} kbit/s", digits(bits / 1e3)),
        ..1e9 => format!("{} Mbit/s", digits(bits / 1e6)),
        _ => format!("{} Gbit/s", digits(bits / 1e9)),
    }
}

/// A whole number in groups: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate in whole numbers, small ones with decimals.
pub fn rate(per_s: f64) -> String {
    if per_s < 100.0 {
        digits(per_s)
    } else {
        count(per_s.round() as u64)
    }
}

/// A share of one in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A percentile without needless zeros: `99.9`.
pub fn percentile(p: f64) -> String {
    let text = format!("{p:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn digits(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_groups() {
        assert_eq!(time(999), "999 ns");
        assert_eq!(time(1_234), "1.23 µs");
        assert_eq!(time(45_678_000), "45.7 ms");
        assert_eq!(time(2_000_000_000), "2.00 s");
        assert_eq!(count(0), "0");
        assert_eq!(count(123), "123");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(52_311.4), "52,311");
        assert_eq!(rate(1.5), "1.50");
        assert_eq!(bits(1.25e9), "10.0 Gbit/s");
        assert_eq!(percentile(99.0), "99");
        assert_eq!(percentile(99.99), "99.99");
        assert_eq!(percent(0.123), "12.3 %");
    }
}
