//! Intervals of 95 %.

const Z: f64 = 1.959_964;

/// Wilson's interval of a proportion.
pub(crate) fn wilson(hits: f64, of: f64) -> (f64, f64) {
    let p = hits / of;
    let scale = 1.0 + Z * Z / of;
    let center = (p + Z * Z / (2.0 * of)) / scale;
    let half = Z * (p * (1.0 - p) / of + Z * Z / (4.0 * of * of)).sqrt() / scale;
    ((center - half).max(0.0), (center + half).min(1.0))
}

/// Bounds of the return on ad spend: `max(0, R ± z·√Σ vᵢ²) / spend`, `credited` being each conversion's credit × value.
pub(crate) fn roas(credited: &[f64], spend: f64) -> (f64, f64) {
    let revenue: f64 = credited.iter().sum();
    let half = Z * credited.iter().map(|value| value * value).sum::<f64>().sqrt();
    ((revenue - half).max(0.0) / spend, (revenue + half).max(0.0) / spend)
}
