//! Phone numbers, timestamps and other short values of generated customers.
//!
//! Owns their ASCII text, which is the same in both forms. It avoids `std::fmt`, so that generating data does not slow
//! benchmarks down.

pub(super) fn write_phone(bits: u64, out: &mut Vec<u8>) {
    if bits >> 60 == 0 {
        out.extend_from_slice(b"null");
    } else {
        write_padded("\"+155", bits, "\"", out);
    }
}

/// Eight digits between a prefix and a suffix.
pub(super) fn write_padded(before: &str, bits: u64, after: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    let [a, b, c, d] = [bits, bits >> 8, bits >> 16, bits >> 24].map(|part| two_digits(part % 100));
    out.extend_from_slice(&[a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]]);
    out.extend_from_slice(after.as_bytes());
}

pub(super) fn write_timestamp(bits: u64, out: &mut Vec<u8>) {
    let year = two_digits(15 + bits % 12);
    let month = two_digits(1 + (bits >> 8) % 12);
    let day = two_digits(1 + (bits >> 16) % 28);
    let date = [b'"', b'2', b'0', year[0], year[1], b'-', month[0], month[1], b'-', day[0], day[1]];
    let zone = match (bits >> 48) % 32 {
        0..=15 => "\"",
        16..=20 => "Z\"",
        21..=23 => ".000Z\"",
        24..=25 => "+00:00\"",
        26 => ".000+00:00\"",
        27 => "-05:00\"",
        28 => " UTC\"",
        29 => return out.extend_from_slice(b"null"),
        30 => return out.extend_from_slice(b"\"\""),
        _ => {
            out.extend_from_slice(&date);
            return out.push(b'"');
        }
    };
    let hour = two_digits((bits >> 24) % 24);
    let minute = two_digits((bits >> 32) % 60);
    let second = two_digits((bits >> 40) % 60);
    out.extend_from_slice(&date);
    out.extend_from_slice(&[b'T', hour[0], hour[1], b':', minute[0], minute[1], b':', second[0], second[1]]);
    out.extend_from_slice(zone.as_bytes());
}

const fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

pub(super) fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn write_one_of(pool: &[&str], bits: u64, out: &mut Vec<u8>) {
    let at = usize::try_from(bits % pool.len() as u64).unwrap_or(0);
    out.extend_from_slice(pool.get(at).copied().unwrap_or_default().as_bytes());
}
