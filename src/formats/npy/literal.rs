//! The Python literal at the head of a NumPy array, as far as NumPy writes one: a dictionary of texts, numbers, truth values,
//! tuples and lists. Nothing is evaluated.

/// Tuples and lists inside one another; a structured dtype has one for each of its levels.
const DEEPEST: usize = 16;

/// What a literal can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Number(u64),
    Truth(bool),
    None,
    /// A tuple or list.
    Items(Vec<Literal>),
}

/// The pairs of a dictionary, to the end of the text.
pub(super) fn dictionary(text: &str) -> Result<Vec<(String, Literal)>, String> {
    let mut reader = Reader { text, rest: text };
    reader.expect('{')?;
    let mut pairs = Vec::new();
    while !reader.takes('}') {
        let Literal::Text(key) = reader.value(0)? else { return Err(reader.wrong("a key in quotes is expected")) };
        reader.expect(':')?;
        pairs.push((key, reader.value(0)?));
        if !reader.takes(',') {
            reader.expect('}')?;
            break;
        }
    }
    reader.space();
    if !reader.rest.is_empty() {
        return Err(reader.wrong("nothing is expected any more"));
    }
    Ok(pairs)
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn wrong(&self, what: &str) -> String {
        let at = self.text.len() - self.rest.len();
        let found =
            self.rest.chars().next().map_or("its end".to_owned(), |c| crate::formats::error::quoted(&c.to_string()));
        format!("{what} at byte {at} of it, and there is {found}")
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Passes over a character that may come next.
    fn takes(&mut self, c: char) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.takes(c) { Ok(()) } else { Err(self.wrong(&format!("{c:?} is expected"))) }
    }

    fn value(&mut self, depth: usize) -> Result<Literal, String> {
        if depth > DEEPEST {
            return Err(self.wrong(&format!("at most {DEEPEST} lists in one another are expected")));
        }
        for (open, close) in [('(', ')'), ('[', ']')] {
            if self.takes(open) {
                return self.items(close, depth);
            }
        }
        for quote in ['\'', '"'] {
            if self.takes(quote) {
                let end = self.rest.find(quote).ok_or_else(|| self.wrong("a text without an end is not expected"))?;
                let text = self.take(end);
                if text.contains('\\') {
                    return Err("a text in it has a backslash, which no name of a type needs".into());
                }
                self.rest = self.rest.get(1..).unwrap_or_default();
                return Ok(Literal::Text(text.to_owned()));
            }
        }
        for (word, literal) in
            [("True", Literal::Truth(true)), ("False", Literal::Truth(false)), ("None", Literal::None)]
        {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(literal);
            }
        }
        self.number()
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn items(&mut self, close: char, depth: usize) -> Result<Literal, String> {
        let mut items = Vec::new();
        while !self.takes(close) {
            items.push(self.value(depth + 1)?);
            if !self.takes(',') {
                self.expect(close)?;
                // A value in parentheses is that value; only a comma makes a tuple of it.
                return Ok(match items.pop() {
                    Some(only) if close == ')' && items.is_empty() => only,
                    last => Literal::Items(items.into_iter().chain(last).collect()),
                });
            }
        }
        Ok(Literal::Items(items))
    }

    fn number(&mut self) -> Result<Literal, String> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let wrong = self.wrong("a number, a text in quotes, True, False or a list is expected");
        let number = self.take(digits).parse().map_err(|_| wrong)?;
        // Python 2 wrote 3L.
        self.rest = self.rest.strip_prefix('L').unwrap_or(self.rest);
        Ok(Literal::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_numpy_writes_is_read() {
        let header = "{'descr': [('a', '<f4'), (\"b\", '<i4', (2,))], 'fortran_order': False, 'shape': (3L, 4), }   \n";
        let text = |t: &str| Literal::Text(t.into());
        let b = Literal::Items(vec![text("b"), text("<i4"), Literal::Items(vec![Literal::Number(2)])]);
        let descr = Literal::Items(vec![Literal::Items(vec![text("a"), text("<f4")]), b]);
        let shape = Literal::Items(vec![Literal::Number(3), Literal::Number(4)]);
        let pairs = dictionary(header).unwrap();
        assert_eq!(pairs[0], ("descr".into(), descr));
        assert_eq!(pairs[1], ("fortran_order".into(), Literal::Truth(false)));
        assert_eq!(pairs[2], ("shape".into(), shape));
        assert_eq!(dictionary("{}").unwrap(), []);
        assert_eq!(dictionary("{'a':()}").unwrap(), [("a".into(), Literal::Items(vec![]))]);
        assert_eq!(dictionary("{'a':(7)}").unwrap(), [("a".into(), Literal::Number(7))]);
        assert_eq!(dictionary("{'a':[7]}").unwrap(), [("a".into(), Literal::Items(vec![Literal::Number(7)]))]);
    }

    #[test]
    fn anything_else_is_told_its_place() {
        for (text, words) in [
            ("", "'{' is expected at byte 0 of it, and there is its end"),
            ("{'a': __import__('os')}", "a number, a text in quotes, True, False or a list is expected at byte 6"),
            ("{'a': -1}", "at byte 6 of it, and there is \"-\""),
            ("{'a': 18446744073709551616}", "at byte 6"),
            ("{'a': 1.5}", "'}' is expected at byte 7 of it, and there is \".\""),
            ("{'a': 'b}", "a text without an end"),
            ("{'a': '\\x41'}", "has a backslash"),
            ("{1: 2}", "a key in quotes is expected"),
            ("{'a' 1}", "':' is expected"),
            ("{'a': 1} + {}", "nothing is expected any more at byte 9"),
            ("{'a': (1, 2}", "')' is expected at byte 11"),
            ("{'a': (1", "')' is expected"),
        ] {
            let said = dictionary(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
        let deep = format!("{{'a': {}", "(".repeat(100_000));
        assert!(dictionary(&deep).unwrap_err().contains("at most 16 lists in one another"));
    }
}
