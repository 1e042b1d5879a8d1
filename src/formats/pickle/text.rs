//! The texts of old protocols, spelled with escapes, and the numbers that are written as digits.

use super::Value;

/// A `str` of Python 2: text where it is UTF-8, which is how PyTorch reads it, else bytes.
pub(super) fn old_text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| Value::Bytes(bytes.into()), |text| Value::Text(text.into()))
}

/// UTF-8 as Python 3 writes it. What is not becomes U+FFFD: no name of a tensor has such parts.
pub(super) fn new_text(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into())
}

/// The bytes of a literal between quotes, as `repr` writes it; `None` when it is none.
pub(super) fn literal(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii_end();
    let quote = *line.first().filter(|first| matches!(first, b'\'' | b'"'))?;
    let inner = line.get(1..line.len().checked_sub(1)?)?;
    if line.len() < 2 || line.last() != Some(&quote) {
        return None;
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escaped, more) = rest.split_first()?;
        rest = more;
        match escaped {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'\\' | b'\'' | b'"' => out.push(escaped),
            b'\n' => {}
            b'x' => {
                let (digits, more) = rest.split_at_checked(2)?;
                out.push(u8::try_from(digits_of(digits, 16)?).ok()?);
                rest = more;
            }
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
                let (others, left) = rest.split_at_checked(more)?;
                out.push(u8::try_from(digits_of(&[&[escaped], others].concat(), 8)? & 0xff).ok()?);
                rest = left;
            }
            other => out.extend([b'\\', other]),
        }
    }
    Some(out)
}

/// The text of a line in the codec `raw-unicode-escape`: Latin-1 with `\u` before four digits and `\U`
/// before eight; `None` for an escape cut short.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut high: Option<u32> = None;
    let mut rest = line;
    while let Some((&byte, more)) = rest.split_first() {
        let digits = match (byte, more.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let (code, left) = if digits == 0 {
            (u32::from(byte), more)
        } else {
            let (code, left) = more.get(1..)?.split_at_checked(digits)?;
            (digits_of(code, 16)?, left)
        };
        rest = left;
        // Python 2 on some systems spelled what lies past 16 bits in two.
        match (high.take(), code) {
            (Some(first), 0xdc00..=0xdfff) => {
                let joined = 0x1_0000 + ((first - 0xd800) << 10) + (code - 0xdc00);
                out.push(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
                continue;
            }
            (Some(_), _) => out.push(char::REPLACEMENT_CHARACTER),
            (None, _) => {}
        }
        match code {
            0xd800..=0xdbff => high = Some(code),
            _ => out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
    out.extend(high.map(|_| char::REPLACEMENT_CHARACTER));
    Some(out)
}

fn digits_of(digits: &[u8], radix: u32) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u32::from_str_radix(text, radix).ok()
}

/// A whole number written in digits, with the `L` of Python 2 behind it or not.
pub(super) fn integer(line: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(line).ok()?.trim();
    let text = text.strip_suffix('L').unwrap_or(text);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().map_or(Value::Huge, Value::Int))
}

/// A float written in digits.
pub(super) fn float(line: &[u8]) -> Option<Value> {
    std::str::from_utf8(line).ok()?.trim().parse().ok().map(Value::Float)
}

/// A whole number in two's complement, the lowest byte first; no byte at all is 0.
pub(super) fn long(bytes: &[u8]) -> Value {
    let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [sign; 16];
    if bytes.iter().skip(wide.len()).any(|&byte| byte != sign) {
        return Value::Huge;
    }
    wide.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
    let number = i128::from_le_bytes(wide);
    // What was longer must still have the sign that its last byte says.
    if (number < 0) == (sign != 0) { Value::Int(number) } else { Value::Huge }
}
