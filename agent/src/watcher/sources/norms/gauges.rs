//! How many breaches there are, by norm.

use prometheus::{GaugeVec, Opts, Registry};

#[derive(Clone, Debug)]
pub struct NormGauges {
    pub breaches: GaugeVec,
}

impl NormGauges {
    /// Makes the gauge.
    ///
    /// # Errors
    /// Another metric has its name.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options =
            Opts::new("sopwith_agent_norm_breaches", "Breaches of a norm that are there at present.");
        let breaches = GaugeVec::new(options, &["norm"])?;
        registry.register(Box::new(breaches.clone()))?;
        Ok(Self { breaches })
    }
}
