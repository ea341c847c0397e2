use super::*;
use crate::config::Config;

fn rule(text: &str) -> MetricRule {
    let config = Config::parse(&format!("metrics:\n  rules:\n    - {text}\n")).expect(text);
    config.metrics.rules[0].clone()
}

fn sample(labels: &[(&str, &str)]) -> Sample {
    let labels = labels.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Sample { name: "m".into(), labels, value: 0.0 }
}

/// Judges values ten seconds apart and writes `!` where they hold.
fn course(text: &str, values: &[f64]) -> String {
    let rule = rule(text);
    let mut held = Held::of(&rule);
    let judged = values.iter().enumerate().map(|(n, value)| held.judge(&rule, *value, n as u64 * 10_000));
    judged.map(|verdict| verdict.map_or('?', |verdict| if verdict.holds { '!' } else { '.' })).collect()
}

#[test]
fn limits_and_clear_levels() {
    for (text, values, is) in [
        ("{name: a, metric: m, above: 5}", &[4.0, 5.0, 5.1, 5.0, 6.0][..], "..!.!"),
        ("{name: a, metric: m, above: 5, clear: 3}", &[4.0, 6.0, 4.0, 3.1, 3.0, 4.0], ".!!!.."),
        ("{name: a, metric: m, below: 5}", &[6.0, 5.0, 4.9, 5.0], "..!."),
        ("{name: a, metric: m, below: 5, clear: 8}", &[6.0, 4.0, 6.0, 7.9, 8.0, 6.0], ".!!!.."),
        ("{name: a, metric: m, above: 5}", &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY], "?!."),
        // 10 a step of 10 s is one a second.
        ("{name: a, metric: m_total, rate: 20s, above: 0.5}", &[0.0, 10.0, 20.0, 20.0, 20.0], "?!!.."),
        ("{name: a, metric: m_total, rate: 20s, above: 0.5}", &[900.0, 900.0, 0.0, 30.0, 30.0], "?..!!"),
        (
            "{name: a, metric: m, above: 100, forecast: {within: 30s, over: 40s}}",
            &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 80.0, 80.0, 80.0, 80.0],
            "......!!!!..",
        ),
        (
            "{name: a, metric: m, below: 0, forecast: {within: 30s, over: 40s}}",
            &[90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0, 20.0],
            "......!!",
        ),
    ] {
        assert_eq!(course(text, values), is, "{text} {values:?}");
    }
}

#[test]
fn samples_are_about_what_their_labels_name() {
    for (labels, is) in [
        (&[][..], "check:a"),
        (&[("mountpoint", "/srv"), ("device", "/dev/sda1")], "mount:/srv"),
        (&[("mountpoint", "relative")], "check:a/relative"),
        (&[("unit", "web.service")], "unit:web.service"),
        (&[("name", "web.service"), ("state", "failed")], "unit:web.service"),
        (&[("name", "no unit")], "check:a/no_unit"),
        (&[("fixed", "x"), ("device", "eth0")], "check:a/eth0"),
        (&[("file", "/x/$(id).prom")], "check:a/_x___id_.prom"),
    ] {
        let rule = rule("{name: a, metric: 'm{fixed!=\"y\",fixed=\"x\"}', above: 1}");
        assert_eq!(subject(&rule, &sample(labels)).to_string(), is, "{labels:?}");
    }
    let long = "x".repeat(500);
    let rule = rule("{name: a, metric: m, above: 1}");
    assert_eq!(subject(&rule, &sample(&[("l", &long)])).to_string().len(), "check:".len() + NAME_BYTES_MAX);
}

#[test]
fn a_fault_in_fields_and_words() {
    let used = rule("{name: used, metric: m, per: all, above: 80%, fields: {team: shop, value: 7}}");
    let labels = [("device", "/dev/sda1"), ("fstype", "ext4"), ("mountpoint", "/srv"), ("bad", "a b")];
    let verdict = Verdict { holds: true, value: 0.912_34, reaches_in_s: None };
    let told = fault(&used, &sample(&labels), &verdict);
    assert_eq!(told.summary, "m / all is 0.912, above 0.8");
    assert_eq!((told.rule.as_str(), told.kind.as_str()), ("metrics.used", "metric.above"));
    let fields: Vec<_> = told.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = "device=/dev/sda1 fstype=ext4 limit=1 limit_thousandths=800 metric=m metric_rule=used \
                    mountpoint=/srv team=shop value=1 value_thousandths=912";
    assert_eq!(fields.join(" "), expected);
    assert!(matches!(told.fields[&Word::new("mountpoint").expect("a word")], Value::Path(_)));
    let unit = fault(&used, &sample(&[("name", "web.service")]), &verdict);
    assert!(matches!(unit.fields[&Word::new("unit").expect("a word")], Value::Unit(_)));

    let full = rule("{name: full, metric: m, below: 100, forecast: {within: 1h, over: 10m}}");
    let verdict = Verdict { holds: true, value: 250.4, reaches_in_s: Some(60.0) };
    let told = fault(&full, &sample(&[]), &verdict);
    assert_eq!(
        (told.kind.as_str(), told.summary.as_str()),
        ("metric.forecast", "m is 250 and will be 100 in 60 s")
    );
    assert_eq!(told.fields[&Word::new("reaches_in_s").expect("a word")], Value::Integer(60));
}
