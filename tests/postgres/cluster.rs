//! A PostgreSQL of its own in a folder of its own, on a Unix socket there.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Stopped and removed when dropped.
pub(crate) struct Cluster {
    dir: TempDir,
    running: bool,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        if is_root() {
            // PostgreSQL refuses to run as root; the package made a user for it.
            must(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        let data = dir.path().join("data");
        must(postgres("initdb").args(["--auth=trust", "--username=tureen", "--encoding=UTF8"]).arg("-D").arg(&data));
        let mut cluster = Self { dir, running: false };
        cluster.run();
        cluster
    }

    pub(crate) fn run(&mut self) {
        let socket = self.dir.path().display();
        let options = format!("-c listen_addresses='' -c unix_socket_directories={socket} -c max_connections=50");
        must(
            postgres("pg_ctl")
                .arg("-D")
                .arg(self.data())
                .arg("-l")
                .arg(self.log_file())
                .args(["-w", "-o", &options, "start"]),
        );
        self.running = true;
    }

    pub(crate) fn stop(&mut self) {
        must(postgres("pg_ctl").arg("-D").arg(self.data()).args(["-w", "-m", "immediate", "stop"]));
        self.running = false;
    }

    pub(crate) fn url(&self) -> String {
        let socket = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://tureen@{socket}/postgres")
    }

    /// Everything that it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.running {
            // A test that failed must not fail a second time here.
            let _ = postgres("pg_ctl").arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]).output();
        }
    }
}

/// The newest version's tool.
fn postgres(tool: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("apt-get install postgresql");
    let mut found: Vec<PathBuf> = versions.map(|e| e.unwrap().path().join("bin").join(tool)).collect();
    found.retain(|path| path.exists());
    found.sort();
    let program = found.pop().expect("apt-get install postgresql");
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
