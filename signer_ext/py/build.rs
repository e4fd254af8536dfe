//! Compiles in a digest of the workspace's sources, so that Python can refuse an extension older
//! than they are.
//!
//! The definition is in `signer_ext/README.md`; `passmill.signing.freshness` computes the same.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let mut sources = Vec::new();
    collect(&workspace, "", &mut sources)?;
    sources.sort();
    let mut digest = Sha256::new();
    for name in &sources {
        let path = workspace.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let content = fs::read(&path)?;
        digest.update(format!("{name}\0{}\0", content.len()));
        digest.update(content);
    }
    print!("cargo::rustc-env=SIGNER_SOURCE_DIGEST=");
    digest.finalize().iter().for_each(|byte| print!("{byte:02x}"));
    println!();
    Ok(())
}

/// Finds `*.rs`, `Cargo.toml` and `Cargo.lock`, except below `target` folders and hidden ones.
fn collect(
    workspace: &Path,
    folder: &str,
    sources: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    let path = workspace.join(folder);
    if !folder.is_empty() {
        // Notices new files. Not for the root: it holds `target`, which changes all the time.
        println!("cargo::rerun-if-changed={}", path.display());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file_name = entry.file_name().into_string().map_err(|_| "a file name is not UTF-8")?;
        let name = format!("{folder}{file_name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && file_name != "target" && !file_name.starts_with('.') {
            collect(workspace, &format!("{name}/"), sources)?;
        }
        let is_source = matches!(file_name.as_str(), "Cargo.toml" | "Cargo.lock")
            || Path::new(&file_name).extension().is_some_and(|suffix| suffix == "rs");
        if kind.is_file() && is_source {
            sources.push(name);
        }
    }
    Ok(())
}
