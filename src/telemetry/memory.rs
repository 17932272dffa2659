//! The process's memory, from `/proc/self/status` (proc(5)). `getrusage` includes what the process executed before this program.

/// Peak resident memory of this process, in bytes; `None` if the system does not report it.
pub fn peak_resident_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Resident memory of this process now, in bytes; `None` if the system does not report it.
pub(super) fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

// Other systems do not report it.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_includes_memory_that_was_freed_again() {
        let held = std::hint::black_box(vec![1_u8; 64 * 1024 * 1024]);
        let with_it = resident_bytes().unwrap();
        assert!(with_it > held.len() as u64, "{with_it}");
        drop(held);
        assert!(peak_resident_bytes().unwrap() > 64 * 1024 * 1024);
    }
}
