//! CPU time and memory of processes, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// CPU time and resident memory of one process at one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of all its running threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
}

/// Reads a process's usage.
///
/// # Errors
///
/// The process has ended, or the kernel has no `/proc/PID/schedstat`.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let file = task?.path().join("schedstat");
        nanos += match fs::read_to_string(&file) {
            Ok(text) => first_number(&text).ok_or_else(|| unreadable(&file.display()))?,
            // A thread that ended since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status
        .lines()
        .find_map(|line| first_number(line.strip_prefix("VmRSS:")?))
        .ok_or_else(|| unreadable(&format!("VmRSS of process {pid}")))?;
    Ok(Usage {
        cpu: Duration::from_nanos(nanos),
        resident: resident * 1024,
    })
}

/// CPU time that all processes of the machine have used so far, and what the hypervisor took.
///
/// # Errors
///
/// There is no readable `/proc/stat`.
pub fn machine() -> io::Result<Duration> {
    busy(&fs::read_to_string("/proc/stat")?).ok_or_else(|| unreadable(&"/proc/stat"))
}

fn busy(stat: &str) -> Option<Duration> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user.
    let [user, nice, system, _, _, irq, softirq, steal] = *ticks.first_chunk()?;
    // Linux shows hundredths of a second, whatever its own tick is.
    Some(Duration::from_millis(
        (user + nice + system + irq + softirq + steal) * 10,
    ))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn unreadable(what: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{what} has no number where one is expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_out_idle_and_waiting() {
        let stat = "cpu  100 20 30 9000 800 4 5 6 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy(stat), Some(Duration::from_millis(1650)));
        assert_eq!(busy("cpu 1 2"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident > 0);
    }
}
