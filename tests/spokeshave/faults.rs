//! What the world does to a running command: files that shrink or change while they are read, signals, limits, full disks.
//! What needs root or a mount of its own is in `tests/readers/faults.py`.

use super::command::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A model of so many MiB that takes no room on the disk: all its weights are a hole of zeros.
fn hollow(folder: &Folder, name: &str, mib: usize) -> String {
    let bytes = mib << 20;
    let shape = [bytes / 4096, 1024];
    let header = serde_json::json!({"a.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, bytes]}});
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    let path = folder.write(name, &file);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len((file.len() + bytes) as u64).unwrap();
    path
}

/// Starts a command whose stdout and stderr are kept.
fn start(words: &[&str]) -> Child {
    command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

fn ended(child: Child) -> Run {
    let output = child.wait_with_output().expect("it can be waited for");
    let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let code = output.status.code().unwrap_or_else(|| panic!("it ended with {}: {stderr}", output.status));
    Run { code, stdout: output.stdout, stderr }
}

/// Waits until something holds, and whether it did before the child ended.
fn wait_for(child: &mut Child, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if child.try_wait().expect("it can be asked").is_some() || begun.elapsed() > Duration::from_secs(20) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Whether a process has mapped a file.
fn has_mapped(process: u32, path: &str) -> bool {
    fs::read_to_string(format!("/proc/{process}/maps")).is_ok_and(|maps| maps.contains(path))
}

fn temporaries(folder: &Folder) -> Vec<String> {
    folder.names().into_iter().filter(|name| name.starts_with(".spokeshave-")).collect()
}

#[test]
fn a_source_cut_short_under_its_map_is_an_error() {
    let folder = Folder::new("cut");
    let (model, other, out) = (folder.at("m.safetensors"), hollow(&folder, "other.safetensors", 192), folder.at("out"));
    let commands: [&[&str]; 4] = [
        &["inspect", &model],
        &["estimate", &model, "--set", "*=prune:0.5+int4"],
        &["compare", &model, &other],
        &["export", &model, "--set", "*=int4", "--target", "packed", "-o", &out],
    ];
    for words in commands {
        hollow(&folder, "m.safetensors", 192);
        let mut child = start(&[words, &["--threads", "1"]].concat());
        let process = child.id();
        assert!(wait_for(&mut child, || has_mapped(process, &model)), "{words:?}: it was never mapped");
        fs::OpenOptions::new().write(true).open(&model).unwrap().set_len(4096).unwrap();
        ended(child).refused(1, "changed while it was open");
        assert_eq!(folder.names(), ["m.safetensors", "other.safetensors"], "{words:?}");
    }
}

#[test]
fn a_source_written_to_during_a_pass_is_an_error() {
    let folder = Folder::new("written");
    let (model, out) = (hollow(&folder, "m.safetensors", 192), folder.at("out"));
    let other = hollow(&folder, "other.safetensors", 192);
    let commands: [&[&str]; 4] = [
        &["inspect", &model],
        &["estimate", &model, "--set", "*=int4"],
        &["compare", &model, &other],
        &["export", &model, "--set", "*=int4", "-o", &out],
    ];
    for words in commands {
        let mut child = start(&[words, &["--threads", "1"]].concat());
        let process = child.id();
        assert!(wait_for(&mut child, || has_mapped(process, &model)), "{words:?}: it was never mapped");
        let file = fs::OpenOptions::new().write(true).open(&model).unwrap();
        file.write_all_at(&1.5_f32.to_le_bytes(), 4096).unwrap();
        drop(file);
        ended(child).refused(1, "changed while it was open");
        assert_eq!(folder.names(), ["m.safetensors", "other.safetensors"], "{words:?}");
    }
}

/// Whether this process was started with a signal ignored, which its children inherit.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() >> (signal - 1) & 1 == 1
}

#[test]
fn a_signal_stops_an_export_and_its_temporary_goes() {
    let folder = Folder::new("signals");
    let (model, out) = (hollow(&folder, "m.safetensors", 192), folder.at("out"));
    for (signal, code, name) in
        [(Signal::INT, 130, "SIGINT"), (Signal::TERM, 143, "SIGTERM"), (Signal::HUP, 129, "SIGHUP")]
    {
        if is_ignored(code - 128) {
            continue;
        }
        let mut child = start(&["export", &model, "--set", "*=prune:0.5+int4", "-o", &out, "--threads", "1"]);
        assert!(wait_for(&mut child, || !temporaries(&folder).is_empty()), "no temporary was seen");
        kill_process(Pid::from_child(&child), signal).unwrap();
        ended(child).refused(code, name);
        assert_eq!(folder.names(), ["m.safetensors"], "{name}");
    }
    let mut child = start(&["estimate", &model, "--set", "*=prune:0.5+int4", "--threads", "1"]);
    let process = child.id();
    assert!(wait_for(&mut child, || has_mapped(process, &model)));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
}

#[test]
fn a_signal_reaches_the_command_of_with_and_the_export_goes() {
    let folder = Folder::new("with-signal");
    let mut command =
        command(&["evaluate", "demo", "--set", "*=int4", "--with", "touch $TMPDIR/ran; sleep 60 # {model}"]);
    command.env("TMPDIR", &folder.0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert!(wait_for(&mut child, || folder.0.join("ran").exists()), "the command never ran");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(143));
    assert_eq!(folder.names(), ["ran"]);
}

#[test]
fn killed_at_any_moment_the_name_is_whole_and_what_is_left_can_go() {
    let folder = Folder::new("killed");
    let (model, out) = (hollow(&folder, "m.safetensors", 24), folder.at("out"));
    let words = ["export", &model, "--set", "*=prune:0.5+int4", "-o", &out, "--force"];
    run(&words).done();
    let whole = folder.read("out");
    for i in 0..16_u64 {
        fs::write(&out, "old").unwrap();
        let mut child = start(&words);
        std::thread::sleep(Duration::from_millis(7 * i));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = folder.read("out");
        assert!(now == b"old" || now == whole, "{} bytes under the final name", now.len());
    }
    // One that is certain, so that the rest does not depend on the moments above.
    let left = folder.write(".spokeshave-4000000000-0.tmp", [0; 2048]);
    let told = run(&words).done().stderr;
    assert!(told.contains("left by a killed export") && told.contains("--clean"), "{told}");
    assert!(Path::new(&left).exists());
    let told = run(&[&words[..], &["--clean"]].concat()).done().stderr;
    assert!(told.contains("removed"), "{told}");
    assert_eq!(folder.names(), ["m.safetensors", "out"]);
    assert_eq!(run(&words).done().stderr, "");
}

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for words in [&["--help"][..], &["-h"], &["export", "--help"], &["--version"]] {
        let mut command = command(words);
        command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        finish(command).refused(1, "standard output");
    }
}

/// Runs the binary under a limit of the shell.
fn limited(limit: &str, words: &[&str]) -> Run {
    let plain = command(words);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\"")).arg(plain.get_program()).args(words);
    for (name, value) in plain.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.stdin(Stdio::null());
    finish(shell)
}

#[test]
fn a_limit_on_the_size_of_files_is_told_and_leaves_nothing() {
    let folder = Folder::new("fsize");
    let model = hollow(&folder, "m.safetensors", 24);
    for target in ["safetensors", "packed"] {
        // Whatever is done to zeros makes them small in packed; untouched they are as long as they were.
        let words = ["export", &model, "--set", "*=keep", "--target", target, "-o", &folder.at("out")];
        limited("-f 100", &words).refused(1, "large");
        assert_eq!(folder.names(), ["m.safetensors"], "{target}");
    }
}

/// A folder of so many shards with an index.
fn sharded(folder: &Folder, name: &str, shards: usize) -> String {
    let path = folder.at(name);
    fs::create_dir_all(&path).unwrap();
    let mut map = serde_json::Map::new();
    for i in 0..shards {
        let (file, tensor) = (format!("model-{i:05}-of-{shards:05}.safetensors"), format!("layers.{i}.weight"));
        let values: Vec<f32> = (0..64).map(|k| (k as f32 + i as f32).sin()).collect();
        fs::write(format!("{path}/{file}"), safetensors(&[(&tensor, "F32", &[8, 8], floats(&values))])).unwrap();
        map.insert(tensor, file.into());
    }
    let index = serde_json::json!({"weight_map": map});
    fs::write(format!("{path}/model.safetensors.index.json"), index.to_string()).unwrap();
    path
}

#[test]
fn many_shards_need_few_descriptors() {
    let folder = Folder::new("nofile");
    let model = sharded(&folder, "hf", 150);
    let plain = run(&["inspect", &model, "--json"]).done();
    for words in [&["--no-mmap"][..], &[]] {
        let limited = limited("-n 64", &[&["inspect", &model, "--json"], words].concat()).done();
        assert!(limited.stdout == plain.stdout, "{words:?}");
    }
    let out = folder.at("out");
    limited("-n 64", &["export", &model, "--set", "*=int4", "--no-mmap", "-o", &out]).done();
    run(&["verify", &model, &out]).done();
}

#[test]
fn what_cannot_be_mapped_is_read_in_pieces() {
    let folder = Folder::new("as");
    let model = hollow(&folder, "m.safetensors", 1024);
    let run = limited("-v 900000", &["estimate", &model, "--bytes-only", "--threads", "1"]).done();
    assert!(run.stderr.contains("cannot be mapped"), "{}", run.stderr);
}

#[test]
fn without_threads_one_computes() {
    if rustix::process::geteuid().is_root() {
        return; // Root's threads are not counted; tests/readers/faults.py takes another user.
    }
    let run = limited("-u 1", &["inspect", "demo", "--json"]);
    assert!(run.code == 0 && run.stderr.contains("threads cannot be started"), "{}", run.stderr);
}

#[test]
fn a_folder_that_cannot_be_written_is_found_out_at_once() {
    if rustix::process::geteuid().is_root() {
        return; // Root may write anywhere; tests/readers/faults.py takes another user.
    }
    let folder = Folder::new("readonly");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o555)).unwrap();
    run(&["export", "demo", "-o", &folder.at("out")]).refused(1, "cannot be written");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn names_that_cannot_be_are_refused_before_the_work() {
    let folder = Folder::new("names");
    let export = |out: &str| run(&["export", "demo", "-o", out, "--force"]);
    export(&folder.at(&"n".repeat(256))).refused(1, "too long");
    export(&folder.at("out/")).refused(1, "folder");
    export(&folder.at("no/such/out")).refused(1, "does not exist");
    export(&folder.write("file", "x").replace("file", "file/out")).refused(1, "not a folder");
    assert_eq!(folder.names(), ["file"]);
}

#[test]
fn a_link_is_replaced_with_a_word_and_a_narrow_mode_is_kept() {
    let folder = Folder::new("links");
    let (link, private) = (folder.at("link"), folder.write("private", "x"));
    folder.write("target", "precious");
    symlink("target", &link).unwrap();
    let told = run(&["export", "demo", "-o", &link, "--force"]).done().stderr;
    assert!(told.contains("link was replaced") && folder.read("target") == b"precious", "{told}");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    run(&["export", "demo", "-o", &private, "--force"]).done();
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_source_is_recognised_in_every_disguise() {
    let folder = Folder::new("disguise");
    let model = sharded(&folder, "hf", 2);
    fs::write(format!("{model}/config.json"), "{}").unwrap();
    let shards = ["model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors"];
    let first = format!("{model}/{}", shards[0]);
    symlink(&first, folder.at("soft")).unwrap();
    fs::hard_link(&first, folder.at("hard")).unwrap();
    let around = format!("{}/./hf/../hf/{}", folder.0.display(), shards[0]);
    for out in [first.clone(), folder.at("soft"), folder.at("hard"), around] {
        run(&["export", &first, "--set", "*=int4", "-o", &out, "--force", "--quiet"]).refused(1, "being read");
    }
    // What makes one model with an opened shard is as good as opened.
    for name in [shards[1], "model.safetensors.index.json", "config.json"] {
        let out = format!("{model}/{name}");
        let before = fs::read(&out).unwrap();
        run(&["export", &first, "--set", "*=int4", "-o", &out, "--force", "--quiet"]).refused(1, "being read");
        assert!(fs::read(&out).unwrap() == before, "{name}");
    }
    // A file of its own beside them may be replaced.
    let own = format!("{model}/small.spk");
    for _ in 0..2 {
        run(&["export", &first, "--set", "*=int4", "--target", "packed", "-o", &own, "--force"]).done();
    }
    let recipe = folder.write("r.toml", "version = 1\n[[rule]]\nmatch = \"*\"\nscheme = \"int4\"\n");
    run(&["export", &first, "--recipe", &recipe, "-o", &recipe, "--force", "--quiet"])
        .refused(1, "read by this very command");
    run(&["export", &model, "--set", "*=int4", "-o", &format!("{model}/inside")]).refused(1, "inside the folder");
}

#[test]
fn a_folder_whose_files_are_linked_to_is_not_replaced() {
    let folder = Folder::new("linked");
    let (model, old, linked) = (sharded(&folder, "hf", 2), folder.at("old"), folder.at("linked"));
    run(&["export", &model, "--set", "*=int8", "-o", &old]).done();
    fs::create_dir(&linked).unwrap();
    for item in fs::read_dir(&old).unwrap() {
        let path = item.unwrap().path();
        symlink(&path, Path::new(&linked).join(path.file_name().unwrap())).unwrap();
    }
    run(&["export", &linked, "--set", "*=int2", "-o", &old, "--force"]).refused(1, "being read");
    run(&["verify", &model, &old]).done();
    run(&["export", &model, "--set", "*=int2", "-o", &old, "--force"]).done();
}

#[test]
fn subfolders_come_along_and_what_does_not_is_told() {
    let folder = Folder::new("along");
    let (model, out) = (folder.at("hf"), folder.at("out"));
    let weights = safetensors(&[("a.weight", "F32", &[2, 4], floats(&[1.0; 8]))]);
    let text = serde_json::json!({"weight_map": {"a.weight": "sub/m.safetensors"}}).to_string();
    for (name, bytes) in [
        ("sub/m.safetensors", weights.as_slice()),
        ("model.safetensors.index.json", text.as_bytes()),
        ("1_Pooling/config.json", b"{}"),
        (".git/objects/1", b"x"),
        ("extra.safetensors", b"x"),
    ] {
        let path = Path::new(&model).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    symlink("nowhere", format!("{model}/dangling")).unwrap();
    symlink("/", format!("{model}/root")).unwrap();
    let words = ["export", &model, "--set", "*=int4", "-o", &out];
    let told = run(&words).done().stderr;
    for word in
        [".git (a hidden folder)", "dangling (a link to nothing)", "root (a link to a folder)", "extra.safetensors"]
    {
        assert!(told.contains(word), "{word}: {told}");
    }
    let there = |name: &str| Path::new(&out).join(name).exists();
    assert!(there("1_Pooling/config.json") && there("sub/m.safetensors"));
    assert!(!there(".git") && !there("dangling") && !there("root") && !there("extra.safetensors"));
    // It is recognised as an artifact with all its folders.
    run(&[&words[..], &["--force"]].concat()).done();
    fs::write(format!("{out}/1_Pooling/thesis.txt"), "precious").unwrap();
    // Without what the index does not name, whose note would be a second line.
    fs::remove_file(format!("{model}/extra.safetensors")).unwrap();
    run(&[&words[..], &["--force"]].concat()).refused(1, "thesis.txt");
}
