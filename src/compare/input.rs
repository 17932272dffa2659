//! Inputs: which files a path stands for, and the rows in each of them.
//!
//! Owns the names of files in a directory, and the form of a file, which its content decides: gzip or not, then `MessagePack`
//! or JSON Lines. Of an export, it reads exactly the parts that the manifest lists, each checked before its first row. It reads
//! one row at a time and keeps none.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::error::{CompareError, FileProblem, RowProblem};
use super::json_lines::JsonLines;
use super::message_pack::MessagePackRows;
use super::source::{ReadProblem, at_end};
use crate::export::{ExportDirectory, MANIFEST_FILE, ManifestPart};

/// Names of files in a directory that hold rows.
pub const EXTENSIONS: [&str; 5] = [".msgpack.gz", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"];

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
/// Bytes that are read, or decompressed, at a time.
const BUFFER: usize = 256 * 1_024;

/// One of the two sets of rows: the files that hold it, in order.
#[derive(Clone, Debug)]
pub struct Input {
    path: PathBuf,
    files: Vec<RowFile>,
}

/// A file with rows.
#[derive(Clone, Debug)]
enum RowFile {
    /// Any file.
    File(PathBuf),
    /// A part of an export, which is checked against the manifest.
    Part(ExportDirectory, ManifestPart),
}

/// A row as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// The customer, as JSON.
    pub(super) text: &'a [u8],
    /// Its `time`, if there is one.
    pub(super) time: Option<i64>,
}

/// Reads the rows of a file.
struct RowReader {
    source: Box<dyn BufRead>,
    rows: Rows,
}

enum Rows {
    MessagePack(MessagePackRows),
    JsonLines(JsonLines),
}

/// Why a file could not be opened.
enum OpenProblem {
    Machine(io::Error),
    File(FileProblem),
}

impl Input {
    /// The input under a path: a file, or a directory with files.
    ///
    /// # Errors
    /// When there is nothing that could be read.
    pub fn at(path: &Path) -> Result<Self, CompareError> {
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                CompareError::Missing { path: path.into() }
            }
            _ => CompareError::Read { path: path.into(), source },
        })?;
        let files = if metadata.is_dir() { files_of(path)? } else { vec![RowFile::File(path.to_owned())] };
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(CompareError::NotAFile { path: path.into() });
        }
        Ok(Self { path: path.to_owned(), files })
    }

    /// Number of files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Calls `each` with every row, in order, until it fails.
    pub(super) fn read(
        &self,
        mut each: impl FnMut(Row<'_>) -> Result<(), ReadEnd>,
    ) -> Result<(), CompareError> {
        self.files.iter().try_for_each(|file| read_file(file, &mut each))
    }

    /// The error that its rows are not what they were before.
    pub(super) fn changed(&self) -> CompareError {
        CompareError::Changed { path: self.path.clone() }
    }
}

/// Why a row was the last one that is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReadEnd {
    /// Something is wrong with it.
    Problem(RowProblem),
    /// A stop was requested.
    Stopped,
}

impl From<RowProblem> for ReadEnd {
    fn from(problem: RowProblem) -> Self {
        Self::Problem(problem)
    }
}

impl RowFile {
    fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Part(directory, part) => directory.part_path(&part.name),
        }
    }
}

/// The files of a directory that hold rows: the parts of an export, or all files with the right names, in their order.
fn files_of(directory: &Path) -> Result<Vec<RowFile>, CompareError> {
    if directory.join(MANIFEST_FILE).exists() {
        let export = ExportDirectory::at(directory)?.complete()?;
        let part = |part| RowFile::Part(export.directory.clone(), part);
        return Ok(export.manifest.parts.into_iter().map(part).collect());
    }
    let unreadable = |source| CompareError::Read { path: directory.into(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let is_row_file = EXTENSIONS.iter().any(|extension| name.as_bytes().ends_with(extension.as_bytes()));
        if is_row_file && !name.as_bytes().starts_with(b".") && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(CompareError::NoFiles { path: directory.into() });
    }
    Ok(files.into_iter().map(RowFile::File).collect())
}

fn read_file(
    file: &RowFile,
    each: &mut dyn FnMut(Row<'_>) -> Result<(), ReadEnd>,
) -> Result<(), CompareError> {
    let path = &file.path();
    let unreadable = |source| CompareError::Read { path: path.into(), source };
    let stored: Box<dyn BufRead> = match file {
        RowFile::File(path) => {
            Box::new(BufReader::with_capacity(BUFFER, File::open(path).map_err(unreadable)?))
        }
        RowFile::Part(directory, part) => Box::new(Cursor::new(directory.read_part(part)?)),
    };
    let mut reader = RowReader::new(stored).map_err(|problem| match problem {
        OpenProblem::Machine(source) => unreadable(source),
        OpenProblem::File(problem) => CompareError::File { path: path.into(), problem },
    })?;
    for number in 1.. {
        let end = match reader.next() {
            Ok(Some(row)) => each(row),
            Ok(None) if number == 1 => {
                return Err(CompareError::File { path: path.into(), problem: FileProblem::Empty });
            }
            Ok(None) => break,
            Err(ReadProblem::Machine(source)) => return Err(unreadable(source)),
            Err(ReadProblem::Row(problem)) => Err(ReadEnd::Problem(problem)),
        };
        match end {
            Ok(()) => {}
            Err(ReadEnd::Stopped) => return Err(CompareError::Stopped),
            Err(ReadEnd::Problem(problem)) => {
                return Err(CompareError::Row { path: path.into(), row: number, problem });
            }
        }
    }
    Ok(())
}

impl RowReader {
    /// Recognises the form of a file.
    fn new(mut source: Box<dyn BufRead>) -> Result<Self, OpenProblem> {
        if source.fill_buf()?.starts_with(&GZIP_MAGIC) {
            source = Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(source)));
        }
        if at_end(source.as_mut())? {
            return Err(OpenProblem::File(FileProblem::Empty));
        }
        if source.fill_buf()?.starts_with(&BYTE_ORDER_MARK) {
            source.consume(BYTE_ORDER_MARK.len());
        }
        let rows = match source.fill_buf()?.trim_ascii_start().first() {
            // A map of MessagePack.
            Some(0x80..=0x8f | 0xde | 0xdf) => Rows::MessagePack(MessagePackRows::default()),
            // Nothing but white space so far can only be the start of lines.
            Some(b'{') | None => Rows::JsonLines(JsonLines::default()),
            Some(b'[' | 0x90..=0x9f | 0xdc | 0xdd) => return Err(OpenProblem::File(FileProblem::Array)),
            Some(_) => return Err(OpenProblem::File(FileProblem::UnknownForm)),
        };
        Ok(Self { source, rows })
    }

    fn next(&mut self) -> Result<Option<Row<'_>>, ReadProblem> {
        let source = self.source.as_mut();
        let row = match &mut self.rows {
            Rows::MessagePack(rows) => rows.next(source)?,
            Rows::JsonLines(rows) => rows.next(source)?,
        };
        Ok(row.map(|(text, time)| Row { text, time }))
    }
}

impl From<io::Error> for OpenProblem {
    fn from(error: io::Error) -> Self {
        ReadProblem::from(error).into()
    }
}

impl From<ReadProblem> for OpenProblem {
    fn from(problem: ReadProblem) -> Self {
        match problem {
            ReadProblem::Machine(error) => Self::Machine(error),
            ReadProblem::Row(RowProblem::Truncated) => Self::File(FileProblem::Truncated),
            ReadProblem::Row(_) => Self::File(FileProblem::Damaged),
        }
    }
}
