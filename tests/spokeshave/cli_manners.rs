//! How the program behaves as a command: exit codes, silence on stdout after a failure, closed pipes, help that teaches.

use super::command::*;
#[cfg(target_os = "linux")]
use std::fs;
#[cfg(unix)]
use std::process::Command;

#[test]
fn a_wrong_command_line_is_exit_2() {
    let wrong: [(&[&str], &str); 16] = [
        (&["estimate", "demo", "--nosuch"], "--nosuch"),
        (&["estimate", "demo", "--set"], "--set"),
        (&["estimate", "demo", "--set", "int4"], "PATTERN=SCHEME"),
        (&["estimate", "demo", "--set", "*=int9"], "int9"),
        (&["estimate", "absent.safetensors", "--set", "*=nosuch"], "nosuch"),
        (&["estimate", "demo", "--set", "*="], "scheme"),
        (&["estimate", "demo", "--set", "*=prune:0.5+rank:8"], "rank"),
        (&["estimate", "demo", "--set", "re:(=int4"], "re:("),
        (&["estimate", "demo", "--target", "nosuch"], "nosuch"),
        (&["estimate", "demo", "--threads", "0"], "threads"),
        (&["estimate", "demo", "--live", "--bytes-only"], "--bytes-only"),
        (&["export", "demo", "--set", "*=int4"], "--out"),
        (&["inspect"], "MODEL"),
        (&["inspect", "demo", "extra"], "extra"),
        (&["inspct", "demo"], "no command"),
        (&["--set", "*=int4", "estimate", "demo"], "estimate comes first"),
    ];
    for (words, told) in wrong {
        run(&[words, &["--json"]].concat()).refused(2, told);
        run(words).refused(2, told);
    }
}

#[test]
fn what_cannot_be_done_is_exit_1() {
    let folder = Folder::new("impossible");
    let bad = folder.write("bad.safetensors", b"not a model at all");
    let impossible: [(&[&str], &str); 13] = [
        (&["inspect", "absent.safetensors"], "absent.safetensors"),
        (&["inspect", "demo:nosuch"], "lenet-300-100"),
        (&["inspect", &bad], "bad.safetensors"),
        (&["compare", "demo", &bad], "bad.safetensors"),
        (&["estimate", "demo", "--set", "nosuch*=int4"], "touches no tensor"),
        (&["estimate", "demo", "--set", "fc1.wieght=int4"], "fc1.weight"),
        (&["estimate", "demo", "--set", "*.bias=int4"], "bias"),
        (&["estimate", "demo", "--set", "*=wanda:0.5"], "wanda"),
        (&["estimate", "demo", "--set", "*=prune:0.5+binary"], "ternary"),
        (&["estimate", "demo", "--target", "gguf"], "gguf"),
        (&["estimate", "demo", "--fidelity-form", "prior"], "not built yet"),
        (&["estimate", "demo", "--imatrix", "x.dat"], "not built yet"),
        (&["allocate", "demo", "--size", "25%"], "not built yet"),
    ];
    for (words, told) in impossible {
        run(&[words, &["--json"]].concat()).refused(1, told);
        run(words).refused(1, told);
    }
}

#[test]
fn options_of_every_command_may_stand_before_it() {
    let (before, after) = (run(&["--json", "--quiet", "inspect", "demo"]), run(&["inspect", "demo", "--json"]));
    assert_eq!(before.json(), after.json());
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let binary = env!("CARGO_BIN_EXE_spokeshave");
    for words in ["inspect demo", "inspect demo --json", "completions bash", "--help"] {
        // The status of the binary itself, told on the shell's stderr.
        let line = format!("{{ '{binary}' {words}; echo code $? >&2; }} | true");
        let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "code 0\n", "{words}");
    }
    let output = Command::new("sh").arg("-c").arg(format!("'{binary}' inspect demo | head -1")).output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"name") && output.stderr.is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let mut command = command(&["inspect", "demo", "--json"]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    finish(command).refused(1, "standard output");
}

#[test]
fn help_teaches_the_language_and_the_exit_codes() {
    let long = run(&["--help"]).done().text();
    for words in ["prune:0.9", "int4:g64", "PATTERN=SCHEME", "Exit codes", "KiB", "allocate", "packed"] {
        assert!(long.contains(words), "{words}");
    }
    for command in ["inspect", "estimate", "export", "verify", "compare", "evaluate", "screenshot", "completions"] {
        let help = run(&[command, "--help"]).done().text();
        assert!(help.contains(&format!("  spokeshave {command} ")), "an example in the help of {command}");
    }
    assert!(run(&["--version"]).done().text().starts_with("spokeshave "));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(run(&["completions", shell]).done().text().contains("spokeshave"));
    }
}
