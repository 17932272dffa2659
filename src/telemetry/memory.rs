//! The process's memory.

/// Peak resident memory of this process, in bytes; `None` if the system does not report it.
///
/// From `VmHWM` in `/proc/self/status` (proc(5)), because `getrusage` includes what the process executed before this
/// program.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
