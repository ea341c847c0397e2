//! What is known of backups, in numbers. Labels are the names that the configuration gives.

use prometheus::{GaugeVec, Opts, Registry};

/// One gauge for each number, by backup.
#[derive(Clone, Debug)]
pub struct BackupGauges {
    pub newest_at: GaugeVec,
    pub newest_bytes: GaugeVec,
    pub count: GaugeVec,
    pub running: GaugeVec,
    pub verified_at: GaugeVec,
    pub drilled_at: GaugeVec,
    pub drill_took: GaugeVec,
}

impl BackupGauges {
    /// Makes the gauges.
    ///
    /// # Errors
    /// Another metric has one of the names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let made = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(format!("sopwith_agent_backup_{name}"), help), &["backup"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            newest_at: made("newest_timestamp_seconds", "When the newest whole backup was made.")?,
            newest_bytes: made("newest_bytes", "Size of the newest backup.")?,
            count: made("copies", "How many whole backups there are.")?,
            running: made("job_running", "Whether the backup's job runs and gets on.")?,
            verified_at: made(
                "verified_timestamp_seconds",
                "When the repository was last found to be whole.",
            )?,
            drilled_at: made("drill_success_timestamp_seconds", "When a restore last succeeded.")?,
            drill_took: made("drill_duration_seconds", "How long the last restore that succeeded took.")?,
        })
    }

    /// Forgets the numbers of all backups.
    pub fn reset(&self) {
        let all = [
            &self.newest_at,
            &self.newest_bytes,
            &self.count,
            &self.running,
            &self.verified_at,
            &self.drilled_at,
            &self.drill_took,
        ];
        all.into_iter().for_each(GaugeVec::reset);
    }
}
