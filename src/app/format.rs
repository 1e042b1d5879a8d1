//! Numbers as the window says them: KiB and MiB with two decimals, thousands in groups, a real minus, an en dash for none.

use crate::formats::error::printable_up_to;

/// Bytes with a unit that suits them: value and unit apart, so that the unit can be drawn smaller.
#[must_use]
pub fn bytes(bytes: u64) -> (String, &'static str) {
    let b = bytes as f64;
    match bytes {
        0..1024 => (bytes.to_string(), "B"),
        1024..1_048_576 => (format!("{:.1}", b / 1024.0), "KiB"),
        1_048_576..1_073_741_824 => (format!("{:.2}", b / 1_048_576.0), "MiB"),
        _ => (format!("{:.2}", b / 1_073_741_824.0), "GiB"),
    }
}

/// Bytes and unit as one text.
#[must_use]
pub fn bytes_text(count: u64) -> String {
    let (value, unit) = bytes(count);
    format!("{value} {unit}")
}

/// Bytes as KiB for a table column.
#[must_use]
pub fn kib(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    if kib >= 100.0 { grouped(kib.round() as u64) } else { format!("{kib:.1}") }
}

/// A whole number with a comma between thousands.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// How many tensors there are, in words.
pub fn tensors(n: usize) -> String {
    if n == 1 { "1 tensor".to_owned() } else { format!("{} tensors", grouped(n as u64)) }
}

/// A count in short: `721 k`, `22.7 M`.
#[must_use]
pub fn count(n: u64) -> String {
    let x = n as f64;
    match n {
        0..1_000 => n.to_string(),
        1_000..100_000 => format!("{:.1} k", x / 1e3),
        100_000..1_000_000 => format!("{:.0} k", x / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", x / 1e6),
        _ => format!("{:.2} B", x / 1e9),
    }
}

/// A signed number with a real minus.
#[must_use]
pub fn signed(x: f64, decimals: usize) -> String {
    let text = format!("{x:.decimals$}");
    // What is rounded to nothing has no sign.
    let nothing = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
    if nothing { text.trim_start_matches('-').to_owned() } else { text.replace('-', "−") }
}

/// An optional number, an en dash for none.
#[must_use]
pub fn optional(x: Option<f64>, decimals: usize) -> String {
    x.map_or_else(|| "–".into(), |x| signed(x, decimals))
}

/// A share as percent.
#[must_use]
pub fn percent(share: f64, decimals: usize) -> String {
    signed(100.0 * share, decimals)
}

/// A relative error in percent with three significant digits, small ones as a power.
#[must_use]
pub fn small_percent(share: f64) -> String {
    let p = 100.0 * share;
    match p {
        0.0 => "0".into(),
        p if p < 0.001 => format!("{p:.1e}").replace("e-", "e−"),
        p if p < 1.0 => format!("{p:.3}"),
        p if p < 10.0 => format!("{p:.2}"),
        p => format!("{p:.1}"),
    }
}

/// A shape: `300 × 784`.
#[must_use]
pub fn shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".into();
    }
    shape.iter().map(|&d| grouped(d as u64)).collect::<Vec<_>>().join(" × ")
}

/// Text of any length that may hold what a file or the system said, as one line that is safe to show.
#[must_use]
pub fn plain(text: &str) -> String {
    printable_up_to(&text.split_whitespace().collect::<Vec<_>>().join(" "), usize::MAX)
}

/// Seconds left, in words.
#[must_use]
pub fn seconds(s: f64) -> String {
    if s < 90.0 { format!("{:.0} s", s.ceil()) } else { format!("{:.0} min", (s / 60.0).ceil()) }
}

/// A tick on a log axis of counts: 1, 10, 100, 1 k, 10 k, 1 M.
#[must_use]
pub fn power(exponent: u32) -> String {
    match exponent {
        0..=2 => 10_u32.pow(exponent).to_string(),
        3..=5 => format!("{} k", 10_u32.pow(exponent - 3)),
        6..=8 => format!("{} M", 10_u32.pow(exponent - 6)),
        _ => format!("1e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_window_says_them() {
        assert_eq!(bytes_text(89 * 1024 + 820), "89.8 KiB");
        assert_eq!(bytes_text(16_661_000), "15.89 MiB");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!([count(721_000), count(22_700_000), count(999), count(1_500)], ["721 k", "22.7 M", "999", "1.5 k"]);
        assert_eq!([signed(-0.19, 2), signed(-0.001, 2), signed(0.0, 1)], ["−0.19", "0.00", "0.0"]);
        assert_eq!(optional(None, 1), "–");
        assert_eq!(small_percent(0.0385), "3.85");
        assert_eq!(shape(&[1408, 512]), "1,408 × 512");
        assert_eq!(power(5), "100 k");
        assert_eq!(kib(2_883_584), "2,816");
        assert_eq!(plain("a\n  b\u{7f}\u{202e}"), "a b\\u{7f}\\u{202e}");
        assert_eq!(plain(&"é".repeat(1000)).chars().count(), 1000);
    }
}
