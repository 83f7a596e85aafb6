//! Numbers as C's `%g` prints them, rates, and times of timers.

/// As `%.{digits}g`.
pub fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // Rounding may add a place before the point: the exponent is that of the rounded number.
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let places = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.places$}")).to_owned()
}

/// Without zeros behind the point.
fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

/// Bits per second, exactly or with a prefix.
pub fn rate(bits: f64, exact: bool) -> String {
    if exact {
        return format!("{bits:.0}bps");
    }
    let prefixes = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, prefix) = prefixes
        .into_iter()
        .find(|(unit, _)| bits >= *unit)
        .unwrap_or((1.0, ""));
    format!("{}{prefix}bps", general(bits / unit, 3))
}

/// The time that a timer has left. The longer, the coarser.
pub fn timer(milliseconds: u64) -> String {
    let (minutes, mut seconds) = (milliseconds / 60_000, milliseconds / 1000 % 60);
    let mut milliseconds = milliseconds % 1000;
    let mut text = String::new();
    if minutes > 0 {
        milliseconds = 0;
        text = format!("{minutes}min");
        if minutes > 9 {
            seconds = 0;
        }
    }
    if seconds > 9 {
        milliseconds = 0;
    }
    if seconds > 0 {
        text += &match milliseconds {
            0 => format!("{seconds}sec"),
            _ => format!("{seconds}."),
        };
    }
    if milliseconds > 0 {
        text += &format!("{milliseconds:03}ms");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_c_prints_them() {
        for (value, digits, text) in [
            (0.0, 6, "0"),
            (200.0, 6, "200"),
            (0.017, 6, "0.017"),
            (5.158, 6, "5.158"),
            (1234.5678, 6, "1234.57"),
            (123_456.7, 6, "123457"),
            (999_999.5, 6, "1e+06"),
            (12_345_678.0, 6, "1.23457e+07"),
            (0.000_012_34, 6, "1.234e-05"),
            (81.92, 3, "81.9"),
            (999.5, 3, "1e+03"),
        ] {
            assert_eq!(general(value, digits), text);
        }
    }

    /// As iproute2's `ss` printed them on the kernel's sockets, by SO_MAX_PACING_RATE.
    #[test]
    fn rates() {
        for (bits, text) in [
            (8.0, "8bps"),
            (992.0, "992bps"),
            (1000.0, "1kbps"),
            (1008.0, "1.01kbps"),
            (98_760.0, "98.8kbps"),
            (999_496.0, "999kbps"),
            (999_504.0, "1e+03kbps"),
            (1e6, "1Mbps"),
            (98_765_431_208.0, "98.8Gbps"),
            (1e13, "10Tbps"),
        ] {
            assert_eq!(rate(bits, false), text);
        }
        assert_eq!(rate(154_202_352_941.2, true), "154202352941bps");
    }

    #[test]
    fn times() {
        for (left, text) in [
            (0, ""),
            (5, "005ms"),
            (204, "204ms"),
            (1500, "1.500ms"),
            (9000, "9sec"),
            (59_700, "59sec"),
            (61_500, "1min1sec"),
            (7_199_000, "119min"),
        ] {
            assert_eq!(timer(left), text);
        }
    }
}
