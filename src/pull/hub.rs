//! A file of a model repository, through the hub's own client (resumes what it had begun, honours its token and cache).

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use hf_hub::HFClientSync;
use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use indicatif::ProgressBar;

use super::{SourceError, place};

pub(super) fn fetch(
    owner: &str,
    repository: &str,
    file: &str,
    revision: Option<&str>,
    target: &Path,
    sha256: Option<&str>,
) -> Result<(), SourceError> {
    let failed = |error: hf_hub::HFError| SourceError::Hub(error.to_string());
    let client = HFClientSync::new().map_err(failed)?;
    let path = client
        .model(owner, repository)
        .download_file()
        .filename(file)
        .maybe_revision(revision.map(str::to_owned))
        .progress(Bar::default())
        .send()
        .map_err(failed)?;
    let mut from = File::open(path)?;
    let size = from.metadata()?.len();
    place::write(&mut from, size, target, sha256)
}

#[derive(Default)]
struct Bar(OnceLock<ProgressBar>);

impl ProgressHandler for Bar {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else { return };
        match event {
            DownloadEvent::Start { total_bytes, .. } => {
                self.0.get_or_init(|| place::progress(*total_bytes));
            }
            DownloadEvent::Progress { files } => {
                let done = files.iter().map(|f| f.bytes_completed).sum();
                self.0.get().inspect(|bar| bar.set_position(done));
            }
            DownloadEvent::AggregateProgress { bytes_completed, .. } => {
                self.0.get().inspect(|bar| bar.set_position(*bytes_completed));
            }
            DownloadEvent::Complete => {
                self.0.get().inspect(|bar| bar.finish_and_clear());
            }
        }
    }
}
