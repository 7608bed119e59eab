//! The real binary, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::PATIENCE;

fn tureen(variables: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tureen"));
    // Away from the checkout: its models/ and policies/ must not be found by chance.
    command.args(arguments).envs(variables.iter().cloned()).current_dir(std::env::temp_dir());
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end: exit code, standard output, standard error.
pub(crate) fn run(variables: &[(String, String)], arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = tureen(variables, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A server that listens.
pub(crate) struct Running {
    child: Child,
    pub(crate) url: String,
    pub(crate) rest: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(variables: &[(String, String)]) -> Self {
        let mut child = tureen(variables, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut rest = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|w| w.starts_with("http://")).map(str::to_owned);
        let Some(url) = url else {
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            panic!("{line}{stderr}");
        };
        Self { child, url, rest }
    }

    /// Everything that it logs until it ends.
    pub(crate) fn read_log(&mut self) -> JoinHandle<String> {
        let stderr = self.child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::read_to_string(stderr).unwrap())
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn exit_code(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "still running");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, in every test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
