//! Signed receipts of erasures: proof for whoever asked, and for whoever audits, that this installation says so.
//!
//! Invariants:
//! - What is signed is the receipt's text, byte for byte, so that no two programs have to agree on how JSON is written.
//! - facering keeps no receipt, since it names the account.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The key's file within the state folder, unless `privacy.receipt_key_file` names another.
const FILE: &str = "receipt.key";

/// A receipt with its signature (Ed25519, RFC 8032).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The receipt: JSON, but signed as text.
    pub receipt: String,
    /// Base64.
    pub signature: String,
    /// Base64.
    pub public_key: String,
}

/// Where the key lies.
pub fn key_file(state: &Path, configured: &Path) -> PathBuf {
    if configured.as_os_str().is_empty() { state.join(FILE) } else { configured.to_owned() }
}

/// The key of a file; made there if the file is missing.
fn key(file: &Path) -> anyhow::Result<SigningKey> {
    let told = || format!("the receipt key {} cannot be read or made", file.display());
    if !file.exists() {
        let mut options = std::fs::OpenOptions::new();
        options.create_new(true).write(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut made = options.open(file).with_context(told)?;
        made.write_all(hex::encode(rand::random::<[u8; 32]>()).as_bytes()).with_context(told)?;
        made.sync_all().with_context(told)?;
    }
    let text = std::fs::read_to_string(file).with_context(told)?;
    let mut secret = [0; 32];
    if hex::decode_to_slice(text.trim(), &mut secret).is_err() {
        bail!("{} holds no key of 64 hexadecimal digits", file.display());
    }
    Ok(SigningKey::from_bytes(&secret))
}

/// The public half, as others are told it.
pub fn public_key(file: &Path) -> anyhow::Result<String> {
    Ok(STANDARD.encode(key(file)?.verifying_key().as_bytes()))
}

/// Signs a receipt.
pub fn sign(file: &Path, receipt: String) -> anyhow::Result<Signed> {
    let key = key(file)?;
    let signature = STANDARD.encode(key.sign(receipt.as_bytes()).to_bytes());
    Ok(Signed { receipt, signature, public_key: STANDARD.encode(key.verifying_key().as_bytes()) })
}

/// Checks a receipt, and that it was signed with this key where one is given.
pub fn verify(signed: &Signed, public_key: Option<&str>) -> anyhow::Result<()> {
    if let Some(expected) = public_key
        && expected.trim() != signed.public_key
    {
        bail!("the receipt was signed with another key, {}", signed.public_key);
    }
    let bytes =
        |text: &str| STANDARD.decode(text.trim()).context("the receipt is no base64 where it should be");
    let key: [u8; 32] =
        bytes(&signed.public_key)?.try_into().ok().context("the public key is not 32 bytes")?;
    let key = VerifyingKey::from_bytes(&key).context("the public key is none")?;
    let signature = Signature::from_slice(&bytes(&signed.signature)?).context("the signature is none")?;
    key.verify_strict(signed.receipt.as_bytes(), &signature)
        .context("the signature does not fit the receipt: one of them was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_proved_and_a_changed_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = key_file(folder.path(), Path::new(""));
        let signed = sign(&file, r#"{"account":"a"}"#.into()).unwrap();
        assert_eq!(signed.public_key, public_key(&file).unwrap(), "the key stays");
        verify(&signed, None).unwrap();
        verify(&signed, Some(&signed.public_key)).unwrap();
        let changed = Signed { receipt: r#"{"account":"b"}"#.into(), ..signed.clone() };
        assert!(verify(&changed, None).unwrap_err().to_string().contains("was changed"));
        let other = public_key(&folder.path().join("other.key")).unwrap();
        assert!(verify(&signed, Some(&other)).unwrap_err().to_string().contains("another key"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
