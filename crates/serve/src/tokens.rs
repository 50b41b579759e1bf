//! Bearer tokens and what their holders may do.
//!
//! The file holds hashes only, so that who reads it cannot call the service. Tokens must be long and random (32 random
//! bytes, say): a plain SHA-256 does not protect a guessable one.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest token taken, in bytes.
const LONGEST: usize = 512;

/// What a caller may do; each role may do all that the ones before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read clusters, accounts, the report and metrics.
    Reader,
    /// Search for faces too.
    Analyst,
    /// Erase accounts too.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        })
    }
}

/// Who calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The token's name, or `local` where no tokens are configured.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// Why a file of tokens cannot be used. Stop: the service must not start without it.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("the tokens file {} cannot be read; check the path and its permissions", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no list of tokens.
    #[error("the tokens file {} is no list of [[token]] tables with name, role and sha256", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// An entry is unusable.
    #[error("the tokens file {} has an unusable token {name:?}: {why}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The token's name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    role: Role,
    sha256: String,
}

/// The tokens of a file:
///
/// ```toml
/// [[token]]
/// name = "dashboard"
/// role = "reader"     # reader, analyst or admin
/// sha256 = "…"        # printf %s "$TOKEN" | sha256sum
/// ```
pub struct Tokens(Vec<(Caller, [u8; 32])>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(caller, _)| &caller.name)).finish()
    }
}

impl Tokens {
    /// Reads a file of tokens.
    ///
    /// # Errors
    /// [`TokensError`] if it cannot be read, holds no token, or one is unusable.
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokensError::Read { path: path.to_owned(), source })?;
        let file: File = toml::from_str(&text)
            .map_err(|source| TokensError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let wrong =
            |name: &str, why| TokensError::Entry { path: path.to_owned(), name: name.to_owned(), why };
        if file.token.is_empty() {
            return Err(wrong("", "the file names none"));
        }
        let mut tokens: Vec<(Caller, [u8; 32])> = Vec::new();
        for entry in file.token {
            let mut hash = [0; 32];
            if entry.name.trim().is_empty() || entry.name.chars().any(char::is_control) {
                return Err(wrong(&entry.name, "it needs a name without control characters"));
            }
            if tokens.iter().any(|(caller, _)| caller.name == entry.name) {
                return Err(wrong(&entry.name, "the name stands twice"));
            }
            if hex::decode_to_slice(&entry.sha256, &mut hash).is_err() {
                return Err(wrong(&entry.name, "sha256 needs 64 hexadecimal digits"));
            }
            tokens.push((Caller { name: entry.name, role: entry.role }, hash));
        }
        Ok(Self(tokens))
    }

    /// Whose token this is. Compares with every hash in full, so that the time tells nothing.
    pub fn caller(&self, token: &str) -> Option<&Caller> {
        if token.is_empty() || token.len() > LONGEST {
            return None;
        }
        let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.0.iter().fold(None, |found, (caller, hash)| {
            let differs = hash.iter().zip(&presented).fold(0, |sum, (a, b)| sum | (a ^ b));
            if differs == 0 { Some(caller) } else { found }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tokens, TokensError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        Tokens::read(&path)
    }

    #[test]
    fn finds_the_holder() {
        let hash = hex::encode(Sha256::digest(b"s3cret"));
        let tokens = read(&format!("[[token]]\nname = 'a'\nrole = 'analyst'\nsha256 = '{hash}'")).unwrap();
        assert_eq!(tokens.caller("s3cret"), Some(&Caller { name: "a".into(), role: Role::Analyst }));
        assert_eq!(tokens.caller("s3cre"), None);
        assert_eq!(tokens.caller(&hash), None, "the hash itself opens nothing");
        assert_eq!(tokens.caller(""), None);
        assert!(!format!("{tokens:?}").contains(&hash));
    }

    #[test]
    fn refuses_half_a_file() {
        for text in [
            "",
            "token = []",
            "[[token]]\nname='a'\nrole='king'\nsha256='00'",
            "[[token]]\nname='a'\nrole='admin'\nsha256='00'",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
