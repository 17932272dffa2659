//! A run as a picture: one page of HTML that shows how an attempt went, and the recordings that such a page is made from later.
//!
//! Owns what is recorded ([`RunRecording`]), where recordings are kept ([`RecordingArchive`]), and the page ([`render`]). The page
//! is self-contained: charts are SVG in it, and nothing is loaded. There are counts, generated names and texts that stderr has
//! shown; no customer and no secret. It does not call a service, and does not decide when something is recorded.

mod archive;
mod charts;
mod course;
mod figures;
mod format;
/// For the fuzz targets only.
#[doc(hidden)]
pub mod fuzzing;
mod page;
mod palette;
mod recording;
mod scale;
#[cfg(test)]
mod tests;

pub use archive::{MAX_RECORDINGS, RecordingArchive, RecordingError, RecordingFile};
pub use format::RecordingFormatError;
pub use page::{Place, ReportError, render};
pub use recording::{OperationRecording, RunRecording, ServiceRecording};
