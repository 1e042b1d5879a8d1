//! Bytes as text, for what a header carries (RFC 4648 §4, with padding).

const LETTERS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Letters that `bytes` bytes take.
#[must_use]
pub const fn len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Bytes as letters.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(len(bytes.len()));
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let letter = LETTERS.get((word >> (18 - 6 * i)) as usize & 63).copied().unwrap_or(b'A');
            out.push(if i <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// The bytes of letters that [`encode`] made; `None` for anything else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (fours, []) = text.as_bytes().as_chunks::<4>() else { return None };
    for (i, four) in fours.iter().enumerate() {
        let pads = four.iter().rev().take_while(|&&letter| letter == b'=').count();
        if pads > 2 || (pads > 0 && i + 1 < fours.len()) {
            return None;
        }
        let mut word = 0_u32;
        for &letter in four.iter().take(4 - pads) {
            word = word << 6 | u32::from(value(letter)?);
        }
        word <<= 6 * pads;
        let [_, bytes @ ..] = word.to_be_bytes();
        let (kept, free) = bytes.split_at_checked(3 - pads)?;
        if free.iter().any(|&byte| byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}

fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_the_standard() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, text) in vectors {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), plain.as_bytes());
        }
        for wrong in ["Z", "Zg", "Zg=", "Zh==", "Z===", "====", "Zg==Zg==", "Zm9\u{e4}", "Zm 9"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn letters_and_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len(), len(bytes.len()));
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }
}
