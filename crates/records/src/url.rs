//! Where a photo is to be fetched from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A photo's URL as the event gave it, not yet parsed or trusted. `Debug` and `Display` leave out what follows `?` or
/// `#` and any user name or password, since those may be secrets.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhotoUrl(String);

impl PhotoUrl {
    /// Wraps the text; whether it is a URL and one that may be fetched is judged by the fetch stage.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole URL, query included. Never log this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhotoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.0.split(['?', '#']).next().unwrap_or_default();
        match bare.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                write!(f, "{scheme}://{}{path}", host.rsplit('@').next().unwrap_or_default())
            }
            None => f.write_str(bare),
        }
    }
}

impl fmt::Debug for PhotoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhotoUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_keeps_secrets() {
        let shown = |text: &str| PhotoUrl::new(text).to_string();
        assert_eq!(shown("https://u:p@h.example/a@b/c.jpg?sig=1#x"), "https://h.example/a@b/c.jpg");
        assert_eq!(shown("no url?key"), "no url");
        assert_eq!(shown("https://h.example"), "https://h.example");
    }
}
