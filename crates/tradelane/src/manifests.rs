//! Manifest files as `apply` sends them: a file, or every YAML file below a folder, by name.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Failure, Result};

/// The most files that are collected: as many as the hub takes at once, which has its own limit on their size.
const MAX_FILES: usize = 10_000;
const MAX_FILE: u64 = 1 << 20;
const MAX_DEPTH: usize = 16;

/// Names and texts of the manifests at this path.
pub(crate) fn collect(path: &Path) -> Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    let meta = fs::metadata(path).map_err(|error| Failure::file(path, error))?;
    if meta.is_dir() {
        walk(path, 0, &mut paths)?
    } else {
        paths.push(path.to_owned())
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::no(format!("{}: there is no .yaml or .yml file", path.display())));
    }
    paths.iter().map(|file| read(path, file)).collect()
}

fn walk(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| Failure::file(folder, error))? {
        let path = entry.map_err(|error| Failure::file(folder, error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        if path.is_dir() && !hidden && depth < MAX_DEPTH {
            walk(&path, depth + 1, paths)?;
        } else if yaml && !hidden {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            return Err(Failure::no(format!(
                "{}: has more than {MAX_FILES} files; apply it in parts",
                folder.display()
            )));
        }
    }
    Ok(())
}

fn read(root: &Path, file: &Path) -> Result<(String, String)> {
    let meta = fs::metadata(file).map_err(|error| Failure::file(file, error))?;
    if meta.len() > MAX_FILE {
        return Err(Failure::no(format!("{}: is larger than 1 MiB", file.display())));
    }
    let text = fs::read_to_string(file).map_err(|error| Failure::file(file, error))?;
    let name = match file.strip_prefix(root) {
        Ok(rest) if !rest.as_os_str().is_empty() => rest.display().to_string(),
        _ => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    Ok((name, text))
}

/// The body of an apply.
pub(crate) fn body(files: &[(String, String)]) -> Value {
    let files: Vec<Value> = files.iter().map(|(name, text)| json!({"name": name, "text": text})).collect();
    json!({ "files": files })
}
