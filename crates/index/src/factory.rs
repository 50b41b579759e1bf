//! FAISS factory strings, as facering reads them.
//!
//! Two readings differ from FAISS: `PQ64` means `PQ64np` (without polysemous annealing, which trains 20 times longer and
//! is not used), and a leading `IDMap,` is dropped, since the index keeps ordinals itself.

/// What is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Factory {
    /// Exact while small, then IVF-PQ.
    Auto,
    /// Exact search.
    Flat,
    /// A FAISS factory string in canonical form.
    Faiss(String),
}

impl Factory {
    /// Reads `auto` or a factory string. Only its form is judged here; FAISS judges the rest.
    ///
    /// # Errors
    /// A sentence when the text cannot be a factory string.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "_,().-:".contains(c));
        if text.is_empty() || text.contains(odd) {
            return Err(format!(
                "`{text}` is no FAISS factory string; expected `auto` or one like IVF1024,PQ64"
            ));
        }
        let text = text.strip_prefix("IDMap2,").or_else(|| text.strip_prefix("IDMap,")).unwrap_or(text);
        if text == "Flat" {
            return Ok(Self::Flat);
        }
        let last = text.rfind(',').map_or(0, |at| at + 1);
        let (head, encoder) = text.split_at(last);
        let plain_pq = encoder.strip_prefix("PQ").is_some_and(|rest| {
            let mut parts = rest.split('x');
            let number = |part: Option<&str>| {
                part.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
            };
            number(parts.next())
                && parts.next().is_none_or(|bits| number(Some(bits)))
                && parts.next().is_none()
        });
        let inverted = head.contains("IVF");
        Ok(Self::Faiss(if plain_pq && inverted { format!("{text}np") } else { text.to_owned() }))
    }

    /// The IVF-PQ that `auto` takes for so many vectors of this dimension: 64 bytes a vector where the dimension
    /// allows it, and a list for every 250 to 1,000 vectors up to 262,144 lists.
    pub fn for_size(vectors: u64, dimension: usize) -> Self {
        let lists = match vectors {
            0..500_000 => 1_024,
            500_000..4_000_000 => 4_096,
            4_000_000..30_000_000 => 65_536,
            _ => 262_144,
        };
        let encoder = match [64, 48, 32, 16, 8, 4, 2, 1].into_iter().find(|m| dimension.is_multiple_of(*m)) {
            Some(m) if dimension > m => format!("PQ{m}np"),
            _ => "SQ8".into(),
        };
        Self::Faiss(format!("IVF{lists},{encoder}"))
    }
}

/// The number of lists that a factory string names; 0 without inverted lists.
pub fn named_lists(factory: &str) -> usize {
    let Some(at) = factory.find("IVF") else { return 0 };
    let digits: String = factory[at + 3..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        let read = |text| Factory::parse(text).unwrap();
        let faiss = |text: &str| Factory::Faiss(text.into());
        assert_eq!(read("AUTO"), Factory::Auto);
        assert_eq!(read("IDMap,Flat"), Factory::Flat);
        assert_eq!(read("IVF262144,PQ64"), faiss("IVF262144,PQ64np"));
        assert_eq!(read("IVF64,PQ64x8"), faiss("IVF64,PQ64x8np"));
        assert_eq!(read("OPQ64,IVF8_HNSW32,PQ64np"), faiss("OPQ64,IVF8_HNSW32,PQ64np"));
        assert_eq!(read("IVF256,PQ64x4fs"), faiss("IVF256,PQ64x4fs"));
        assert!(Factory::parse("IVF8;rm").is_err());
        assert_eq!(named_lists("OPQ64,IVF65536_HNSW32,PQ64np"), 65_536);
        assert_eq!(named_lists("SQ8"), 0);
        assert_eq!(Factory::for_size(300_000, 512), faiss("IVF1024,PQ64np"));
        assert_eq!(Factory::for_size(400_000_000, 128), faiss("IVF262144,PQ64np"));
    }
}
