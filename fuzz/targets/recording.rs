//! The recording of a run: as given, and with a matching checksum.

use yotpo_td::report::fuzzing::{decode, encode, seal};
use yotpo_td::report::{RecordingFormatError, RunRecording, render};

use super::Verdict;

/// A recording that is used is exactly the one that was sealed, and it can be drawn.
pub fn recording(data: &[u8]) -> Verdict {
    let as_given = decode(data);
    let text = std::str::from_utf8(data).ok();
    if let Ok(recording) = &as_given {
        let body = text.and_then(|text| text.split_once('\n')).map(|(_, body)| body.trim_end_matches('\n'));
        assert_eq!(
            seal(body.expect("a recording is a text")),
            data,
            "the file is not in the format that is written"
        );
        assert_drawn(recording);
    }
    let Some(text) = text else { return Verdict::Rejected };
    // The content after the header, if there is one, so that mutations of whole files reach it.
    let body = match text.split_once('\n') {
        Some((header, body)) if header.starts_with("yotpo-td recording") => {
            body.strip_suffix('\n').unwrap_or(body)
        }
        _ => text,
    };
    match decode(&seal(body)) {
        Ok(recording) => {
            assert_drawn(&recording);
            Verdict::Accepted
        }
        Err(error) => {
            assert_eq!(error, RecordingFormatError::Content);
            Verdict::Rejected
        }
    }
}

fn assert_drawn(recording: &RunRecording) {
    let file = encode(recording).expect("a recording can be written");
    assert_eq!(decode(&file).as_ref(), Ok(recording));
    let page = render(recording, None).expect("a recording can be drawn");
    assert!(
        page.ends_with("</html>") && !page.contains("<script"),
        "the page is incomplete, or has a script"
    );
    assert!(!page.contains("NaN") && !page.contains("inf,"), "a chart has no numbers");
}
