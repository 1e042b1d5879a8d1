//! Plain decimals taken as written: `0.285` of 100 is 28.5, not the nearest double below it.

use std::fmt;

/// A non-negative decimal, kept exactly as an integer over a power of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    numerator: u64,
    places: u32,
}

impl Decimal {
    /// The most digits after the point.
    const PLACES: u32 = 15;

    /// Reads digits, optionally a point and more digits: no sign, no exponent, no percent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || whole.len() > 3 {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let places = u32::try_from(fraction.len()).ok().filter(|&p| p <= Self::PLACES)?;
        let numerator = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { numerator, places })
    }

    /// The decimal nearest to `x` with at most `places` digits after the point.
    #[must_use]
    pub fn from_f64(x: f64, places: usize) -> Self {
        Self::parse(&format!("{:.places$}", x.clamp(0.0, 999.0))).unwrap_or(Self { numerator: 0, places: 0 })
    }

    /// The nearest double.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / 10_f64.powi(self.places.cast_signed())
    }

    /// Whether it is at most `limit`.
    #[must_use]
    pub fn at_most(self, limit: u64) -> bool {
        u128::from(self.numerator) <= u128::from(limit) * self.power()
    }

    /// Whether it is 0.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.numerator == 0
    }

    /// ⌊P·n + ½⌋, exactly.
    #[must_use]
    pub fn share_of(self, n: u64) -> u64 {
        let halves = 2 * u128::from(self.numerator) * u128::from(n) + self.power();
        u64::try_from(halves / (2 * self.power())).unwrap_or(u64::MAX)
    }

    fn power(self) -> u128 {
        10_u128.pow(self.places)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Within 64 bits, which divide faster: schemes are spelled in every frame.
        let power = 10_u64.pow(self.places);
        let (whole, fraction) = (self.numerator / power, self.numerator % power);
        if self.places == 0 {
            write!(f, "{whole}")
        } else {
            write!(f, "{whole}.{fraction:0places$}", places = self.places as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_as_written() {
        for (text, shown) in
            [("0.9", "0.9"), ("0.90", "0.9"), ("1", "1"), ("1.0", "1"), ("0.05", "0.05"), ("100", "100")]
        {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", ".5", "1.", "-1", "1e-3", "50%", "0,5", "+0.5", "0.1234567890123456", "1000", " 1", "٣"] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares_round_half_up_exactly() {
        let share = |p: &str, n| Decimal::parse(p).unwrap().share_of(n);
        assert_eq!(share("0.285", 100), 29); // a double would say 28
        assert_eq!(share("0.5", 7), 4);
        assert_eq!(share("0.5", 0), 0);
        assert_eq!(share("1", u64::MAX), u64::MAX);
        assert_eq!(share("0.1", 235_200), 23_520);
        assert_eq!(Decimal::from_f64(0.451_23, 3).to_string(), "0.451");
        assert!(Decimal::parse("1").unwrap().at_most(1) && !Decimal::parse("1.0001").unwrap().at_most(1));
    }
}
