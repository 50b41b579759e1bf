//! Memory of this process, as Linux tells it.

fn status_mib(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Resident memory in MiB, mapped pages included; 0 where `/proc` is missing.
pub fn resident_mib() -> f64 {
    status_mib("VmRSS:")
}

/// Resident memory in MiB that belongs to no file, so that the system cannot take it back; 0 where `/proc` is missing.
pub fn anonymous_mib() -> f64 {
    status_mib("RssAnon:")
}

/// Whether a file of so many bytes may be mapped and leave room for what the process still needs: always without a limit
/// on address space (`ulimit -v`).
pub fn room_to_map(bytes: u64) -> bool {
    /// Stacks of threads, buffers of BLAS and of queries.
    const ROOM: u64 = 512 << 20;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"));
    let limit =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|limit| limit.parse::<u64>().ok());
    let used = (status_mib("VmSize:") * 1024.0 * 1024.0) as u64;
    limit.is_none_or(|limit| used.saturating_add(bytes).saturating_add(ROOM) <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        assert!(resident_mib() > 1.0 && anonymous_mib() > 0.1);
        assert!(room_to_map(0) || status_mib("VmSize:") > 0.0);
    }
}
