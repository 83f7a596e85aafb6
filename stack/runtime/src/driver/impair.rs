//! The text form of faults: `loss=1%,dup=0.5%,reorder=2%,corrupt=0.1%,delay=2ms,jitter=1ms,rate=100M,seed=42`.
//!
//! A key applies to both directions unless it begins with `rx.` or `tx.`. Percentages may have decimals, or be given as
//! parts per million (`500ppm`); durations are `ns`, `us`, `ms` or `s`; a rate is in bits per second with `k`, `M`
//! or `G`.

use core::str::FromStr;
use core::time::Duration;

use millrace_pmd::ImpairConfig;
use millrace_pmd::impair::Faults;

/// Faults for the queues of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImpairSpec(ImpairConfig);

impl ImpairSpec {
    /// The faults of the queue at `place`: the same for all, chance drawn from a seed of its own.
    pub fn config(&self, place: u64) -> ImpairConfig {
        ImpairConfig {
            seed: self.0.seed.wrapping_add(place),
            ..self.0
        }
    }
}

/// A setting that is not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{item}` is no impairment: {why}; write for example loss=1%,dup=1%,reorder=2%,corrupt=0.1%,delay=2ms,jitter=1ms,seed=42"
)]
pub struct ImpairParseError {
    item: String,
    why: &'static str,
}

impl FromStr for ImpairSpec {
    type Err = ImpairParseError;

    fn from_str(spec: &str) -> Result<Self, ImpairParseError> {
        let mut config = ImpairConfig::default();
        for item in spec
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let fail = |why| ImpairParseError {
                item: item.to_owned(),
                why,
            };
            let (key, value) = item
                .split_once('=')
                .ok_or_else(|| fail("it has no value"))?;
            let set = |faults: &mut Faults, key| set_fault(faults, key, value).map_err(fail);
            match key.split_once('.') {
                None if key == "seed" => {
                    config.seed = value.parse().map_err(|_| fail("a seed is a number"))?
                }
                Some(("rx", key)) => set(&mut config.rx, key)?,
                Some(("tx", key)) => set(&mut config.tx, key)?,
                _ => {
                    set(&mut config.rx, key)?;
                    set(&mut config.tx, key)?;
                }
            }
        }
        Ok(Self(config))
    }
}

fn set_fault(faults: &mut Faults, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "loss" => faults.loss_ppm = probability(value)?,
        "dup" => faults.duplicate_ppm = probability(value)?,
        "corrupt" => faults.corrupt_ppm = probability(value)?,
        "truncate" => faults.truncate_ppm = probability(value)?,
        "reorder" => faults.reorder_ppm = probability(value)?,
        "distance" => {
            faults.reorder_distance = value
                .parse()
                .map_err(|_| "a distance is a number of frames")?
        }
        "delay" => faults.delay = duration(value)?,
        "jitter" => faults.jitter = duration(value)?,
        "rate" => faults.rate_bps = Some(rate(value)?),
        "limit" => {
            faults.queue_limit = value.parse().map_err(|_| "a limit is a number of frames")?
        }
        _ => {
            return Err(
                "the keys are loss, dup, corrupt, truncate, reorder, distance, delay, jitter, rate, limit and seed",
            );
        }
    }
    Ok(())
}

/// Parts per million from `1.5%` or `500ppm`.
fn probability(value: &str) -> Result<u32, &'static str> {
    const WHY: &str = "a probability is between 0% and 100%, or in ppm";
    let ppm = match (value.strip_suffix('%'), value.strip_suffix("ppm")) {
        (Some(percent), _) => decimal(percent, 10_000).ok_or(WHY)?,
        (_, Some(ppm)) => ppm.parse().map_err(|_| WHY)?,
        _ => return Err(WHY),
    };
    if ppm <= 1_000_000 {
        u32::try_from(ppm).map_err(|_| WHY)
    } else {
        Err(WHY)
    }
}

fn duration(value: &str) -> Result<Duration, &'static str> {
    const WHY: &str = "a duration ends in ns, us, ms or s";
    // The longer suffixes first: all of them end in `s`.
    let (number, unit) = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
    ]
    .into_iter()
    .find_map(|(suffix, unit)| Some((value.strip_suffix(suffix)?, unit)))
    .ok_or(WHY)?;
    decimal(number, unit).map(Duration::from_nanos).ok_or(WHY)
}

fn rate(value: &str) -> Result<u64, &'static str> {
    let (number, unit) = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)]
        .into_iter()
        .find_map(|(suffix, unit)| Some((value.strip_suffix(suffix)?, unit)))
        .unwrap_or((value, 1));
    decimal(number, unit)
        .filter(|&bps| bps > 0)
        .ok_or("a rate is in bits per second, with k, M or G")
}

/// `text` × `unit`, where `text` may have decimals as far as `unit` can hold them.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let mut value = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        // The check above leaves digits only (a second point has no value and is refused).
        value = value.checked_add(u64::from(digit.checked_sub(b'0')?) * place)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_description() {
        let spec: ImpairSpec =
            "loss=1%,dup=0.5%,reorder=250ppm, corrupt=100%,delay=2ms,jitter=1.5us,rate=100M,seed=42".parse().expect("valid");
        let config = spec.config(0);
        assert_eq!(config.seed, 42);
        assert_eq!(config.rx, config.tx);
        assert_eq!(config.rx.loss_ppm, 10_000);
        assert_eq!(config.rx.duplicate_ppm, 5_000);
        assert_eq!(config.rx.reorder_ppm, 250);
        assert_eq!(config.rx.corrupt_ppm, 1_000_000);
        assert_eq!(config.rx.delay, Duration::from_millis(2));
        assert_eq!(config.rx.jitter, Duration::from_nanos(1500));
        assert_eq!(config.rx.rate_bps, Some(100_000_000));
        assert_eq!(spec.config(3).seed, 45);
    }

    #[test]
    fn one_direction_only() {
        let config = "rx.loss=2%,tx.delay=1s"
            .parse::<ImpairSpec>()
            .expect("valid")
            .config(0);
        assert_eq!((config.rx.loss_ppm, config.tx.loss_ppm), (20_000, 0));
        assert_eq!(
            (config.rx.delay, config.tx.delay),
            (Duration::ZERO, Duration::from_secs(1))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "loss",
            "loss=1",
            "loss=101%",
            "loss=-1%",
            "loss=1.5.5%",
            "lose=1%",
            "delay=5",
            "delay=xs",
            "rate=0",
            "seed=x",
            "up.loss=1%",
        ] {
            let error = text.parse::<ImpairSpec>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn nothing_is_no_fault() {
        assert_eq!("".parse(), Ok(ImpairSpec::default()));
    }
}
