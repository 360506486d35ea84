//! Header lists as the ABI lays them out: how many, then the lengths of each name and value, then each name and value with a NUL
//! after it. All numbers are 32 bits, little-endian.

/// Headers as the host handed them over, looked at in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

impl Headers {
    /// From the host's bytes. Nothing is checked here: what does not fit is not there.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The first value of a header, by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|(key, value)| (key == name.as_bytes()).then_some(value))
    }

    /// Names and values in order.
    pub fn iter(&self) -> Iter<'_> {
        let count = self.0.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        let lengths = count.checked_mul(8).and_then(|size| self.0.get(4..size.checked_add(4)?));
        let contents = lengths.and_then(|lengths| self.0.get(lengths.len() + 4..));
        Iter { lengths: lengths.unwrap_or_default(), contents: contents.unwrap_or_default() }
    }
}

impl<'h> IntoIterator for &'h Headers {
    type Item = (&'h [u8], &'h [u8]);
    type IntoIter = Iter<'h>;

    fn into_iter(self) -> Iter<'h> {
        self.iter()
    }
}

/// Names and values in order; ends at the first that does not fit.
#[derive(Debug, Clone)]
pub struct Iter<'h> {
    lengths: &'h [u8],
    contents: &'h [u8],
}

impl<'h> Iterator for Iter<'h> {
    type Item = (&'h [u8], &'h [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, lengths) = self.lengths.split_first_chunk()?;
        let (value, lengths) = lengths.split_first_chunk()?;
        self.lengths = lengths;
        let mut take = |length: [u8; 4]| {
            let (taken, rest) = self.contents.split_at_checked(u32::from_le_bytes(length) as usize)?;
            self.contents = rest.get(1..)?;
            Some(taken)
        };
        Some((take(*name)?, take(*value)?))
    }
}

/// Writes headers as the ABI lays them out.
pub fn encode(headers: &[(&str, &str)], into: &mut Vec<u8>) {
    // Nothing that the filter says is anywhere near 4 GiB.
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    into.clear();
    into.extend_from_slice(&number(headers.len()));
    for (name, value) in headers {
        into.extend_from_slice(&number(name.len()));
        into.extend_from_slice(&number(value.len()));
    }
    for (name, value) in headers {
        for part in [name, value] {
            into.extend_from_slice(part.as_bytes());
            into.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(headers: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(headers, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_is_read_and_the_first_value_counts() {
        let written = [(":path", "/a"), ("x", ""), ("y", "1"), ("y", "2")];
        let headers = Headers::new(encoded(&written));
        let read: Vec<_> = headers.iter().collect();
        let expected: Vec<_> =
            written.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        assert_eq!(read, expected);
        assert_eq!(headers.get("y"), Some(&b"1"[..]));
        assert_eq!(headers.get("x"), Some(&b""[..]));
        assert_eq!(headers.get("z"), None);
    }

    #[test]
    fn any_bytes_are_survived() {
        let whole = encoded(&[("name", "value"), ("x", "y")]);
        for end in 0..whole.len() {
            let cut = Headers::new(whole[..end].to_vec());
            assert!(cut.iter().count() < 2, "{end}");
        }
        for (place, lie) in (0..whole.len()).flat_map(|place| [0, 1, 0x7f, 0xff].map(|lie| (place, lie))) {
            let mut bytes = whole.clone();
            bytes[place] = lie;
            assert!(Headers::new(bytes).iter().count() <= 2);
        }
        assert_eq!(Headers::new(vec![0xff; 64]).iter().count(), 0);
    }
}
