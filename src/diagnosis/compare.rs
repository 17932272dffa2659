//! What an error of `compare` means, and what to do.

use super::{Code, Diagnosis, code_of_export};
use crate::compare::{CompareError, Comparison, FileProblem, RowProblem};

impl CompareError {
    /// The diagnosis of this error.
    pub fn diagnosis(&self) -> Diagnosis {
        let code = match self {
            Self::Missing { .. } | Self::NotAFile { .. } | Self::NoFiles { .. } => Code::SettingsInvalid,
            Self::Export(error) => code_of_export(error),
            Self::Read { .. } => Code::InputUnreadable,
            Self::File { .. } | Self::Row { .. } | Self::Changed { .. } => Code::InputDamaged,
            Self::Thread(_) => Code::MachineDenied,
            // The signal that asked for the stop is reported instead.
            Self::Stopped => Code::Interrupted,
        };
        let hint = match self {
            Self::Export(error) => Some(error.hint()),
            _ => self.hint().map(str::to_owned),
        };
        Diagnosis::new(code, hint)
    }

    fn hint(&self) -> Option<&'static str> {
        const EXPORT_AGAIN: &str =
            "export or copy the file again, and compare its size and checksum with the original";
        const TOO_LARGE: &str = "compare does not read rows of this size; leave the row out of both sides";
        const FORMS: &str = "compare reads MessagePack maps and JSON Lines, both also as gzip; docs/compare.md shows how to \
                             convert query results";
        const COLUMNS: &str = "every row needs the column json_response; export it together with time";
        const CUSTOMER: &str = "json_response must hold one customer as a JSON object; look at this row of the table, or export \
                                it again";
        Some(match self {
            Self::Missing { .. } => {
                "compare takes two paths: each a file of rows, or a directory with such files"
            }
            Self::NotAFile { .. } => {
                "changed rows are read twice, so pipes cannot be compared; write the rows to a file"
            }
            Self::NoFiles { .. } => {
                "in a directory, files are read whose names end with .msgpack.gz, .jsonl, .ndjson, .jsonl.gz or .ndjson.gz"
            }
            Self::Read { .. } => "check that the path can be read: its permissions, and the disk",
            Self::Changed { .. } => "wait until nothing writes to it any more, and compare again",
            Self::File { problem, .. } => match problem {
                FileProblem::Empty => {
                    "export it again; if the table is really empty, there is nothing to compare"
                }
                FileProblem::UnknownForm | FileProblem::Array => FORMS,
                FileProblem::Damaged | FileProblem::Truncated => EXPORT_AGAIN,
            },
            Self::Row { problem, .. } => match problem {
                RowProblem::Truncated | RowProblem::Damaged => EXPORT_AGAIN,
                RowProblem::TooLarge => TOO_LARGE,
                RowProblem::NotAMap | RowProblem::LineNotJson => FORMS,
                RowProblem::NoJsonResponse => COLUMNS,
                RowProblem::OtherType
                | RowProblem::NotJson
                | RowProblem::NotAnObject
                | RowProblem::TooDeep => CUSTOMER,
            },
            Self::Thread(_) => "raise the limit on threads (ulimit -u, or the container's)",
            // An export has its own.
            Self::Stopped | Self::Export(_) => return None,
        })
    }
}

impl Comparison {
    /// What it means that the rows differ; `None` if they are equal.
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        let hint = match (self.changed, self.only_in) {
            (0, [0, 0]) => return None,
            (0, only_in) if only_in == self.copies => {
                "one side has rows more than once; with append, compare the rows of one time only"
            }
            (1.., [0, 0]) => {
                "look at the fields that differ; fields that change by themselves, such as points, differ if the two loads did \
                 not run at the same time"
            }
            _ => {
                "load both sides at the same time and compare again; if rows are still on one side only, look for a load that \
                 failed halfway, or for another store"
            }
        };
        Some(Diagnosis::new(Code::RowsDiffer, Some(hint.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::export::ExportError;

    #[test]
    fn the_hint_depends_on_how_the_rows_differ() {
        let comparison =
            |changed, only_in, copies| Comparison { changed, only_in, copies, ..Comparison::default() };
        assert_eq!(comparison(0, [0, 0], [0, 0]).diagnosis(), None);
        let copies = "one side has rows more than once";
        let fields = "look at the fields that differ";
        let again = "load both sides at the same time and compare again";
        for (found, words) in [
            (comparison(0, [2, 0], [2, 0]), copies),
            (comparison(0, [2, 0], [1, 0]), again),
            (comparison(0, [0, 2], [0, 0]), again),
            (comparison(1, [2, 0], [2, 0]), again),
            (comparison(1, [0, 0], [0, 0]), fields),
            (comparison(9, [0, 0], [0, 0]), fields),
        ] {
            let diagnosis = found.diagnosis().unwrap();
            assert_eq!(diagnosis.code, Code::RowsDiffer);
            let hint = diagnosis.hint.unwrap();
            assert!(hint.starts_with(words), "{found:?}: {hint}");
        }
    }

    #[test]
    fn a_row_that_is_too_large_is_not_exported_again() {
        let hint = |problem| {
            let path = "rows.jsonl".into();
            CompareError::Row { path, row: 1, problem }.diagnosis().hint.unwrap()
        };
        assert!(hint(RowProblem::TooLarge).contains("leave the row out"), "{}", hint(RowProblem::TooLarge));
        assert!(hint(RowProblem::Damaged).contains("export or copy the file again"));
    }

    #[test]
    fn errors_that_are_not_about_the_content_say_what_helps() {
        let no_manifest = || ExportError::NoManifest { directory: "export".into() };
        for (error, code, hint) in [
            (
                CompareError::Changed { path: "rows.jsonl".into() },
                Code::InputDamaged,
                Some("wait until nothing writes to it any more, and compare again".to_owned()),
            ),
            (
                CompareError::Thread(io::ErrorKind::WouldBlock.into()),
                Code::MachineDenied,
                Some("raise the limit on threads (ulimit -u, or the container's)".to_owned()),
            ),
            (no_manifest().into(), Code::SettingsInvalid, Some(no_manifest().hint())),
            // The signal is reported instead.
            (CompareError::Stopped, Code::Interrupted, None),
        ] {
            assert_eq!(error.diagnosis(), Diagnosis::new(code, hint), "{error}");
        }
    }
}
