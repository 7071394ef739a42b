//! What this organisation's machine has, measured when a job asks for it, and whether that is what the job asks for.

use std::path::Path;

use consort_contract::Requirements;
use consort_contract::quantity::{size_text, speed_text};

/// Where Linux tells the size of main memory.
const MEMORY: &str = "/proc/meminfo";

/// Where Linux tells of network links.
const LINKS: &str = "/sys/class/net";

/// What a machine has. `None`: it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Premises {
    /// Bytes of main memory.
    pub memory_bytes: Option<u64>,
    /// Free bytes where the state is kept.
    pub storage_bytes: Option<u64>,
    /// Speed of the fastest network link, bits per second. Virtual links often do not say.
    pub network_bits_per_second: Option<u64>,
    /// This machine is a confidential VM of genuine hardware, and the manifest in force accepts no simulated evidence.
    pub genuine_hardware: bool,
    /// Metrics are served.
    pub metrics: bool,
}

/// What a job asks for and this machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// Too little of something.
    #[error("the job asks for {asked} of {what} and this machine has {has}")]
    Less {
        /// Of what.
        what: &'static str,
        /// How much the job asks for.
        asked: String,
        /// How much there is.
        has: String,
    },
    /// The machine does not say.
    #[error("the job asks for {asked} of {what} and this machine does not say what it has")]
    Unknown {
        /// Of what.
        what: &'static str,
        /// How much the job asks for.
        asked: String,
    },
    /// Simulated machines.
    #[error(
        "the job asks for genuine confidential hardware, and this machine or the manifest in force is of simulated ones"
    )]
    Simulated,
    /// No metrics.
    #[error(
        "the job asks for metrics to alert on, and this participant serves none; set node.metrics_address"
    )]
    NoMetrics,
}

impl Premises {
    /// What this machine has now. Whether it is genuine and serves metrics is the daemon's to know.
    pub fn measure(state_dir: &Path, genuine_hardware: bool, metrics: bool) -> Self {
        Self {
            memory_bytes: std::fs::read_to_string(MEMORY)
                .ok()
                .and_then(|text| memory(&text)),
            storage_bytes: rustix::fs::statvfs(state_dir)
                .ok()
                .and_then(|disk| disk.f_bavail.checked_mul(disk.f_frsize)),
            network_bits_per_second: fastest(Path::new(LINKS)),
            genuine_hardware,
            metrics,
        }
    }

    /// Whether this is what a job asks for.
    ///
    /// # Errors
    /// [`Unmet`] names the first thing that is missing.
    pub fn meet(&self, asked: &Requirements) -> Result<(), Unmet> {
        enough(
            "main memory",
            asked.memory_bytes,
            self.memory_bytes,
            size_text,
        )?;
        enough(
            "free storage",
            asked.storage_bytes,
            self.storage_bytes,
            size_text,
        )?;
        enough(
            "network",
            asked.network_bits_per_second,
            self.network_bits_per_second,
            speed_text,
        )?;
        if asked.genuine_hardware && !self.genuine_hardware {
            return Err(Unmet::Simulated);
        }
        if asked.metrics && !self.metrics {
            return Err(Unmet::NoMetrics);
        }
        Ok(())
    }
}

fn enough(
    what: &'static str,
    asked: Option<u64>,
    has: Option<u64>,
    text: fn(u64) -> String,
) -> Result<(), Unmet> {
    match (asked, has) {
        (None, _) => Ok(()),
        (Some(asked), Some(has)) if has >= asked => Ok(()),
        (Some(asked), Some(has)) => Err(Unmet::Less {
            what,
            asked: text(asked),
            has: text(has),
        }),
        (Some(asked), None) => Err(Unmet::Unknown {
            what,
            asked: text(asked),
        }),
    }
}

/// `MemTotal` of `/proc/meminfo`, whose kB are 1024 bytes (proc_meminfo(5)).
fn memory(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The fastest link of a device that says its speed, which Linux gives in Mbit/s and, where it is unknown, as -1 or an error. Links
/// without a device, such as bridges, say a fixed number.
fn fastest(links: &Path) -> Option<u64> {
    std::fs::read_dir(links)
        .ok()?
        .flatten()
        .filter(|link| link.path().join("device").exists())
        .filter_map(|link| std::fs::read_to_string(link.path().join("speed")).ok())
        .filter_map(|speed| speed.trim().parse::<u64>().ok()?.checked_mul(1_000_000))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Requirements = Requirements {
        memory_bytes: None,
        storage_bytes: None,
        network_bits_per_second: None,
        genuine_hardware: false,
        metrics: false,
    };

    #[test]
    fn a_machine_that_has_what_is_asked_for_meets_it_and_one_that_has_less_does_not() {
        let premises = Premises {
            memory_bytes: Some(64),
            storage_bytes: Some(64),
            network_bits_per_second: None,
            genuine_hardware: false,
            metrics: false,
        };
        premises.meet(&NOTHING).unwrap();
        let enough = Requirements {
            memory_bytes: Some(64),
            storage_bytes: Some(1),
            ..NOTHING
        };
        premises.meet(&enough).unwrap();
        for (asked, says) in [
            (
                Requirements {
                    memory_bytes: Some(65),
                    ..NOTHING
                },
                "asks for 65B of main memory and this machine has 64B",
            ),
            (
                Requirements {
                    storage_bytes: Some(1 << 30),
                    ..NOTHING
                },
                "1GiB of free storage",
            ),
            (
                Requirements {
                    network_bits_per_second: Some(1),
                    ..NOTHING
                },
                "does not say",
            ),
            (
                Requirements {
                    genuine_hardware: true,
                    ..NOTHING
                },
                "genuine",
            ),
            (
                Requirements {
                    metrics: true,
                    ..NOTHING
                },
                "metrics_address",
            ),
        ] {
            let unmet = premises.meet(&asked).unwrap_err().to_string();
            assert!(unmet.contains(says), "{unmet}");
        }
        let all = Premises {
            network_bits_per_second: Some(1),
            genuine_hardware: true,
            metrics: true,
            ..premises
        };
        let asked = Requirements {
            network_bits_per_second: Some(1),
            genuine_hardware: true,
            metrics: true,
            ..NOTHING
        };
        all.meet(&asked).unwrap();
    }

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        let text = "MemFree: 3 kB\nMemTotal:       16384 kB\nMemAvailable: 1 kB\n";
        assert_eq!(memory(text), Some(16 << 20));
        for text in [
            "",
            "MemTotal: many kB",
            "MemTotal: 5",
            "MemTotal: 18446744073709551615 kB",
        ] {
            assert_eq!(memory(text), None, "{text}");
        }
    }

    #[test]
    fn the_fastest_link_that_says_its_speed_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (name, speed) in [("a", "1000\n"), ("b", "-1\n"), ("c", "25000\n")] {
            std::fs::create_dir_all(folder.path().join(name).join("device")).unwrap();
            std::fs::write(folder.path().join(name).join("speed"), speed).unwrap();
        }
        let bridge = folder.path().join("bridge");
        std::fs::create_dir(&bridge).unwrap();
        std::fs::write(bridge.join("speed"), "100000\n").unwrap();
        std::fs::create_dir_all(folder.path().join("silent/device")).unwrap();
        assert_eq!(fastest(folder.path()), Some(25_000_000_000));
        assert_eq!(fastest(&folder.path().join("silent")), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_says_how_much_memory_and_storage_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let premises = Premises::measure(folder.path(), false, true);
        assert!(premises.memory_bytes > Some(1 << 20));
        assert!(premises.storage_bytes.is_some());
        assert!(premises.metrics && !premises.genuine_hardware);
    }
}
