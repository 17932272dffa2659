//! Parts of documents that follow from the code.

use std::path::Path;

/// Asserts that the document has `expected` between its two comments for `source`. With `UPDATE_DOCUMENTS=1`, writes it there.
#[track_caller]
pub(crate) fn assert_generated(document: &str, source: &str, expected: &str) {
    let begin =
        format!("<!-- From {source}; UPDATE_DOCUMENTS=1 cargo test --test it project writes it. -->\n");
    let end = format!("<!-- End of what is from {source}. -->\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&begin).expect("the generated part begins");
    let (found, after) = rest.split_once(&end).expect("the generated part ends");
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(path, [before, &begin, expected, &end, after].concat()).unwrap();
    } else {
        let different = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
        assert_eq!(different, None, "the program's line and that of {document}");
        assert_eq!(expected, found, "{document}");
    }
}
