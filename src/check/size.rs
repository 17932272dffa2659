//! Sizes in words.

use bytesize::ByteSize;

/// A number of bytes, in binary units.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}
