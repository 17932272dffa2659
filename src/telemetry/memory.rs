//! The process's memory.

/// Largest resident memory of this process so far, in bytes; `None` where the system does not tell.
///
/// From `VmHWM` of `/proc/self/status` (proc(5)), because `getrusage` counts what ran in the process before it.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
