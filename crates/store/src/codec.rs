//! The bytes of a row: a version byte, then the fields in order.
//!
//! Invariants: integers are LEB128 (signed ones zigzag), floats little-endian, texts and bytes have their length first,
//! an optional value has a byte 0 or 1 first. A row is read to its last byte or refused.

/// Why bytes are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);

/// Writes fields.
#[derive(Default)]
pub(crate) struct Enc(Vec<u8>);

/// Reads fields.
pub(crate) struct Dec<'a>(&'a [u8]);

/// Something with a fixed form in bytes.
pub(crate) trait Row: Sized {
    /// Where such rows stand, for errors.
    const KEYSPACE: &'static str;
    /// The first byte; other versions are refused.
    const VERSION: u8 = 1;

    /// Writes the fields.
    fn encode(&self, to: &mut Enc);

    /// Reads the fields in the same order.
    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed>;

    /// The whole row.
    fn to_bytes(&self) -> Vec<u8> {
        let mut to = Enc(vec![Self::VERSION]);
        self.encode(&mut to);
        to.0
    }

    /// Reads the whole row.
    fn from_bytes(bytes: &[u8]) -> Result<Self, crate::StoreError> {
        let mut from = Dec(bytes);
        let row = match from.u8() {
            Ok(version) if version == Self::VERSION => Self::decode(&mut from),
            Ok(_) => Err(Malformed("its version is not known here")),
            Err(error) => Err(error),
        };
        match row {
            Ok(row) if from.0.is_empty() => Ok(row),
            Ok(_) => Err(Malformed("it is longer than it should be")),
            Err(error) => Err(error),
        }
        .map_err(|Malformed(what)| crate::StoreError::Malformed { keyspace: Self::KEYSPACE, what })
    }
}

impl Enc {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(crate) fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.u64(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn f32(&mut self, value: f32) {
        self.fixed(&value.to_le_bytes());
    }

    pub(crate) fn fixed(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.fixed(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn opt<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

impl<'a> Dec<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.fixed::<1>()?[0])
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too long"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.u64()?).map_err(|_| Malformed("a number is too large"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        u16::try_from(self.u64()?).map_err(|_| Malformed("a number is too large"))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        let value = self.u64()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn f32(&mut self) -> Result<f32, Malformed> {
        Ok(f32::from_le_bytes(self.fixed()?))
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("it is too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u64()?).map_err(|_| Malformed("a length is too large"))?;
        let (head, rest) = self.0.split_at_checked(length).ok_or(Malformed("it is too short"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub(crate) fn opt<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Clone)]
    struct Sample(u64, i64, f32, Option<String>, Vec<u8>, bool);

    impl Row for Sample {
        const KEYSPACE: &'static str = "samples";

        fn encode(&self, to: &mut Enc) {
            to.u64(self.0);
            to.i64(self.1);
            to.f32(self.2);
            to.opt(self.3.as_deref(), Enc::text);
            to.bytes(&self.4);
            to.bool(self.5);
        }

        fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
            Ok(Self(
                from.u64()?,
                from.i64()?,
                from.f32()?,
                from.opt(|f| f.text().map(str::to_owned))?,
                from.bytes()?.to_vec(),
                from.bool()?,
            ))
        }
    }

    proptest! {
        #[test]
        fn rows_are_read_back(a: u64, b: i64, c in -1e30f32..1e30, d: Option<String>, e: Vec<u8>, f: bool) {
            let row = Sample(a, b, c, d, e, f);
            let bytes = row.to_bytes();
            prop_assert_eq!(Sample::from_bytes(&bytes).unwrap(), row);
            for cut in 0..bytes.len() {
                prop_assert!(Sample::from_bytes(&bytes[..cut]).is_err());
            }
            prop_assert!(Sample::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes: Vec<u8>) {
            let _ = Sample::from_bytes(&bytes);
        }
    }

    #[test]
    fn extremes_of_numbers() {
        for value in [0, 1, -1, i64::MIN, i64::MAX] {
            let mut to = Enc::default();
            to.i64(value);
            assert_eq!(Dec(&to.0).i64(), Ok(value));
        }
        let mut other = Sample(0, 0, 0.0, None, vec![], false).to_bytes();
        other[0] = 9;
        assert!(Sample::from_bytes(&other).unwrap_err().to_string().contains("samples"));
    }
}
