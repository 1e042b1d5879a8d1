//! Running the binary and judging what it leaves behind, for every test of the command line.
#![allow(dead_code, reason = "each test file uses its own part of this one")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run left behind.
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("stdout is UTF-8")
    }

    /// Done, and its document.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_slice(&self.stdout).expect("one JSON document on stdout")
    }

    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// Refused with this code: nothing on stdout, one line on stderr that says `told`.
    #[track_caller]
    pub fn refused(&self, code: i32, told: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(self.stdout.is_empty(), "{}", String::from_utf8_lossy(&self.stdout));
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stderr.starts_with("spokeshave: ") && self.stderr.contains(told), "{told:?} in {}", self.stderr);
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spokeshave"));
    // What is read of models is not kept where the user's own is.
    let cache = std::env::temp_dir().join(format!("spokeshave-test-cache-{}", std::process::id()));
    command.args(arguments).stdin(Stdio::null()).env("SPOKESHAVE_CACHE", cache);
    command
}

pub fn finish(mut command: Command) -> Run {
    let output = command.output().expect("the binary starts");
    let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert!(!stderr.contains("panicked"), "{stderr}");
    Run { code: output.status.code().expect("it ends by itself"), stdout: output.stdout, stderr }
}

pub fn run(arguments: &[&str]) -> Run {
    finish(command(arguments))
}

/// A folder of one test, deleted with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a Unicode path").to_owned()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.0.join(name), bytes).expect("a small file");
        self.at(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).expect("a file of this name")
    }

    pub fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(&self.0).unwrap().map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The demo as a file of the user's own.
pub fn demo_file(folder: &Folder, name: &str) -> String {
    let asset = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/lenet-300-100.safetensors");
    folder.write(name, fs::read(asset).unwrap())
}

/// A safetensors file from (name, dtype, shape, payload).
pub fn safetensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, payload) in tensors {
        let begin = data.len();
        data.extend_from_slice(payload);
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend(data);
    file
}

pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// What follows the header of a safetensors file.
pub fn payloads(file: &[u8]) -> &[u8] {
    let header = u64::from_le_bytes(file[..8].try_into().unwrap());
    &file[8 + usize::try_from(header).unwrap()..]
}

#[track_caller]
pub fn has_keys(value: &Value, keys: &str) {
    let object = value.as_object().expect("an object");
    let missing: Vec<&str> = keys.split_whitespace().filter(|key| !object.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

pub fn tensor<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["tensors"].as_array().unwrap().iter().find(|t| t["name"] == name).expect("a tensor of this name")
}
